# SPDX-License-Identifier: Apache-2.0
"""Rotations that are disturbed, many of them and several at the same time.

A Life is one agent with one credential at one service of its own (rotated_classes). A LivesTest
shares a list of disturbances among some lives, each in a thread: most of a rotation is waiting.
After every disturbance the rotation has to end by itself, and then what must hold is checked: what
is handed out works, the service holds exactly the keys that Keyturn knows, and no key that was ever
handed out before still works. Meanwhile a consumer reads the credential and tries it: a Get never
answers with a key that was dead before it was asked, whatever the class.
"""

import collections
import concurrent.futures
import contextlib
import os
import queue
import signal
import threading
import time
import unittest

# First: it makes the harness importable.
from crashing import CrashTest, wait_until  # isort: skip

import grpc
import grpc_calls
from rotated_classes import NAME, manager_input

LIVES = int(os.environ.get("KEYTURN_CRASH_LIVES", "6"))
# A credential is at rest when its next rotation is the planned one, every hour, and no retry.
_PLANNED_S = 600
# What a consumer may be told while the agent is down or there is no key.
_NOTHING_NOW = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.FAILED_PRECONDITION,
                grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)


class Consumer:
    """Reads the credential all the time and tries what it was given. While the agent is down, or
    says that there is nothing, it tries again."""

    def __init__(self, socket, rotated):
        self.reads = 0
        self.dead = 0
        self._works = rotated.works
        # A roll takes a moment only.
        self._pause_s = 0.02 if rotated.gap else 0.1
        self._failure = None
        self._client = grpc_calls.Client(socket, "Credentials", timeout=20)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._end.wait(self._pause_s):
            try:
                self._read()
            except grpc.RpcError as error:
                if error.code() not in _NOTHING_NOW:
                    self._failure = error
                    return
            except Exception as error:  # pylint: disable=broad-except
                if not self._end.is_set():  # else it read from a connection that was closed
                    self._failure = error
                return

    def _read(self):
        value = self._client.value(NAME)
        self.reads += 1
        # It may have died since it was read; then the next answer is another one.
        if not self._works(value) and self._client.value(NAME) == value:
            self.dead += 1

    def end(self):
        self._end.set()
        self._client.close()
        self._thread.join()
        if self._failure is not None:
            raise self._failure


class Life:
    def __init__(self, test, rotated_class, number):
        self.test = test
        self.name = f"agent-{number}"
        self.agent = test.make_agent(self.name, rotated_class.agent_changes())
        self.given = set()  # every value that was handed out
        self.rotated = rotated_class(test, self.agent.directory)
        test.lives[self.rotated] = self
        self._clients = {}
        self._consumer = None
        self.start(consumer=False)
        cli = self.agent.cli()
        cli.apply(self.rotated.resources(), self.agent.directory).expect(0)
        if self.rotated.manager() is not None:
            arguments, text = manager_input(self.rotated.manager())
            cli.ok("put", "team/admin", *arguments, stdin=text)
        self.rotated.first_key(cli)
        self.wait_at_rest("the first key")
        self.given.add(self.value())
        self.stop()

    def start(self, *where, consumer=True, **options):
        """The agent, with connections of their own for each time it is started, and a consumer."""
        self._disconnect()
        self.agent.run_from(*where, **options)
        if consumer:
            self._consumer = Consumer(self.agent.services_socket, self.rotated)

    def stop(self):
        self._disconnect()
        self.agent.stop()

    def kill(self):
        self.agent.kill()
        with contextlib.suppress(Exception):
            self._disconnect()

    def _disconnect(self):
        for client in self._clients.values():
            client.close()
        self._clients = {}
        if self._consumer is not None:
            consumer, self._consumer = self._consumer, None
            consumer.end()
            self.test.reads += consumer.reads
            assert consumer.dead == 0, "a consumer was given a dead key"

    def _client(self, socket, service):
        if service not in self._clients:
            self._clients[service] = grpc_calls.Client(socket, service)
        return self._clients[service]

    # --- what Keyturn says ---

    def shown(self):
        return self._client(self.agent.admin_socket, "Admin").Describe(name=NAME)

    def value(self):
        """What is handed out now; None when Keyturn says that there is nothing."""
        client = self._client(self.agent.services_socket, "Credentials")
        try:
            value = client.value(NAME, timeout=20)
        except grpc.RpcError as error:
            if error.code() not in (grpc.StatusCode.UNAVAILABLE,
                                    grpc.StatusCode.FAILED_PRECONDITION):
                raise
            return None
        self.given.add(value)
        return value

    def at_rest(self):
        shown = self.shown()
        states = [version.state for version in shown.versions]
        if (shown.HasField("rotation") or {"pending", "retiring"} & set(states)
                or states.count("current") > 1):
            return None
        if self._waits_for_person(shown):
            return shown
        if states.count("current") != 1:
            return None
        return shown if self._planned(shown) else None

    def _planned(self, shown):
        return shown.summary.next_at.seconds > time.time() + _PLANNED_S

    def _waits_for_person(self, shown):
        return not shown.summary.current_version and not shown.summary.HasField("next_at")

    def wait_at_rest(self, what, deadline=40):
        return wait_until(self.at_rest, deadline, what, interval=0.1)

    # --- what must hold ---

    def check(self):
        """All that must hold once the rotation has ended."""
        self.wait_at_rest("the end of the rotation")
        self.rotated.finish(self)
        shown = self.wait_at_rest("the end of the rotation")
        value = self.value()
        assert value is not None, "there is no value"
        current = next(v for v in shown.versions if v.state == "current")
        known = self.rotated.accounted(current, value)
        wait_until(lambda: self.rotated.key_ids() == known, 20,
                   f"the service to hold {known}; it holds {self.rotated.key_ids()}")
        assert self.rotated.works(value), "the key that is handed out is dead"
        alive = [key for key in self.given - {value} if self.rotated.works(key)]
        assert not alive, "a key that was handed out before lives on"
        strange = getattr(self.rotated.service, "strange", [])
        assert not strange, f"strange requests: {strange}"

    # --- disturbances ---

    def undisturbed(self):
        """One rotation; returns the points it passed, each with which passing it was."""
        self.test.forget_points(self.name)
        self.start()
        before = self.value()
        self.rotated.rotate(self.agent)
        self.check()
        assert self.value() != before, "nothing was rotated"
        self.stop()
        seen = collections.Counter()
        passed = []
        for point in self.test.all_points(self.name):
            seen[point] += 1
            passed.append((point, seen[point]))
        return passed

    def killed_at(self, point, count=1):
        """Begins a rotation and kills the agent there."""
        self.start(point, count)
        before = self.value()
        process = self.rotated.begin(self.agent)
        self.agent.wait_killed(point)
        process.kill()
        may_be_dead = self.rotated.gap or point.split(":")[1] in self.rotated.ending
        assert may_be_dead or self.rotated.works(before), "the key that was handed out died"

    def killed_in_recovery(self, nth):
        """Starts the agent, to be killed at the nth point it passes. False: it came to rest
        before."""
        try:
            self.start("*", nth)
        except AssertionError:
            if self.agent.exit_code == -signal.SIGKILL:
                return True  # before it was ready
            raise

        def ended():
            if not self.agent.running:
                return "killed"
            try:
                return "at rest" if self.at_rest() else None
            except grpc.RpcError:
                return None  # killed in the middle of the answer
        return wait_until(ended, 40, f"the kill at point {nth} of the recovery") == "killed"

    def recovered(self, first_kill):
        """Starts it for good. The loss of a key may have been reported before a second kill."""
        self.start()
        # Right after a restart; only in the middle of a roll there may be nothing to hand out.
        assert self.rotated.gap or self.value() is not None, "nothing is handed out"
        self.check()
        if first_kill:
            self.rotated.check_reported(self)
        self.stop()

    def story(self):
        """For a test that failed: the points passed last, the log, the requests."""
        points = self.test.all_points(self.name)[-12:]
        log = [line for line in self.agent.stderr.lines()
               if '"rotation' in line or NAME in line][-15:]
        asked = [" ".join(request) for request in
                 getattr(self.rotated.service, "requests", [])[-12:]]
        return "\n".join(["points:", *points, "log:", *log, "requests:", *asked])


class LivesTest(CrashTest):
    """`rotated_class` is set by subclasses."""

    rotated_class = None

    def setUp(self):
        super().setUp()
        self.lives = {}
        self.reads = 0  # by consumers; about right, because several threads add to it

    def values_of(self, rotated):
        return self.lives[rotated].given

    def all_points(self, name):
        path = self.path(f"{name}.points")
        if not os.path.exists(path):
            return []
        with open(path, encoding="utf-8") as file:
            return file.read().split()

    def first_life(self):
        return Life(self, self.rotated_class, 0)

    def share(self, first, jobs, act):
        """act(life, job) for every job, on `first` and other lives; fails with what went wrong."""
        waiting = queue.SimpleQueue()
        for job in jobs:
            waiting.put(job)
        failures = []

        def live(number):
            life = first if number == 0 else None
            while True:
                try:
                    job = waiting.get_nowait()
                except queue.Empty:
                    return
                try:
                    life = life or Life(self, self.rotated_class, f"{number}-{waiting.qsize()}")
                    act(life, job)
                except Exception as error:  # pylint: disable=broad-except
                    story = life.story() if life is not None else ""
                    failures.append(f"{job}: {error!r}\n{story}")
                    if life is not None:
                        life.kill()
                    life = None  # whatever state it is in, the next job gets a new one

        count = min(LIVES, len(jobs))
        with concurrent.futures.ThreadPoolExecutor(max_workers=count) as pool:
            for done in [pool.submit(live, number) for number in range(count)]:
                done.result()
        self.assertEqual(0, len(failures), "\n\n".join(failures[:5]))
        # Most disturbances last some seconds, a dozen reads; none at all would prove nothing.
        self.assertGreaterEqual(self.reads, len(jobs), "consumers have hardly read")


def cases_of(base, suffix, classes):
    """One test case of `base` for each rotated class, and what unittest is to load."""
    cases = [type(f"{rotated.__name__}{suffix}", (base,), {"rotated_class": rotated})
             for rotated in classes]

    def load_tests(loader, _tests, _pattern):
        return unittest.TestSuite(loader.loadTestsFromTestCase(case) for case in cases)

    return {case.__name__: case for case in cases}, load_tests
