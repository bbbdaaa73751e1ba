# SPDX-License-Identifier: Apache-2.0
"""Marked secrets go through the whole life of keys and tokens, with services that fail and services
that echo what they were sent; afterwards they are in no log, no output that did not ask for them, no
process table and no file.
"""

import base64
import http.server
import json
import os
import threading

import grpc

import canaries
import grpc_calls
import resources
from harness import *

_ADMIN_KEY = "canary-admin-key-5f0c"
_CLIENT = "marked-client"
_CLIENT_SECRET = "canary-client-secret-81ab"
_STATIC = "canary \"static\" \\ value / with + & = % \u00e4\u20ac and more"
_WRONG = "canary-wrong-admin-key-77d1"


class _Recorder(Cli):
    """A command line that keeps everything that was printed by commands that did not ask."""

    def __init__(self, socket, printed):
        super().__init__(socket)
        self.printed = printed

    def run(self, *arguments, **options):
        result = super().run(*arguments, **options)
        if arguments[0] != "get" or result.code:
            self.printed.append(f"{arguments}\n{result.stdout}\n{result.stderr}")
        return result


class _Echo(http.server.BaseHTTPRequestHandler):
    """Answers every request with the status in its path and everything it was sent: in the reason,
    in headers and in the body, as JSON or as HTML."""

    protocol_version = "HTTP/1.1"

    def _answer(self):
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        credential = self.headers.get("Authorization", "")
        if credential.startswith("Basic "):
            credential += " " + base64.b64decode(credential[6:]).decode()
        seen = f"{self.path} {credential} {sent}"
        status = next((int(part) for part in self.path.split("/") if part.isdigit()), 400)
        if "html" in self.path:
            kind, body = "text/html", f"<html><body>{seen}</body></html>"
        else:
            kind, body = "application/json", json.dumps(
                {"error": seen, "error_description": seen, "message": seen, "code": seen})
        body = body.encode()
        line = seen.replace("\n", " ").replace("\r", " ")[:500]
        self.send_response(status, line)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Request", line)
        self.send_header("Retry-After", line)
        try:
            self.end_headers()
            self.wfile.write(body)
        except ConnectionError:
            self.close_connection = True  # the agent had read enough

    do_GET = do_POST = do_DELETE = _answer

    def log_message(self, *_):
        self.server.seen.append(str(self.headers.get("Authorization", "")))


class CanaryTest(IntegrationTest):
    def setUp(self):
        super().setUp()
        self.sandbox = self.start(Sandbox(self.directory, config={
            "dify": {"admin_key": _ADMIN_KEY},
            "oauth": {"access_token_ttl": "60s",
                      "clients": [{"id": _CLIENT, "secret": _CLIENT_SECRET, "scopes": []}]}}))
        self.agent = self.start_agent(changes={"egress": {"timeout": "2s"}})
        self.printed = []
        self.cli = _Recorder(self.agent.admin_socket, self.printed)
        self.secrets = {_ADMIN_KEY, _CLIENT_SECRET, _STATIC, _WRONG}
        self.files = []

    def _echo(self):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
        server.seen = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return server, f"http://127.0.0.1:{server.server_port}"

    def _learn(self):
        """The keys and tokens there are now, and the files as they are now."""
        for keys in self.sandbox.state()["apps"].values():
            self.secrets.update(key["token"] for key in keys)
        for credential in self.cli.json("list")["credentials"]:
            result = self.cli.run("get", credential["name"])
            if result.code == 0:
                self.secrets.add(result.stdout)
        self.files.append(self.agent.state_bytes())

    def _assert_clean(self):
        secrets = tuple(self.secrets)
        self.assertEqual([], canaries.find(self.agent.all_output(), secrets), "log")
        for text in self.printed:
            self.assertEqual([], canaries.find(text, secrets), text.split("\n")[0])
        for files in (*self.files, self.agent.state_bytes()):
            self.assertIn(self.agent.store_path, files)
            for path, content in files.items():
                self.assertEqual([], canaries.find(content, secrets), path)

    def _assert_process_clean(self):
        for name in ("cmdline", "environ", "status"):
            try:
                with open(f"/proc/{self.agent.pid}/{name}", "rb") as file:
                    self.assertEqual([], canaries.find(file.read(), tuple(self.secrets)), name)
            except PermissionError:
                self.assertEqual("environ", name)  # closed even to the agent's own user
        with open(f"/proc/{self.agent.pid}/limits", encoding="utf-8") as file:
            self.assertRegex(file.read(), r"Max core file size +0 +0 ")

    def _declare(self):
        self.cli.apply({
            "providers": {"dify": resources.dify(self.sandbox)},
            "credentials": {
                "dify/admin": resources.STATIC, "team/secret": resources.STATIC,
                "team/static": resources.STATIC,
                "team/key": resources.api_key("dify", exclusive=True),
                "team/token": resources.client_credentials(
                    f"{self.sandbox.url}/oauth/token", _CLIENT, "team/secret"),
                "team/grant": resources.refresh_token(
                    f"{self.sandbox.url}/oauth/token", _CLIENT, "team/secret",
                    refresh_token="rotates")},
            "policies": {"services": resources.reader("team/token")},
        }, self.directory).expect(0)

    def _store_values(self):
        self.cli.ok("put", "dify/admin", stdin=_ADMIN_KEY)
        self.cli.ok("put", "team/secret", stdin=_CLIENT_SECRET)
        self.cli.ok("put", "team/static", "--json", stdin=json.dumps(
            {"user": "canary-user-field", "value": _STATIC}))
        self.secrets.add("canary-user-field")
        seeded = self.sandbox.seed_refresh_token(_CLIENT)
        self.secrets.add(seeded)
        self.cli.ok("put", "team/grant", stdin=seeded)

    def _creates(self):
        return self.sandbox.state()["requests"].get(
            "POST /console/api/apps/{app_id}/api-keys", 0)

    def _look_at_everything(self):
        names = ("team/static", "team/key", "team/token", "team/grant", "dify/admin")
        for output in ("table", "json"):
            for command in (("list",), ("status",), ("whoami",), ("version",),
                            *(("show", name) for name in names),
                            *(("history", name) for name in names)):
                self.cli.ok("-o", output, *command)
                self.printed[-1] = f"{command} {self.printed[-1]}"
        self.cli.ok("export")
        self.cli.ok("plan", "-f", self.path("resources.yaml"))

    def test_a_whole_life_leaves_no_trace(self):
        self._declare()
        self._store_values()
        for name in ("team/key", "team/token", "team/grant"):
            wait_until(lambda: self.cli.run("get", name).code == 0, 20, f"a value of {name}")
        watch = self.cli.start("watch", "team/key", "team/token", "team/static")
        self.addCleanup(watch.kill)
        wait_until(lambda: len(watch.stdout.lines()) >= 3, 10, "the watch's first lines")
        self._learn()
        self.cli.ok("rotate", "team/key", "--wait")
        self.cli.ok("refresh", "team/token")
        self.cli.ok("refresh", "team/grant")
        wait_until(lambda: len(watch.stdout.lines()) >= 5, 10, "the watch's next lines")
        self._look_at_everything()
        self._learn()
        self._assert_process_clean()
        # What a crash leaves in the write-ahead log counts too.
        self.agent.kill()
        self.files.append(self.agent.state_bytes())
        self.assertIn(self.agent.store_path + "-wal", self.files[-1])
        self.agent.start()
        self._learn()
        self.agent.stop()
        self.printed.append(f"watch\n{watch.all_output()}")
        self._assert_clean()
        self.assertGreater(len(self.secrets), 10)

    def test_services_that_fail_leave_no_trace(self):
        self._declare()
        self._store_values()
        wait_until(lambda: self.cli.run("get", "team/key").code == 0, 20, "the first key")
        self._learn()
        for fault in ({"fault": "status", "status": 429, "retry_after": 1},
                      {"fault": "html_page", "effect": True}, {"fault": "html_page"},
                      {"fault": "endless_body", "effect": True}, {"fault": "lose_reply"},
                      {"fault": "duplicate"}, {"fault": "status", "status": 500, "effect": True}):
            self.sandbox.set_faults([
                {"match": {"method": "POST", "path_prefix": "/console"}, **fault},
                {"match": {"path_prefix": "/oauth/token"}, **fault}])
            self.cli.run("refresh", "team/token")
            before = self._creates()
            rotations = []
            with grpc_calls.Client(self.agent.admin_socket, "Admin") as admin:
                def effect():
                    # Refused while the retry of the fault before is still being revoked.
                    rotations.append(admin.Rotate(name="team/key", timeout=30))
                    return self._creates() > before
                wait_until(effect, 20, f"the effect of {fault}", interval=0.2)
                for rotation in rotations:
                    rotation.cancel()
            self._learn()
            self.sandbox.clear_faults()
            wait_until(lambda: self.cli.json("show", "team/key")["rotation"] is None, 30,
                       "the end of the rotation")
            self._learn()
        self.cli.ok("put", "dify/admin", stdin=_WRONG)
        self.cli.run("rotate", "team/key")
        self.agent.wait_for_event("ROTATION_FAILED", credential="team/key", http_status=401)
        self._look_at_everything()
        self._learn()
        self._assert_process_clean()
        self._assert_clean()

    def test_services_that_echo_what_they_were_sent_leave_no_trace(self):
        server, url = self._echo()
        statuses = (200, 201, 302, 400, 401, 403, 404, 422, 429, 500, 503)
        apps = [f"{status}/{kind}" for status in statuses for kind in ("json", "html")]
        providers, credentials = {}, {"dify/admin": resources.STATIC,
                                      "team/secret": resources.STATIC}
        for app in apps:
            name = app.replace("/", "-")
            providers[name] = merge(resources.dify(self.sandbox), {"endpoint": f"{url}/{app}"})
            credentials[f"key/{name}"] = resources.api_key(name, exclusive=True)
            credentials[f"token/{name}"] = resources.client_credentials(
                f"{url}/{app}/token", _CLIENT, "team/secret")
            credentials[f"post/{name}"] = resources.client_credentials(
                f"{url}/{app}/token", _CLIENT, "team/secret", client_auth="post")
        self.cli.apply({"providers": providers, "credentials": credentials},
                       self.directory).expect(0)
        self.cli.ok("put", "dify/admin", stdin=_ADMIN_KEY)
        self.cli.ok("put", "team/secret", stdin=_CLIENT_SECRET)

        def all_asked():
            failed = {record["credential"] for record in self.agent.log()
                      if record["event"] == "failure" and record.get("http_status")}
            return len(failed) >= len(apps)
        wait_until(all_asked, 30, "answers to be reported")
        self.assertTrue(any(_ADMIN_KEY in text for text in server.seen))
        for name in (app.replace("/", "-") for app in apps):
            self.cli.ok("show", f"key/{name}")
            self.cli.ok("history", f"token/{name}", "-o", "json")
            self.cli.run("--timeout", "1s", "refresh", f"post/{name}")
        self.cli.ok("status", "-o", "json")
        self.cli.ok("list")
        self.files.append(self.agent.state_bytes())
        self._assert_clean()

    def test_mistakes_of_people_leave_no_trace(self):
        self._declare()
        self._store_values()
        for arguments, stdin in (
                (("put", "no/such"), _STATIC),
                (("put", "team/static", "--json"), '{"value": "canary-broken-json'),
                (("put", "team/static", "--json"), '{"value": {"canary-deep": "canary-deep"}}'),
                (("put", "team/static", "--json"), '["canary-in-a-list"]'),
                (("put", "team/static"), _STATIC * 2000)):
            self.assertNotEqual(0, self.cli.run(*arguments, stdin=stdin).code, arguments)
        with grpc_calls.Client(self.agent.services_socket) as client:
            for call in (lambda: client.Get(name="team/static"),
                         lambda: client.BatchGet(names=[]),
                         lambda: list(client.Watch(names=["team/static"]))):
                with self.assertRaises(grpc.RpcError) as refused:
                    call()
                self.printed.append(f"grpc\n{refused.exception!r}")
        self._learn()
        self._assert_clean()

    def test_secrets_in_resource_files_where_none_belong_are_not_shown_again(self):
        self._declare()
        for yaml in ("credentials: { team/token: { oauth: { client_secret: canary-inline-1 } } }",
                     "credentials: { team/static: { static: canary-inline-2 } }",
                     "credentials: { team/static: { static: { value: canary-inline-3 } } }",
                     "credentials: { team/token: { oauth: { client_secret: [canary-inline-4] } } }",
                     "providers: { x: { recipe: npm-token, endpoint: "
                     "'https://u:canary-inline-5@h.example' } }",
                     "providers: { x: { recipe: npm-token, endpoint: "
                     "'https://h.example', manager: { value: canary-inline-6 } } }"):
            for command in ("plan", "apply"):
                self.assertNotEqual(0, self.cli.run(command, "-f", "-", stdin=yaml).code, yaml)
        self._learn()
        self._assert_clean()

    def test_the_search_finds_what_it_looks_for(self):
        noise = os.urandom(4096)
        self.assertEqual([], canaries.find(noise, (_STATIC,)))
        for secret in (_STATIC, _ADMIN_KEY):
            for form, pattern in canaries.forms(secret).items():
                with self.subTest(secret[:12], form=form):
                    found = canaries.find(noise[:99] + pattern + noise[99:], (secret,))
                    self.assertIn((secret[:24], form), found)
            for before in range(3):
                encoded = base64.b64encode(b"x" * before + secret.encode() + b"yz")
                self.assertTrue(canaries.find(encoded, (secret,)), before)
                self.assertIn(("canary", f"base64+{before}"), canaries.find(encoded))
        # And in the places that the tests above search.
        self.cli.apply({"credentials": {"team/static": resources.STATIC}},
                       self.directory).expect(0)
        self.cli.ok("put", "team/static", stdin=_STATIC)
        self._assert_clean()
        self.assertTrue(canaries.find(self.cli.ok("get", "team/static"), (_STATIC,)))
        for plant in (self.printed.append,
                      lambda text: self.files.append({self.agent.store_path: text.encode()})):
            plant(json.dumps({"cause": _STATIC}))
            with self.assertRaises(AssertionError):
                self._assert_clean()
            self.printed = self.printed[:2]
            self.files.clear()
            self._assert_clean()


if __name__ == "__main__":
    unittest.main(verbosity=2)
