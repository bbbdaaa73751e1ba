# SPDX-License-Identifier: Apache-2.0
"""The harness and the peers themselves: what the other integration tests take for granted."""

import base64
from concurrent import futures
import os
import re
import signal
import socket
import subprocess
import sys

import grpc

import grpc_calls
from harness import *

_SHELL = "/bin/sh"


class ProcessTest(IntegrationTest):
    def test_lines_arrive_in_order_and_a_mark_hides_the_earlier_ones(self):
        process = self.start(Process([_SHELL, "-c", "echo one; echo two; read x; echo one more"],
                                     stdin=subprocess.PIPE))
        self.assertEqual("two", process.stdout.wait_for(lambda l: l == "two" and l, 10))
        mark = process.stdout.mark()
        process.stdin.write(b"\n")
        process.stdin.close()
        found = process.stdout.wait_for(lambda l: l.startswith("one") and l, 10, since=mark)
        self.assertEqual("one more", found)
        self.assertEqual(0, process.wait(10))

    def test_waiting_for_a_line_ends_with_the_output(self):
        process = self.start(Process([_SHELL, "-c", "echo other"]))
        with self.assertRaisesRegex(AssertionError, "output ended"):
            process.stdout.wait_for(lambda line: line == "never", 30)

    def test_waiting_for_an_exit_has_a_deadline(self):
        process = self.start(Process(["/bin/cat"], stdin=subprocess.PIPE))
        with self.assertRaisesRegex(AssertionError, "timed out"):
            process.wait(0.05)
        process.stdin.close()
        self.assertEqual(0, process.wait(10))

    def test_a_bad_exit_code_at_stop_is_a_failure(self):
        process = Process([_SHELL, "-c", "echo broken >&2; exit 3"]).start()
        process.wait(10)
        with self.assertRaisesRegex(AssertionError, "(?s)exit code 3.*broken"):
            process.stop()

    def test_a_server_that_never_gets_ready_shows_what_it_said(self):
        server = HttpServerProcess([_SHELL, "-c", "echo no config >&2; exit 2"])
        with self.assertRaisesRegex(AssertionError, "(?s)exit code 2.*no config"):
            server.start(10)

    def test_kill_takes_the_whole_group(self):
        process = self.start(Process([_SHELL, "-c", "sleep 300 & echo $!; wait"]))
        child = int(process.stdout.wait_for(lambda line: line, 10))
        process.kill()
        wait_until(lambda: not _alive(child), 10, "the grandchild's end")
        self.assertEqual(-signal.SIGKILL, process.exit_code)

    def test_children_die_with_a_killed_test_run(self):
        script = ("import os, signal, sys; sys.path.insert(0, sys.argv[1]); import harness; "
                  "p = harness.Process(['/bin/sleep', '300']).start(); "
                  "print(p.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)")
        run = subprocess.run([sys.executable, "-c", script, os.path.dirname(__file__)],
                             capture_output=True, timeout=60, check=False)
        self.assertEqual(-signal.SIGKILL, run.returncode, run.stderr)
        wait_until(lambda: not _alive(int(run.stdout)), 10, "the child's end")


def _alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False


class OidcProviderTest(IntegrationTest):
    def test_counts_token_requests_by_grant_and_outcome(self):
        provider = self.start(OidcProvider(client_credentials_ttl=7))
        self.assertEqual(0, provider.token_requests("client_credentials")["requests"])
        reply = provider.token_request({"grant_type": "client_credentials", "scope": "api:read"})
        self.assertEqual(7, reply.expect(200).json()["expires_in"])
        self.assertTrue(provider.is_alive(reply.json()["access_token"]))
        wrong = provider.token_request({"grant_type": "client_credentials"},
                                       client=(provider.BASIC[0], "wrong"))
        self.assertEqual("invalid_client", wrong.expect(401).json()["error"])
        self.assertEqual({"requests": 2, "succeeded": 1, "failed": 1,
                          "errors": {"invalid_client": 1}},
                         provider.token_requests("client_credentials"))

    def test_seeds_a_grant_whose_refresh_token_rotates_and_detects_reuse(self):
        provider = self.start(OidcProvider())
        first = provider.seed_refresh_token("bob")
        form = {"grant_type": "refresh_token", "refresh_token": first}
        second = provider.token_request(form).expect(200).json()["refresh_token"]
        self.assertNotEqual(first, second)
        self.assertTrue(provider.is_alive(second))
        self.assertEqual("invalid_grant", provider.token_request(form).expect(400).json()["error"])
        self.assertFalse(provider.is_alive(second))
        burned, = provider.stats()["burned"]
        self.assertEqual(provider.BASIC[0], burned["client_id"])
        self.assertFalse(burned["first_use"]["cut"])
        self.assertLessEqual(burned["first_use"]["arrived_at"], burned["at"])

    def test_a_slow_token_request_without_its_client_has_no_effect(self):
        provider = self.start(OidcProvider(token_delay_ms=500))
        body = b"grant_type=client_credentials"
        with socket.create_connection(("127.0.0.1", provider.port)) as client:
            client.sendall(b"POST /token HTTP/1.1\r\nHost: x\r\n"
                           b"Content-Type: application/x-www-form-urlencoded\r\n"
                           b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
            wait_until(lambda: provider.stats()["in_flight"] == 1, 10, "the request")
        wait_until(lambda: provider.stats()["in_flight"] == 0, 10, "its end")
        stats = provider.stats()
        self.assertEqual((1, 0), (stats["arrived"], stats["total"]["requests"]))
        self.assertEqual({"before": 1, "after": 0}, stats["cut"])

    def test_every_built_in_client_can_be_seeded(self):
        provider = self.start(OidcProvider())
        for client in (provider.BASIC[0], provider.POST[0], provider.PUBLIC):
            self.assertTrue(provider.is_alive(provider.seed_refresh_token(client_id=client)))


class VerdaccioTest(IntegrationTest):
    def test_a_token_lives_until_it_is_revoked(self):
        for token_format in ("legacy", "jwt"):
            with self.subTest(token_format):
                registry = self.start(Verdaccio(self.path(token_format),
                                                token_format=token_format))
                created = registry.create_token(["0.0.0.0/0", "240.1.2.3/32"])
                self.assertTrue(registry.is_alive(created["token"]))
                listed = registry.list_tokens()
                self.assertEqual([created["key"]], [token["key"] for token in listed])
                self.assertEqual(["0.0.0.0/0", "240.1.2.3/32"], listed[0]["cidr"])
                self.assertNotIn(created["token"], str(listed))
                registry.delete_token(created["key"])
                self.assertEqual(403, registry.user_status(created["token"]))
                self.assertEqual([], registry.keys())
                registry.delete_token(created["key"])

    def test_tokens_outlive_a_restart(self):
        registry = self.start(Verdaccio(self.path("registry")))
        token = registry.create_token()["token"]
        registry.stop()
        registry.start()
        self.assertTrue(registry.is_alive(token))
        self.assertEqual(401, registry.user_status("never-issued"))

    def test_polling_meets_no_rate_limit(self):
        registry = self.start(Verdaccio(self.path("registry")))
        reply = http_calls.request("GET", f"{registry.url}/-/npm/v1/user", basic=registry.basic)
        self.assertGreater(int(reply.expect(200).headers["X-RateLimit-Remaining"]), 100_000)

    def test_the_log_holds_no_secret(self):
        registry = self.start(Verdaccio(self.path("registry")))
        token = registry.create_token()["token"]
        self.assertTrue(registry.is_alive(token))
        registry.stop()
        with open(self.path("registry", "verdaccio.log"), encoding="utf-8") as file:
            log = file.read()
        basic = base64.b64encode(":".join(registry.basic).encode()).decode()
        self.assertIn("/-/npm/v1/tokens", log)
        for secret in (token, registry.password, basic):
            self.assertNotIn(secret, log)


class GrpcCallsTest(IntegrationTest):
    """The Python and Node clients against a server that answers one credential."""

    def setUp(self):
        super().setUp()
        self.socket = self.path("services.sock")
        messages = grpc_calls.module("keyturn/v1/credentials.proto")
        status_module = grpc_calls.module("google/rpc/status.proto")
        details = grpc_calls.module("google/rpc/error_details.proto")

        def get(request, context):
            if request.name != "team/known":
                status = status_module.Status(code=7, message="not for you")
                status.details.add().Pack(details.ErrorInfo(reason="ACCESS", domain="keyturn"))
                context.set_trailing_metadata(
                    (("grpc-status-details-bin", status.SerializeToString()),))
                context.abort(grpc.StatusCode.PERMISSION_DENIED, "not for you")
            return messages.GetResponse(credential=messages.Credential(
                name=request.name, version=3, primary="value",
                fields=[messages.Field(name="id", value=b"7"),
                        messages.Field(name="value", value=b"s3cret", secret=True)]))

        handlers = {"Get": grpc.unary_unary_rpc_method_handler(
            get, messages.GetRequest.FromString, messages.GetResponse.SerializeToString)}
        server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("keyturn.v1.Credentials", handlers),))
        server.add_insecure_port(f"unix:{self.socket}")
        server.start()
        self.addCleanup(lambda: server.stop(None).wait(10))

    def test_python_reads_a_value_and_the_reason_of_a_refusal(self):
        with grpc_calls.Client(self.socket) as client:
            self.assertEqual("s3cret", client.value("team/known"))
            with self.assertRaises(grpc.RpcError) as refused:
                client.Get(name="team/other")
        self.assertEqual((grpc.StatusCode.PERMISSION_DENIED, ["ACCESS"]),
                         grpc_calls.error_details(refused.exception))

    def test_node_reads_a_value_and_the_code_of_a_refusal(self):
        credential = node_get(self.socket, "team/known")["credential"]
        self.assertEqual(3, credential["version"])
        self.assertEqual("s3cret", credential["fields"][1]["value"])
        self.assertEqual({"code": 7, "details": "not for you"}, node_get(self.socket, "other"))


class SocketTest(IntegrationTest):
    def test_connects_tells_a_listener_from_a_left_over_socket(self):
        path = self.path("a.sock")
        self.assertFalse(connects(path))
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path)
            server.listen()
            self.assertTrue(connects(path))
        self.assertFalse(connects(path))

    def test_private_directories_are_private_and_short(self):
        self.assertEqual(0o700, os.stat(self.directory).st_mode & 0o777)
        self.assertTrue(re.fullmatch(r"/tmp/kt-\w+", self.directory))


if __name__ == "__main__":
    unittest.main(verbosity=2)
