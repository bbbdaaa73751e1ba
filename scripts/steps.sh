# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sourced by the other scripts: finds the repository, prints the header comment as help, and runs
# named steps so that a failure always says which one it was. Starts nothing by itself.

KEYTURN_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
KEYTURN_JOBS="${KEYTURN_JOBS:-$(nproc)}"
# Debian's own interpreter: it is the one that sees the python3-* packages.
KEYTURN_PYTHON="$(if [[ -x /usr/bin/python3 ]]; then echo /usr/bin/python3; else echo python3; fi)"
export KEYTURN_ROOT KEYTURN_JOBS KEYTURN_PYTHON
# GCC writes its warnings with typographic quotes otherwise, which logs garble.
export LC_ALL=C.UTF-8

# What the script is for: the comment block that follows its SPDX line.
print_help() {
  awk '/^# SPDX/ { on = 1; next } on && /^#/ { sub(/^# ?/, ""); print; next } on { exit }' "$0"
}

say() { printf '== %s\n' "$*" >&2; }

fail() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# A wrong argument: exit code 2 and where to look.
wrong_usage() {
  printf '%s: %s\nTry %s --help.\n' "$(basename "$0")" "$*" "$0" >&2
  exit 2
}

# step NAME COMMAND...: announces the step, runs it, and ends the script with its exit code if it
# fails, naming it. The command runs with errexit off (it is tested): chain a function's lines with &&.
step() {
  local name="$1" code=0 start=$SECONDS
  shift
  say "$name"
  "$@" || code=$?
  if ((code != 0)); then
    printf '%s: step "%s" failed with exit code %d\n' "$(basename "$0")" "$name" "$code" >&2
    exit "$code"
  fi
  if ((SECONDS - start >= 5)); then say "$name: done after $((SECONDS - start)) s"; fi
}
