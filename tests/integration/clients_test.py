# SPDX-License-Identifier: Apache-2.0
"""What clients in other languages meet: Python and Node over unix sockets, health and reflection,
Watch and BatchGet, deadlines, and how the agent ends and reloads under open calls.
"""

import queue
import signal
import threading
import time

import grpc

import grpc_calls
import resources
from harness import *

_SERVING = b"\x08\x01"  # grpc.health.v1.HealthCheckResponse{status: SERVING}
_LIST_SERVICES = b"\x3a\x01*"  # ServerReflectionRequest{list_services: "*"}
_REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


def _bytes(data):
    return data


class _Watch:
    """An open Watch whose events can be waited for."""

    def __init__(self, client, names, seen=None):
        request = client.messages.WatchRequest(names=names, seen=seen or {})
        self.call = client.Watch(request, timeout=120)
        self.error = None
        self._events = queue.Queue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        try:
            for event in self.call:
                self._events.put(event)
        except grpc.RpcError as error:
            self.error = error
        self._events.put(None)

    def next(self, deadline=20):
        """(kind, name, version, value) of the next event; None at the end."""
        event = self._events.get(timeout=as_deadline(deadline).remaining())
        if event is None:
            return None
        kind = event.WhichOneof("event")
        if kind == "credential":
            found = event.credential
            return kind, found.name, found.version, grpc_calls.primary_value(found)
        return (kind, event.deleted.name, 0, "") if kind == "deleted" else (kind, "", 0, "")

    def end(self):
        self.call.cancel()
        self._thread.join(20)


class ClientsTest(IntegrationTest):
    def setUp(self):
        super().setUp()
        self.sandbox = self.start(Sandbox(self.directory))
        self.agent = self.start_agent(changes={"limits": {"drain": "3s"}})
        self.cli = self.agent.cli()
        self.cli.apply({
            "providers": {"dify": resources.dify(self.sandbox)},
            "credentials": {
                "dify/admin": resources.STATIC, "team/text": resources.STATIC,
                "team/none": resources.STATIC, "other/text": resources.STATIC,
                "team/key": resources.api_key("dify", grace="2s")},
            "policies": {"services": resources.reader("team/**")},
        }, self.directory).expect(0)
        self.cli.ok("put", "team/text", stdin="some text")
        self.cli.ok("put", "dify/admin", stdin="sandbox-admin-key")
        wait_until(lambda: self._version("team/key") == 1, 20, "the first key")
        self.client = grpc_calls.Client(self.agent.services_socket)
        self.addCleanup(self.client.close)

    def _version(self, name):
        return int(self.cli.json("show", name)["summary"]["current_version"])

    def _rotated(self, name="team/key"):
        """Rotates and returns the new value as the command line prints it."""
        self.cli.ok("rotate", name)
        return self.cli.ok("get", name)

    def _watch(self, names, seen=None, client=None):
        watch = _Watch(client or self.client, names, seen)
        self.addCleanup(watch.end)
        return watch

    def _raw(self, socket):
        channel = grpc.insecure_channel(f"unix:{socket}", [("grpc.enable_http_proxy", 0)])
        self.addCleanup(channel.close)
        return channel

    def test_python_and_node_read_the_same_value(self):
        credential = self.client.Get(name="team/key").credential
        node = node_get(self.agent.services_socket, "team/key")["credential"]
        value = grpc_calls.primary_value(credential)
        self.assertEqual((credential.version, value, credential.primary),
                         (node["version"], next(f["value"] for f in node["fields"]
                                                if f["name"] == node["primary"]),
                          node["primary"]))
        self.assertTrue(self.sandbox.is_alive(value))
        self.assertEqual(("Authorization", "Bearer {value}"),
                         (credential.attach.header, credential.attach.format))
        self.assertEqual(7, node_get(self.agent.services_socket, "other/text")["code"])
        self.assertEqual(5, node_get(self.agent.services_socket, "team/absent")["code"])
        self.assertEqual(9, node_get(self.agent.services_socket, "team/none")["code"])

    def test_health_is_serving_on_both_sockets(self):
        for socket in (self.agent.services_socket, self.agent.admin_socket):
            check = self._raw(socket).unary_unary("/grpc.health.v1.Health/Check", _bytes, _bytes)
            self.assertEqual(_SERVING, check(b"", timeout=10))

    def test_reflection_is_on_the_admin_socket_only(self):
        ask = self._raw(self.agent.admin_socket).stream_stream(_REFLECTION, _bytes, _bytes)
        reply = b"".join(ask(iter([_LIST_SERVICES]), timeout=10))
        for service in (b"keyturn.v1.Admin", b"keyturn.v1.Credentials"):
            self.assertIn(service, reply)
        ask = self._raw(self.agent.services_socket).stream_stream(_REFLECTION, _bytes, _bytes)
        with self.assertRaises(grpc.RpcError) as refused:
            list(ask(iter([_LIST_SERVICES]), timeout=10))
        self.assertEqual(grpc.StatusCode.UNIMPLEMENTED, refused.exception.code())

    def test_a_batch_answers_each_name_by_itself_and_in_order(self):
        names = ["team/text", "other/text", "team/absent", "team/none", "team/key", "team/text"]
        results = self.client.BatchGet(names=names).results
        self.assertEqual(names, [result.name for result in results])
        codes = [result.failure.code if result.WhichOneof("result") == "failure" else 0
                 for result in results]
        self.assertEqual([0, 7, 5, 9, 0, 0], codes)
        self.assertEqual("some text", grpc_calls.primary_value(results[0].credential))
        self.assertEqual(["POLICY_DENIED", "NO_SUCH_CREDENTIAL", "NO_VALUE_YET"],
                         [result.failure.reason for result in results[1:4]])
        for bad in ([], ["team/text"] * 101):
            with self.assertRaises(grpc.RpcError) as refused:
                self.client.BatchGet(names=bad)
            self.assertEqual(grpc.StatusCode.INVALID_ARGUMENT, refused.exception.code())

    def test_a_watch_gives_what_there_is_then_every_change(self):
        key = self.client.value("team/key")
        watch = self._watch(["team/key", "team/text"])
        snapshot = sorted(watch.next() for _ in range(2))
        self.assertEqual([("credential", "team/key", 1, key),
                          ("credential", "team/text", 1, "some text")], snapshot)
        self.assertEqual("synced", watch.next()[0])
        new = self._rotated()
        self.assertEqual(("credential", "team/key", 2, new), watch.next())
        self.cli.ok("put", "team/text", stdin="other text")
        self.assertEqual(("credential", "team/text", 2, "other text"), watch.next())
        self.cli.ok("delete", "credential", "team/text")
        self.assertEqual(("deleted", "team/text", 0, ""), watch.next())

    def test_a_watch_resumes_where_it_was(self):
        new = self._rotated()
        watch = self._watch(["team/key", "team/text"], {"team/key": 1, "team/text": 1})
        self.assertEqual(("credential", "team/key", 2, new), watch.next())
        self.assertEqual("synced", watch.next()[0])
        again = self._watch(["team/key", "team/text"], {"team/key": 2, "team/text": 1})
        self.assertEqual("synced", again.next()[0])
        self.cli.ok("put", "team/text", stdin="newer")
        self.assertEqual(("credential", "team/text", 2, "newer"), again.next())

    def test_a_watch_that_asks_too_much_ends_with_a_reason(self):
        for names, code in ((["team/text", "other/text"], grpc.StatusCode.PERMISSION_DENIED),
                            (["team/text", "team/absent"], grpc.StatusCode.NOT_FOUND),
                            ([], grpc.StatusCode.INVALID_ARGUMENT),
                            (["team/text"] * 101, grpc.StatusCode.INVALID_ARGUMENT)):
            watch = self._watch(names)
            # What comes before the refusal is not said; that it comes is.
            self.assertNotIn("synced", [event[0] for event in iter(watch.next, None)])
            self.assertEqual(code, watch.error.code())

    def test_a_call_never_outlives_its_deadline(self):
        # The token endpoint answers one byte every few seconds: nothing to wait for.
        self.sandbox.set_faults([{"match": {"path_prefix": "/oauth/token"}, "fault": "slow_loris",
                                  "delay_ms": 3000, "count": -1}])
        self.cli.apply({"credentials": {
            "team/token": resources.client_credentials(
                f"{self.sandbox.url}/oauth/token", "sandbox-client", "team/text")}},
            self.directory, "token.yaml").expect(0)
        start = time.monotonic()
        with self.assertRaises(grpc.RpcError) as late:
            self.client.Get(name="team/token", timeout=0.5)
        self.assertIn(late.exception.code(), (grpc.StatusCode.DEADLINE_EXCEEDED,
                                              grpc.StatusCode.UNAVAILABLE))
        self.assertLess(time.monotonic() - start, 2)
        # Others are not held up by it.
        self.assertEqual("some text", self.client.value("team/text", timeout=2))

    def test_min_remaining(self):
        self.cli.ok("put", "other/text", stdin="sandbox-secret")
        self.cli.apply({"credentials": {
            "team/token": resources.client_credentials(
                f"{self.sandbox.url}/oauth/token", "sandbox-client", "other/text")}},
            self.directory, "token.yaml").expect(0)
        duration = grpc_calls.importlib.import_module("google.protobuf.duration_pb2").Duration
        self.client.Get(name="team/token")
        with self.assertRaises(grpc.RpcError) as refused:
            self.client.Get(name="team/token", min_remaining=duration(seconds=3600))
        self.assertEqual((grpc.StatusCode.OUT_OF_RANGE, ["MIN_REMAINING_TOO_LONG"]),
                         grpc_calls.error_details(refused.exception))
        for _ in range(3):
            found = self.client.Get(name="team/token", min_remaining=duration(seconds=7)).credential
            self.assertGreater(found.expires_at.seconds + found.expires_at.nanos / 1e9,
                               time.time() + 6)

    def test_sigterm_ends_open_watches_and_the_agent_within_its_drain_time(self):
        watches = [self._watch(["team/key"]), self._watch(
            ["team/key"], client=grpc_calls.Client(self.agent.admin_socket))]
        for watch in watches:
            self.assertEqual(["credential", "synced"], [watch.next()[0], watch.next()[0]])
        start = time.monotonic()
        self.agent.signal(signal.SIGTERM)
        self.assertEqual(0, self.agent.wait(10))
        self.assertLess(time.monotonic() - start, 3 + 1)
        for watch in watches:
            self.assertIsNone(watch.next())
            self.assertEqual(grpc.StatusCode.UNAVAILABLE, watch.error.code())
        self.assertEqual("stopped", self.agent.log()[-1]["event"])
        self.agent.start()
        self.assertEqual("some text", grpc_calls.Client(self.agent.services_socket)
                         .value("team/text"))

    def test_sighup_reads_the_log_level_again_and_keeps_it_when_the_file_is_bad(self):
        config = self.agent.default_config()

        def reload(level, event):
            mark = self.agent.mark_log()
            self.agent.write_config(merge(config, {"logging": {"level": level}}))
            self.agent.signal(signal.SIGHUP)
            return self.agent.wait_for_log(10, mark, event=event)

        def audited():
            """Whether an audited call, logged as info, shows before a denial, a warning."""
            mark = self.agent.mark_log()
            self.cli.ok("put", "team/text", stdin="x")
            with self.assertRaises(grpc.RpcError):
                self.client.Get(name="other/text")
            self.agent.wait_for_log(10, mark, event="audit", allowed=False)
            lines = self.agent.stderr.lines()[mark:]
            return any('"method":"Put"' in line for line in lines)

        self.assertTrue(audited())
        self.agent.write_config(merge(config, {"logging": {"level": "warning"}}))
        self.agent.signal(signal.SIGHUP)
        wait_until(lambda: not audited(), 10, "the quieter log")
        self.assertFalse([r for r in self.agent.log() if r["event"] == "reload_failed"])
        failed = reload("loud", "reload_failed")
        self.assertIn("logging.level", failed["detail"])
        self.assertFalse(audited())
        reload("info", "reloaded")
        self.assertTrue(audited())
        self.assertTrue(self.agent.running)


if __name__ == "__main__":
    unittest.main(verbosity=2)
