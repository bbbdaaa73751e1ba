# SPDX-License-Identifier: Apache-2.0
"""Child processes, deadlines and waiting for the integration tests.

A Process leads its own process group and is killed by the kernel when the test run dies. Its output
is read as it comes by one thread per stream, so a child never blocks on a full pipe. Waiting blocks
on what is waited for (a line, an exit) and always has a deadline; KEYTURN_TIMEOUT_SCALE stretches
every deadline for slow builds. Process and Output may be used from several threads.
"""

import collections
import concurrent.futures
import json
import os
import re
import select
import signal
import subprocess
import threading
import time

_SCALE = float(os.environ.get("KEYTURN_TIMEOUT_SCALE", "1"))
_MAX_LINES = 200_000
_LISTENING = re.compile(r"^listening on (http://\S+)$")

# The kernel sends the parent-death signal only for a death after it was asked for, so a child then
# checks that its parent ($0 is our pid) is still there.
_EXEC_IF_PARENT_LIVES = '[ "$PPID" = "$0" ] && exec "$@"'

# The kernel's parent-death signal is tied to the thread that made the child, not to the process:
# every child is therefore made by this one thread, which lives as long as the interpreter.
_spawner = concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")


class Deadline:
    """A point in time on the monotonic clock."""

    def __init__(self, seconds):
        self._end = time.monotonic() + seconds * _SCALE

    def remaining(self):
        return max(0.0, self._end - time.monotonic())

    @property
    def expired(self):
        return self.remaining() <= 0.0


def as_deadline(deadline):
    return deadline if isinstance(deadline, Deadline) else Deadline(deadline)


def wait_until(condition, deadline, what="condition", interval=0.02):
    """The first true value of condition(); AssertionError when the deadline passes first."""
    deadline = as_deadline(deadline)
    pause = threading.Event()
    while True:
        value = condition()
        if value:
            return value
        if deadline.expired:
            raise AssertionError(f"timed out waiting for {what}")
        pause.wait(min(interval, deadline.remaining()))


class Output:
    """The lines of one stream, in order, as they arrive."""

    def __init__(self, stream, name):
        self._changed = threading.Condition()
        self._lines = collections.deque(maxlen=_MAX_LINES)
        self._taken = 0  # lines seen so far, also those that fell out of the deque
        self._ended = False
        threading.Thread(target=self._read, args=(stream,), name=name, daemon=True).start()

    def _read(self, stream):
        with stream:
            for raw in stream:
                with self._changed:
                    self._lines.append(raw.decode("utf-8", "replace").rstrip("\n"))
                    self._taken += 1
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def lines(self):
        with self._changed:
            return list(self._lines)

    def text(self):
        return "\n".join(self.lines())

    def mark(self):
        """A position for wait_for: lines from now on."""
        with self._changed:
            return self._taken

    def wait_for(self, match, deadline, since=0, what="a line"):
        """The first true match(line) at or after `since`; AssertionError on deadline or end."""
        deadline = as_deadline(deadline)
        position = since
        while True:
            with self._changed:
                while self._taken <= position and not self._ended:
                    if not self._changed.wait(deadline.remaining()) and deadline.expired:
                        raise AssertionError(f"timed out waiting for {what}")
                oldest = self._taken - len(self._lines)
                fresh = list(self._lines)[max(0, position - oldest):]
                position = self._taken
                ended = self._ended
            for line in fresh:
                found = match(line)
                if found:
                    return found
            if ended:
                raise AssertionError(f"output ended while waiting for {what}")

    def wait_end(self, deadline):
        deadline = as_deadline(deadline)
        with self._changed:
            if not self._changed.wait_for(lambda: self._ended, deadline.remaining()):
                raise AssertionError("timed out waiting for the end of output")


def spawn(argv, *, env=None, cwd=None, stdin=subprocess.DEVNULL, uid=None, gid=None):
    """Popen in its own session, killed with us; optionally as another user (needs root)."""
    wrapper = ["/usr/bin/setpriv", "--pdeathsig", "KILL"]
    if uid is not None:
        wrapper += [f"--reuid={uid}", f"--regid={uid if gid is None else gid}", "--clear-groups"]
    return _spawner.submit(
        subprocess.Popen,
        [*wrapper, "--", "/bin/sh", "-c", _EXEC_IF_PARENT_LIVES, str(os.getpid()), *map(str, argv)],
        env=env, cwd=cwd, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True).result()


class Process:
    """A program that can be started, waited for, ended, killed, and started again."""

    # Exit codes of stop() that mean a clean end.
    clean_exit_codes = (0,)

    def __init__(self, argv, *, name=None, env=None, cwd=None, stdin=subprocess.DEVNULL, uid=None):
        self.argv = [str(arg) for arg in argv]
        self.name = name or os.path.basename(self.argv[0])
        self.env = {**os.environ, **(env or {})}
        self.cwd = cwd
        self.uid = uid
        self._stdin = stdin
        self._popen = None
        self._runs = []  # (stdout, stderr) of every start

    def start(self, deadline=30):
        """Starts and waits until ready; a process that does not get there is killed."""
        if self.running:
            raise RuntimeError(f"{self.name} runs already")
        self._popen = spawn(self.argv, env=self.env, cwd=self.cwd, stdin=self._stdin, uid=self.uid)
        self._runs.append((Output(self._popen.stdout, f"{self.name}-out"),
                           Output(self._popen.stderr, f"{self.name}-err")))
        try:
            self.wait_ready(as_deadline(deadline))
        except BaseException as error:
            self.kill()
            message = f"{self.name} did not get ready: {error}\n{self.tail()}"
            raise AssertionError(message) from error
        return self

    def wait_ready(self, deadline):
        """Overridden by programs that have something to wait for."""

    @property
    def pid(self):
        return self._popen.pid

    @property
    def running(self):
        return self._popen is not None and self._popen.poll() is None

    @property
    def exit_code(self):
        return None if self._popen is None else self._popen.poll()

    @property
    def stdout(self):
        return self._runs[-1][0]

    @property
    def stderr(self):
        return self._runs[-1][1]

    @property
    def stdin(self):
        return self._popen.stdin

    def all_output(self):
        """Everything written in every run so far, for searches for leaked secrets."""
        return "\n".join(output.text() for run in self._runs for output in run)

    def tail(self, lines=40):
        kept = [f"  {name}| {line}" for name, output in zip(("out", "err"), self._runs[-1])
                for line in output.lines()[-lines:]] if self._runs else []
        return "\n".join([f"--- {self.name}: exit code {self.exit_code}", *kept])

    def signal(self, number):
        self._popen.send_signal(number)

    def wait(self, deadline):
        """Blocks until the process has ended and its output is read; returns the exit code."""
        deadline = as_deadline(deadline)
        if self._popen.poll() is None:
            descriptor = os.pidfd_open(self._popen.pid)
            try:
                poller = select.poll()
                poller.register(descriptor, select.POLLIN)
                if not poller.poll(deadline.remaining() * 1000):
                    raise AssertionError(f"timed out waiting for {self.name} to end")
            finally:
                os.close(descriptor)
        code = self._popen.wait()
        for output in self._runs[-1]:
            output.wait_end(deadline)
        return code

    def stop(self, deadline=15):
        """SIGTERM, then the exit code; one that neither ends nor exits cleanly is a failure."""
        if self.running:
            self.signal(signal.SIGTERM)
        try:
            code = self.wait(deadline)
        except AssertionError:
            self.kill()
            raise
        if code not in self.clean_exit_codes:
            raise AssertionError(f"{self.name} ended with exit code {code}\n{self.tail()}")
        return code

    def kill(self, deadline=10):
        """SIGKILL to the whole group: what a crash looks like to everyone else."""
        if self._popen is None:
            return
        if self._popen.poll() is None:
            os.killpg(self._popen.pid, signal.SIGKILL)
        self.wait(deadline)

    def __enter__(self):
        return self if self.running else self.start()

    def __exit__(self, *_):
        self.kill()


class HttpServerProcess(Process):
    """A server that prints `listening on http://127.0.0.1:PORT` when it is ready."""

    url = None

    def wait_ready(self, deadline):
        self.url = self.stdout.wait_for(
            lambda line: (m := _LISTENING.match(line)) and m.group(1), deadline,
            what="`listening on`")

    @property
    def port(self):
        return int(self.url.rsplit(":", 1)[1])


def parse_json_line(line):
    """The object on a log line, or None for a line that is none."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
