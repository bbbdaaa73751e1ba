#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs command line sessions: text files of commands and what they must print.

Usage: run_sessions.py [--self-test] FILE.session ...

A session runs in a directory of its own with the built programs first in PATH. Its lines:
  # text          a comment; blank lines between steps mean nothing
  @agent          start keyturnd; its sockets are in KEYTURN_ADMIN_SOCKET and KEYTURN_SOCKET
  @sandbox        start keyturn-sandbox; its address is in SANDBOX
  @sandbox {..}   the same with this JSON as its configuration
  @stop-agent     end keyturnd by SIGTERM; it must exit with 0
  @file NAME      write the lines that follow, each behind `| `, into a file; $SANDBOX stands for
                  the address
  $ COMMAND       run by bash; the lines below, up to a blank line or the next step, are what it
                  must print on stdout and stderr together
  ~ COMMAND       as `$`, but again and again until it is as expected, for a limited time
  < TEXT          a line for the standard input of the command above, which is otherwise empty
  ? N             the exit code of the command above; 0 when not given
In expected lines, `[..]` stands for anything within a line, a line `[...]` for any lines at all.
KEYTURN_BIN_DIR names the directory with the programs. The exit code is 1 when a session fails.
"""

import dataclasses
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "integration"))

RETRY_SECONDS = 30
COMMAND_SECONDS = 60


@dataclasses.dataclass
class Step:
    line: int
    kind: str  # agent, sandbox, stop-agent, file, $ or ~
    text: str
    body: list = dataclasses.field(default_factory=list)  # expected lines, or a file's
    stdin: list = dataclasses.field(default_factory=list)
    code: int = 0


class SessionError(Exception):
    """A session that cannot be read, or did not go as written."""


def parse(text):
    steps = []
    current = None  # the step that lines still belong to
    for number, line in enumerate(text.split("\n"), 1):
        if current and current.kind == "file" and line[:2] in ("| ", "|"):
            current.body.append(line[2:])
        elif line[:2] in ("$ ", "~ "):
            current = Step(number, line[0], line[2:])
            steps.append(current)
        elif line.startswith("@"):
            kind, _, rest = line[1:].partition(" ")
            if kind not in ("agent", "sandbox", "stop-agent", "file"):
                raise SessionError(f"line {number}: unknown directive @{kind}")
            current = Step(number, kind, rest.strip())
            steps.append(current)
        elif line.startswith("#") and (current is None or current.kind not in "$~"):
            continue
        elif not line.strip():
            current = None
        elif current is None or current.kind not in "$~":
            raise SessionError(f"line {number}: output without a command: {line}")
        elif re.fullmatch(r"\? \d+", line):
            current.code = int(line[2:])
        elif line.startswith("< "):
            current.stdin.append(line[2:])
        else:
            current.body.append(line)
    return steps


def line_matches(pattern, line):
    parts = (re.escape(part) for part in pattern.split("[..]"))
    return re.fullmatch(".*".join(parts), line) is not None


def lines_match(patterns, lines):
    """Whether the lines are as expected; `[...]` takes any number of them."""
    if not patterns:
        return not lines
    if patterns[0] == "[...]":
        return any(lines_match(patterns[1:], lines[skip:]) for skip in range(len(lines) + 1))
    return bool(lines) and line_matches(patterns[0], lines[0]) and \
        lines_match(patterns[1:], lines[1:])


class Session:
    def __init__(self, path):
        self.path = path
        self.directory = tempfile.mkdtemp(prefix="kt-cli-", dir="/tmp")
        self.agent = None
        self.sandbox = None
        self.env = {**os.environ, "NO_COLOR": "1", "TERM": "dumb", "TZ": "UTC", "LC_ALL": "C.UTF-8",
                    "HOME": self.directory,
                    "PATH": os.environ["KEYTURN_BIN_DIR"] + os.pathsep + os.environ["PATH"]}
        for name in ("KEYTURN_ADMIN_SOCKET", "KEYTURN_SOCKET"):
            self.env.pop(name, None)
        self.env["XDG_RUNTIME_DIR"] = self.directory

    def run(self):
        with open(self.path, encoding="utf-8") as file:
            steps = parse(file.read())
        try:
            for step in steps:
                try:
                    self.run_step(step)
                except (SessionError, AssertionError) as error:
                    raise SessionError(f"{self.path}:{step.line}: {error}{self.tail()}") from error
            self.stop_agent()
        finally:
            for process in (self.agent, self.sandbox):
                if process and process.running:
                    process.kill()
            shutil.rmtree(self.directory, ignore_errors=True)
        return sum(step.kind in "$~" for step in steps)

    def run_step(self, step):
        if step.kind == "agent":
            self.start_agent()
        elif step.kind == "sandbox":
            self.start_sandbox(step.text)
        elif step.kind == "stop-agent":
            self.stop_agent()
        elif step.kind == "file":
            content = "".join(line + "\n" for line in step.body)
            if self.sandbox:
                content = content.replace("$SANDBOX", self.sandbox.url)
            with open(os.path.join(self.directory, step.text), "w", encoding="utf-8") as file:
                file.write(content)
        else:
            self.run_command(step)

    def start_agent(self):
        from keyturn_programs import Agent
        if self.agent is None:
            self.agent = Agent(os.path.join(self.directory, "agent"))
            self.env["KEYTURN_ADMIN_SOCKET"] = self.agent.admin_socket
            self.env["KEYTURN_SOCKET"] = self.agent.services_socket
        self.agent.start()

    def start_sandbox(self, config):
        from keyturn_programs import Sandbox
        import json
        self.sandbox = Sandbox(self.directory, config=json.loads(config) if config else None)
        self.sandbox.start()
        self.env["SANDBOX"] = self.sandbox.url

    def stop_agent(self):
        if self.agent and self.agent.running:
            code = self.agent.stop()
            if code not in (0, None):
                raise SessionError(f"keyturnd ended with exit code {code}")

    def run_command(self, step):
        from processes import wait_until
        last = []

        def attempt():
            last[:] = [self.execute(step)]
            return not last[0]
        if step.kind == "$":
            attempt()
        else:
            try:
                wait_until(attempt, RETRY_SECONDS, "the expected output", interval=0.1)
            except AssertionError:
                pass
        if last[0]:
            raise SessionError(last[0])

    def execute(self, step):
        """What is wrong with one execution of the command; empty when nothing is."""
        stdin = "".join(line + "\n" for line in step.stdin)
        try:
            done = subprocess.run(["bash", "-c", step.text], cwd=self.directory, env=self.env,
                                  input=stdin.encode(), stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=COMMAND_SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            printed = (error.stdout or b"").decode("utf-8", "replace")
            return f"$ {step.text}\n  did not end within {COMMAND_SECONDS} s; it printed:\n{printed}"
        lines = done.stdout.decode("utf-8", "replace").split("\n")
        if lines[-1] == "":
            lines.pop()
        # A blank line in the output ends a step's expectations, so it is not compared.
        lines = [line.rstrip() for line in lines if line.strip()]
        if lines_match(step.body, lines) and done.returncode == step.code:
            return ""
        expected = "".join(f"    {line}\n" for line in step.body)
        printed = "".join(f"    {line}\n" for line in lines)
        return (f"$ {step.text}\n  expected, exit code {step.code}:\n{expected}"
                f"  printed, exit code {done.returncode}:\n{printed}")

    def tail(self):
        return "" if self.agent is None else "\n" + self.agent.tail(20)


SELF_TESTS = [
    # (session, the beginning of what goes wrong; None when nothing does)
    ("$ echo one two\none [..]\n", None),
    ("$ echo one\ntwo\n", "$ echo one"),
    ("$ printf 'a\\nb\\nc\\n'\n[...]\nc\n", None),
    ("$ printf 'a\\nb\\nc\\n'\n[...]\nb\n", "$ printf"),
    ("$ false\n? 1\n", None),
    ("$ false\n", "$ false"),
    ("$ echo unexpected\n", "$ echo unexpected"),
    ("$ cat\n< typed\ntyped\n", None),
    ("@file x.txt\n| one\n|\n| two\n\n$ cat x.txt\none\ntwo\n", None),
    ("$ echo 'a.c'\na.c\n\n$ echo abc\na.c\n", "$ echo abc"),
    ("$ echo to stderr >&2\nto stderr\n", None),
    ("~ echo x >> log; wc -l < log\n3\n", None),
    ("@nonsense\n", "line 1: unknown directive"),
    ("stray\n", "line 1: output without a command"),
]


def self_test():
    failures = 0
    for text, expected in SELF_TESTS:
        with tempfile.NamedTemporaryFile("w", suffix=".session", delete=False) as file:
            file.write(text)
        try:
            Session(file.name).run()
            found = None
        except SessionError as error:
            found = str(error)
        os.unlink(file.name)
        if (found is None) != (expected is None) or (expected and expected not in found):
            print(f"self-test: {text!r}: expected {expected!r}, got {found!r}")
            failures += 1
    print(f"{len(SELF_TESTS)} sessions judged, {failures} not as expected")
    return 1 if failures else 0


def main(arguments):
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__.strip())
        return 0 if arguments else 2
    if arguments[0] == "--self-test":
        os.environ.setdefault("KEYTURN_BIN_DIR", "/nonexistent")
        return self_test()
    failed = 0
    for path in arguments:
        try:
            count = Session(path).run()
            print(f"{path}: {count} commands as written")
        except SessionError as error:
            failed += 1
            print(error)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
