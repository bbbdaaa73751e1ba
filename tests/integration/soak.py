# SPDX-License-Identifier: Apache-2.0
"""The load of the soak tests: clients that get tokens all the time while the agent is killed again
and again, and the account of it afterwards.

A Soak runs 16 client threads over the tokens of one agent, each with its own connection. The
thread that calls run() kills the agent with SIGKILL at times that its seed decides, every other
time in the middle of a token request; one more thread is the person who brings new consent when a
client is told that it is needed. Afterwards check() compares three accounts that know nothing of
each other: what the clients got, what the servers saw, and what the agent's log says.

KEYTURN_SOAK_SECONDS sets the length, KEYTURN_SOAK_SEED repeats the times of a run's kills.
"""

import datetime
import os
import queue
import random
import threading
import time

import grpc

import grpc_calls

_CLIENTS = 16
_PAUSE = 0.03  # between two gets of one client
_SAMPLE = 20  # every so many gets, the server is asked about the token
_GET_TIMEOUT = 5
_AIM = 40  # how long a token request is waited for, to kill the agent in its middle
_INTO = 0.28  # how long after its beginning
_RECOVERY = 90  # an agent in doubt waits up to 30 s by itself
_EARLY = 1  # so many seconds before a token's end the agent says that it ends
# From the server's answer to the moment the agent has stored it, on a busy machine.
_STORED_WITHIN = 5
# How long a token may live on that its server has ended with the grant.
_LIFETIME = 3
_STALL = 0.1  # late by more than this, this process is kept from running
_SKEW = 0.05  # logs and servers write milliseconds


def seconds(default):
    return float(os.environ.get("KEYTURN_SOAK_SECONDS", default))


class Token:
    """One credential under load. Tests derive from it what they know of its server."""

    uses_refresh_token = True

    def __init__(self, name):
        self.name = name
        self.consents = []  # when a person's consent was stored; the first before the load
        self.failed_consents = []  # tried, and the agent died meanwhile

    def alive(self, value):
        """Whether the server takes the token now."""
        raise NotImplementedError

    def begun(self):
        """How many requests for this token have reached the server so far."""
        raise NotImplementedError

    def consent(self, cli):
        """One attempt to bring a new refresh token; whether it was stored."""
        raise NotImplementedError

    def burned(self):
        """[{at, first_use}] of the grants that the server ended because a token was used twice."""
        return []

    def cut(self):
        """How many token requests a kill cut: before their effect, and after it."""
        return 0, 0


class _Client(threading.Thread):
    """Gets one token over its own connection until told to stop; keeps what it saw."""

    def __init__(self, soak, token, number):
        super().__init__(name=f"{token.name}, client {number}")
        self._soak, self.token = soak, token
        self._client = None
        self.problems = []
        self.refused = {}  # why there was no token: how often
        self.dead = []  # (time of the answer, version) of what the server called dead
        self.latencies = []
        self.samples = self.late = 0

    def run(self):
        try:
            while not self._soak.stop.wait(_PAUSE):
                self._get()
        except Exception as error:  # pylint: disable=broad-except
            self.problems.append(repr(error))
        finally:
            self._disconnect()

    def _disconnect(self):
        if self._client is not None:
            self._client.close()
            self._client = None

    def _get(self):
        if self._client is None:
            self._client = grpc_calls.Client(self._soak.agent.services_socket, timeout=_GET_TIMEOUT)
        consents = len(self.token.consents)
        sent, began = time.time(), time.monotonic()
        try:
            credential = self._client.Get(name=self.token.name).credential
        except grpc.RpcError as error:
            self._refused(error, consents)
            return
        now = time.time()
        self.latencies.append(time.monotonic() - began)
        self._check(credential, sent, now)

    def _refused(self, error, consents):
        code, reasons = grpc_calls.error_details(error)
        why = reasons[0] if reasons else code.name
        self.refused[why] = self.refused.get(why, 0) + 1
        if why == "NEEDS_CONSENT":
            self._soak.person.asked(self.token, consents)
        elif why == grpc.StatusCode.UNAVAILABLE.name:
            self._disconnect()  # by a new connection, the agent is back sooner than by waiting
        elif code not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
            self.problems.append(f"{self.token.name}: {code.name} {reasons}")

    def _check(self, credential, sent, now):
        expires = credential.expires_at.seconds + credential.expires_at.nanos / 1e9
        # What was asked for after the expiry must not be given; what was given just before it may
        # come just after it, as long as the second lasts by which the agent lets tokens end early,
        # or longer where the machine is too busy for us to take what has come.
        late = expires + _EARLY <= now
        self.late += late
        if (not credential.HasField("expires_at") or expires <= sent or
                late and not self._soak.pulse.stalled(sent, now)):
            self.problems.append(f"{self.token.name}: version {credential.version} expired at "
                                 f"{_clock(expires)}, and was got from {_clock(sent)} to "
                                 f"{_clock(now)}")
        if len(self.latencies) % _SAMPLE:
            return
        alive = self.token.alive(grpc_calls.primary_value(credential))
        # Servers end a token up to a second early too. An answer that took until then, on a busy
        # machine, says nothing about the moment of the get.
        if alive or time.time() < expires:
            self.samples += 1
            if not alive:
                self.dead.append((now, credential.version))


class _Pulse(threading.Thread):
    """Notices when this process is kept from running."""

    def __init__(self, stop):
        super().__init__(name="pulse")
        self._stop_event = stop
        self._stalls = []

    def run(self):
        last = time.time()
        while not self._stop_event.wait(_STALL / 5):
            now = time.time()
            if now - last > _STALL:
                self._stalls.append((last, now))
            last = now

    def stalled(self, begin, end):
        return any(since < end and until > begin for since, until in list(self._stalls))


class _Person(threading.Thread):
    """Brings a new refresh token when a client was told that somebody must."""

    def __init__(self, soak):
        super().__init__(name="person", daemon=True)
        self._soak = soak
        self._asked = queue.Queue()
        self.problems = []
        self.busy = threading.Event()

    def asked(self, token, consents):
        """`consents`: how many there were when the client asked; an older answer is no news."""
        if len(token.consents) == consents:
            self._asked.put((token, consents))

    def run(self):
        while True:
            token, consents = self._asked.get()
            if token is None:
                return
            if len(token.consents) != consents:
                continue
            try:
                # The agent may be dead or die meanwhile; a token that may have arrived is never
                # brought twice.
                while not token.consent(self._soak.cli):
                    token.failed_consents.append(time.time())
            except Exception as error:  # pylint: disable=broad-except
                self.problems.append(f"{token.name}: {error!r}")
                return
            token.consents.append(time.time())

    def end(self):
        self._asked.put((None, 0))
        self.join(_RECOVERY)


class Soak:
    def __init__(self, agent, tokens, length):
        self.agent, self.tokens, self.length = agent, tokens, length
        self.cli = agent.cli()
        self.seed = int(os.environ.get("KEYTURN_SOAK_SEED", random.SystemRandom().getrandbits(32)))
        self.stop = threading.Event()
        self.person = _Person(self)
        self.pulse = _Pulse(self.stop)
        self.kills = []  # (time, whether it was aimed at a token request)
        self._random = random.Random(self.seed)
        self._clients = []

    def run(self):
        """Loads the agent, kills it now and then, and lets it recover."""
        print(f"seed {self.seed}: {_CLIENTS} clients, {self.length:.0f} s, "
              f"{len(self.tokens)} tokens", flush=True)
        for token in self.tokens:
            if token.uses_refresh_token:
                token.consents.append(time.time())
        self._clients = [_Client(self, self.tokens[number % len(self.tokens)], number)
                         for number in range(_CLIENTS)]
        self.person.start()
        self.pulse.start()
        for client in self._clients:
            client.start()
        try:
            self._kill_now_and_then()
            self._recover()
        finally:
            self.stop.set()
            for client in self._clients:
                client.join(30)
            self.person.end()

    def _kill_now_and_then(self):
        end = time.monotonic() + self.length
        mean = min(20, self.length / 6)
        while True:
            # Both are drawn every time, so that one run's times are another's.
            wait, into = self._random.uniform(0.5, 1.5) * mean, self._random.uniform(0, _INTO)
            if time.monotonic() + wait > end:
                self.stop.wait(max(0, end - time.monotonic()))
                return
            self.stop.wait(wait)
            aimed = len(self.kills) % 2 == 0 and self._request_begins()
            if aimed:
                self.stop.wait(into)
            self.kills.append((time.time(), aimed))
            self.agent.kill()
            self.agent.start()

    def _request_begins(self):
        end = time.monotonic() + _AIM
        aim = self._random.choice(self.tokens)
        before = aim.begun()
        while time.monotonic() < end:
            if aim.begun() > before:
                return True
            self.stop.wait(0.005)
        return False

    def _recover(self):
        """At the end every token is there again, whatever the last kill left behind."""
        end = time.monotonic() + _RECOVERY
        for token in self.tokens:
            while self.cli.run("--timeout", "2s", "get", token.name).code != 0:
                if time.monotonic() > end:
                    raise AssertionError(f"{token.name} did not recover")
                self.stop.wait(0.2)

    def check(self, test):
        """Prints the figures, then fails the test for whatever does not fit together."""
        log = self.agent.log_of_all_runs()
        before, after = map(sum, zip(*(token.cut() for token in self.tokens)))
        print(self._figures(log, before, after), flush=True)
        problems = [problem for client in self._clients for problem in client.problems]
        problems += self.person.problems
        for token in self.tokens:
            problems += self._unexplained(token, log)
            got = sum(len(client.latencies) for client in self._clients if client.token is token)
            if got < self.length:
                problems.append(f"{token.name}: {got} gets only")
        if problems:
            print("\n".join(self.timeline(log)), flush=True)
        test.assertEqual([], problems[:20])
        test.assertGreaterEqual(len(self.kills), 2)
        test.assertGreaterEqual(before + after, 1, "no kill struck a token request")
        test.assertGreater(sum(client.samples for client in self._clients), self.length)
        test.assertEqual([], self.agent.foreign_log_lines())

    def _figures(self, log, before, after):
        latencies = sorted(x for client in self._clients for x in client.latencies)
        at = lambda part: latencies[int(part * (len(latencies) - 1))] * 1000 if latencies else 0
        refused = {}
        for client in self._clients:
            for why, count in client.refused.items():
                refused[why] = refused.get(why, 0) + count
        doubts = [r for r in log if r.get("code") == "REFRESH_IN_DOUBT" and r.get("cause")]
        burned = sum(len(token.burned()) for token in self.tokens)
        return (f"gets {len(latencies)} (p50 {at(0.5):.1f} ms, p99 {at(0.99):.1f} ms), "
                f"late {sum(client.late for client in self._clients)}, "
                f"sampled {sum(client.samples for client in self._clients)}, refused {refused}, "
                f"kills {len(self.kills)} (aimed {sum(aimed for _, aimed in self.kills)}), "
                f"flights cut {before} before their effect and {after} after it, "
                f"doubts reported {len(doubts)}, grants burned {burned}, "
                f"consents {sum(max(0, len(token.consents) - 1) for token in self.tokens)}")

    def _unexplained(self, token, log):
        """What is wrong with the account of this token's grants."""
        mine = [record for record in log if record.get("credential") == token.name
                and record.get("event") == "failure"]
        burned = token.burned()
        problems = []
        for burn in burned:
            problems += [f"{token.name}: the grant burned at {_clock(burn['at'])} {problem}"
                         for problem in self._burn_problems(burn, mine)]
        # Between two consents there is at most one burn and one report of it, and each has its
        # other; what was brought when the agent died may have arrived and burned as well.
        bounds = [*token.consents, float("inf")]
        for begin, end in zip(bounds, bounds[1:]):
            burns = [burn for burn in burned if begin <= burn["at"] < end]
            told = [record for record in mine if record["code"] == "NEEDS_CONSENT"
                    and begin <= _time(record) < end]
            failed = sum(begin <= at < end for at in token.failed_consents)
            if len(burns) > 1 + failed or bool(told) != bool(burns):
                problems.append(f"{token.name}: since the consent of {_clock(begin)} {len(burns)} "
                                f"grants burned, and NEEDS_CONSENT was said {len(told)} times")
        for client in self._clients:
            if client.token is not token:
                continue
            problems += [f"{token.name}: the server called version {version} dead at {_clock(at)}"
                         for at, version in client.dead
                         if not any(burn["at"] - _LIFETIME < at < burn["at"] + _LIFETIME
                                    for burn in burned)]
        return problems

    def _burn_problems(self, burn, mine):
        use = burn["first_use"]
        if use is None:
            yield "by a token whose first use the server does not remember"
            return
        answered = use["answered_at"] or burn["at"]
        killed = any(use["arrived_at"] - _SKEW <= at <= answered + _STORED_WITHIN
                     for at, _ in self.kills)
        if not killed and not use["cut"]:
            yield "although the first reply was not lost"
        doubts = [record for record in mine if record["code"] == "REFRESH_IN_DOUBT"
                  and use["arrived_at"] - _SKEW <= _time(record) <= burn["at"] + _SKEW]
        if not doubts:
            yield "without a doubt that was reported before"

    def timeline(self, log):
        """What happened, in order, for whoever has to find out why."""
        events = [(at, "kill, aimed" if aimed else "kill") for at, aimed in self.kills]
        for token in self.tokens:
            events += [(at, f"{token.name}: consent") for at in token.consents]
            events += [(burn["at"], f"{token.name}: burned {burn}") for burn in token.burned()]
        for client in self._clients:
            dead = {version: at for at, version in reversed(client.dead)}
            events += [(at, f"{client.name}: the server calls version {version} dead")
                       for version, at in dead.items()]
        events += [(_time(record), " ".join(f"{key}={value}" for key, value in record.items()
                                            if key in ("event", "credential", "code", "cause",
                                                       "attempt", "next_retry", "runway_s")))
                   for record in log if record.get("code")]
        return [f"{_clock(at)} {what}" for at, what in sorted(events)]


def _time(record):
    return datetime.datetime.fromisoformat(record["time"].replace("Z", "+00:00")).timestamp()


def _clock(at):
    return datetime.datetime.fromtimestamp(at, datetime.timezone.utc).strftime("%H:%M:%S.%f")[:-3]
