# SPDX-License-Identifier: Apache-2.0
"""Keyturn's own programs as Python objects: the agent, the command line, the sandbox.

KEYTURN_BIN_DIR names the directory with the binaries under test. Every Agent has its own directory;
stop it and start it again, and it comes back with the same state, as after a crash or a reboot.
"""

import copy
import dataclasses
import json
import os
import socket
import stat
import subprocess

import http_calls
from processes import HttpServerProcess, Process, as_deadline, parse_json_line, spawn, wait_until

_HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE_DIR = os.environ.get("KEYTURN_SOURCE_DIR", os.path.dirname(os.path.dirname(_HERE)))


def binary(name):
    directory = os.environ.get("KEYTURN_BIN_DIR")
    if not directory:
        raise AssertionError("KEYTURN_BIN_DIR is not set: it names the directory of the binaries")
    path = os.path.join(directory, name)
    if not os.access(path, os.X_OK):
        raise AssertionError(f"no program {path}")
    return path


def merge(base, changes):
    """A copy of nested dicts `base` with `changes` on top; a None removes the key."""
    result = copy.deepcopy(base)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merge(result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def as_yaml(document):
    """Text as it is; anything else as JSON, which is YAML."""
    return document if isinstance(document, str) else json.dumps(document, indent=2) + "\n"


class Agent(Process):
    """keyturnd with its own directory. `changes` are merged into the default configuration;
    `config` replaces it, as text or dict. The services socket lies where other users can reach it.
    """

    def __init__(self, directory, *, changes=None, config=None, arguments=(), env=None):
        self.directory = directory
        self.state_directory = os.path.join(directory, "state")
        os.makedirs(self.state_directory, mode=0o700, exist_ok=True)
        os.chmod(directory, 0o711)
        self.services_socket = os.path.join(directory, "services.sock")
        self.admin_socket = os.path.join(self.state_directory, "admin.sock")
        self.store_path = os.path.join(self.state_directory, "store.db")
        self.keyfile = os.path.join(self.state_directory, "keyfile")
        self.config_path = os.path.join(self.state_directory, "keyturnd.yaml")
        self.write_config(config if config is not None
                          else merge(self.default_config(), changes or {}))
        super().__init__([binary("keyturnd"), "--config", self.config_path, *arguments],
                         name="keyturnd", env=env)

    def default_config(self):
        return {
            "sockets": {"services": self.services_socket, "admin": self.admin_socket},
            "store": {"path": self.store_path},
            "kek": {"keyfile": self.keyfile, "create": True},
            "logging": {"level": "debug"},
            "egress": {"allow_private": ["127.0.0.0/8"], "allow_http": ["127.0.0.1"]},
            "recipes": [os.path.join(SOURCE_DIR, "agent", "providers", "recipes")],
        }

    def write_config(self, config):
        with open(self.config_path, "w", encoding="utf-8") as file:
            file.write(as_yaml(config))
        os.chmod(self.config_path, 0o600)

    def wait_ready(self, deadline):
        """Ready is: both sockets take connections. A process that ended will never be ready."""
        def accepting():
            if self.exit_code is not None:
                raise AssertionError(f"it ended with exit code {self.exit_code}")
            return all(connects(path) for path in (self.admin_socket, self.services_socket))
        wait_until(accepting, deadline, "the agent's sockets")

    def run_to_end(self, deadline=30):
        """Starts an agent that is expected to refuse; returns its exit code."""
        self.wait_ready = lambda _: None
        try:
            self.start(deadline)
            return self.wait(deadline)
        except AssertionError:
            self.kill()
            raise
        finally:
            del self.wait_ready

    def cli(self, **options):
        return Cli(self.admin_socket, **options)

    def log(self):
        """The JSON objects logged in the current run, in order."""
        return [record for record in map(parse_json_line, self.stderr.lines()) if record]

    def log_of_all_runs(self):
        """The same of every run since the object was made, the killed ones too."""
        return [record for _, stderr in self._runs
                for record in map(parse_json_line, stderr.lines()) if record]

    def foreign_log_lines(self):
        """Lines on stderr that are not JSON objects; there should be none."""
        return [line for line in self.stderr.lines() if line and not parse_json_line(line)]

    def events(self, code, **fields):
        return [record for record in self.log() if _matches(record, {"code": code, **fields})]

    def wait_for_log(self, deadline=20, since=0, **fields):
        """The first log record that has all these fields; `since` is an earlier mark_log()."""
        def match(line):
            record = parse_json_line(line)
            return record if record and _matches(record, fields) else None
        return self.stderr.wait_for(match, deadline, since, f"a log line with {fields}")

    def wait_for_event(self, code, deadline=20, since=0, **fields):
        return self.wait_for_log(deadline, since, code=code, **fields)

    def mark_log(self):
        return self.stderr.mark()

    def state_bytes(self):
        """{path: content} of every file in the state directory, for searches for secrets."""
        found = {}
        for parent, _, names in os.walk(self.state_directory):
            for name in names:
                path = os.path.join(parent, name)
                if stat.S_ISREG(os.lstat(path).st_mode):
                    with open(path, "rb") as file:
                        found[path] = file.read()
        return found


def _matches(record, fields):
    return all(record.get(key) == value for key, value in fields.items())


def connects(path):
    """Whether somebody listens on this unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1)
        try:
            client.connect(path)
        except OSError:
            return False
        return True


@dataclasses.dataclass(frozen=True)
class CliResult:
    arguments: tuple
    code: int
    stdout: str
    stderr: str

    def json(self):
        return json.loads(self.stdout)

    def expect(self, code=0):
        """Itself, when it ended with this exit code."""
        if self.code != code:
            raise AssertionError(f"keyturn {' '.join(self.arguments)}: exit code {self.code}, "
                                 f"expected {code}\n{self.stdout}\n{self.stderr}")
        return self


class Cli:
    """The `keyturn` command against one socket; optionally as another user (needs root)."""

    def __init__(self, socket_path, *, uid=None, env=None):
        self.socket_path = socket_path
        self.uid = uid
        self.env = {**os.environ, "NO_COLOR": "1", "TERM": "dumb", **(env or {})}

    def argv(self, *arguments):
        return [binary("keyturn"), "--socket", self.socket_path, *map(str, arguments)]

    def run(self, *arguments, stdin="", deadline=30):
        """Runs to the end, whatever the exit code; stdin is text."""
        process = spawn(self.argv(*arguments), env=self.env, stdin=subprocess.PIPE, uid=self.uid)
        try:
            out, err = process.communicate(stdin.encode(), as_deadline(deadline).remaining())
        except subprocess.TimeoutExpired as error:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(
                f"keyturn {' '.join(map(str, arguments))} did not end\n{out}\n{err}") from error
        return CliResult(tuple(map(str, arguments)), process.returncode,
                         out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))

    def ok(self, *arguments, **options):
        """run() that must exit 0; returns what it printed."""
        return self.run(*arguments, **options).expect(0).stdout

    def json(self, *arguments, **options):
        """run() with `-o json` that must exit 0; returns the parsed output."""
        return self.run(*arguments, "-o", "json", **options).expect(0).json()

    def start(self, *arguments):
        """A command that goes on, such as watch, as a Process."""
        return Process(self.argv(*arguments), name=f"keyturn-{arguments[0]}", env=self.env,
                       uid=self.uid).start()

    def apply(self, resources, directory, name="resources.yaml"):
        """Writes resources (text or dict) into the directory and applies them."""
        path = os.path.join(directory, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(as_yaml(resources))
        return self.run("apply", "-f", path)


class Sandbox(HttpServerProcess):
    """keyturn-sandbox. `config` is its JSON configuration; tests/sandbox lists the fields."""

    def __init__(self, directory, *, config=None, arguments=()):
        arguments = list(arguments)
        if config is not None:
            path = os.path.join(directory, "sandbox.json")
            with open(path, "w", encoding="utf-8") as file:
                json.dump(config, file)
            arguments += ["--config", path]
        super().__init__([binary("keyturn-sandbox"), *arguments], name="sandbox")

    def state(self):
        return http_calls.get_json(f"{self.url}/sandbox/state")

    def set_faults(self, rules):
        return http_calls.request("PUT", f"{self.url}/sandbox/faults",
                                  json_body=rules).expect(200).json()

    def clear_faults(self):
        http_calls.request("DELETE", f"{self.url}/sandbox/faults").expect(200)

    def reset(self):
        http_calls.request("POST", f"{self.url}/sandbox/reset").expect(200)

    def seed_refresh_token(self, client_id, scope=""):
        return http_calls.post_json(f"{self.url}/sandbox/oauth/grant", {
            "client_id": client_id, "scope": scope})["refresh_token"]

    def check(self, token):
        """{valid, kind} of a secret as the sandbox sees it now."""
        return http_calls.post_json(f"{self.url}/sandbox/check", {"token": token})

    def is_alive(self, token):
        return self.check(token)["valid"]
