# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Bash completion for keyturn: commands, options, credential names and files.

_keyturn_names() {
  # The sockets that the command line itself names come first.
  keyturn "${_keyturn_socket[@]}" __complete names 2>/dev/null
}

_keyturn() {
  local current previous command="" word i
  local -a _keyturn_socket=()
  current="${COMP_WORDS[COMP_CWORD]}"
  previous="${COMP_WORDS[COMP_CWORD - 1]}"
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="${COMP_WORDS[i]}"
    case "$word" in
      --socket)
        _keyturn_socket=(--socket "${COMP_WORDS[i + 1]}")
        ((++i))
        ;;
      --services-socket | --timeout | -o | --output) ((++i)) ;;
      -*) ;;
      *)
        command="$word"
        break
        ;;
    esac
  done

  case "$previous" in
    --socket | --services-socket | -f | --file)
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      return
      ;;
    -o | --output)
      local formats="table json"
      if [[ "$command" == get ]]; then formats="json env header"; fi
      mapfile -t COMPREPLY < <(compgen -W "$formats" -- "$current")
      return
      ;;
    --timeout | --min-remaining | --expires-in | --field | --key-id | -n | --limit | --days | --match | --endpoint | --param | --port | --redirect-uri) return ;;
  esac

  if [[ "$current" == -* ]]; then
    local options="--help --socket --services-socket --output --timeout --no-color"
    case "$command" in
      "") options+=" --version" ;;
      apply | plan) options+=" --file" ;;
      get) options+=" --field --min-remaining" ;;
      put) options+=" --field --json --key-id --expires-in" ;;
      rotate) options+=" --wait --dry-run" ;;
      calendar) options+=" --days --match" ;;
      watch) options+=" --show-values" ;;
      history) options+=" --limit" ;;
      recipes) options+=" --endpoint --manager --credential --param" ;;
      status) options+=" --check" ;;
      refresh) options+=" --in-doubt" ;;
      login) options+=" --device --manual --no-browser --port --redirect-uri" ;;
      revoke) options+=" --yes" ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
    return
  fi

  case "$command" in
    "")
      mapfile -t COMPREPLY < <(compgen -W "apply plan export list show get put delete rotate \
        calendar undo disown refresh login test revoke watch history recipes presets backup \
        status whoami version" -- "$current")
      ;;
    show | get | put | rotate | undo | disown | refresh | login | test | revoke | watch | history)
      mapfile -t COMPREPLY < <(compgen -W "$(_keyturn_names)" -- "$current")
      ;;
    backup)
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      ;;
    presets)
      if [[ "$previous" == presets ]]; then
        mapfile -t COMPREPLY < <(compgen -W "list show" -- "$current")
      fi
      ;;
    recipes)
      if [[ "$previous" == recipes ]]; then
        mapfile -t COMPREPLY < <(compgen -W "list show test" -- "$current")
      elif [[ "$previous" == --manager || "$previous" == --credential ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_keyturn_names)" -- "$current")
      fi
      ;;
    delete)
      if [[ "$previous" == delete ]]; then
        mapfile -t COMPREPLY < <(compgen -W "credential provider policy" -- "$current")
      elif [[ "$previous" == credential ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_keyturn_names)" -- "$current")
      fi
      ;;
  esac
}

complete -F _keyturn keyturn
