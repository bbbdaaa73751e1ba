# SPDX-License-Identifier: Apache-2.0
"""Who may read what: identity comes from the kernel, policy decides, and denials are told to the
caller and to the log. As root the callers are processes of another user; otherwise they are our
own, which the services socket trusts no more than anybody else.
"""

import json
import os
import shutil
import stat
import subprocess
import sys

import grpc

import grpc_calls
import resources
from harness import *

_ROOT = os.geteuid() == 0
_READER = 1234 if _ROOT else os.getuid()
_OVERFLOW = 65534
_VALUE = "the-value-of-one"

# Runs as a user who may not be able to read this source tree, so it is self-contained: raw requests
# in hex go in, JSON with the raw replies in hex comes out. All calls use one connection.
_CALLER = r"""
import grpc, json, sys
channel = grpc.insecure_channel("unix:" + sys.argv[1], [("grpc.enable_http_proxy", 0)])
answers = []
for method, request in json.loads(sys.argv[2]):
    call = channel.unary_unary(method, request_serializer=bytes.fromhex,
                               response_deserializer=bytes.hex)
    try:
        answers.append({"code": "OK", "reply": call(request, timeout=10)})
    except grpc.RpcError as error:
        details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
        answers.append({"code": error.code().name, "message": error.details(),
                        "details": details.hex()})
print(json.dumps(answers))
"""


class IdentityTest(IntegrationTest):
    def setUp(self):
        super().setUp()
        self.agent = self.start_agent()
        self.cli = self.agent.cli()
        self.messages = grpc_calls.module("keyturn/v1/credentials.proto")
        self.admin_messages = grpc_calls.module("keyturn/v1/admin.proto")
        names = ("team/one", "team/two", "other/one")
        self._apply({"credentials": {name: resources.STATIC for name in names}})
        for name in names:
            self.cli.ok("put", name, stdin=_VALUE if name == "team/one" else f"value of {name}")

    def _apply(self, document):
        self.cli.apply(document, self.directory).expect(0)

    def _call_as(self, uid, calls, socket=None):
        """calls: [(method, message)] -> [{code, reply|message, details}]"""
        wanted = [(method, message.SerializeToString().hex()) for method, message in calls]
        process = spawn([sys.executable, "-c", _CALLER, socket or self.agent.services_socket,
                         json.dumps(wanted)],
                        env={"PATH": os.environ["PATH"], "HOME": "/"}, cwd="/",
                        uid=uid if _ROOT else None)
        out, err = process.communicate(timeout=30)
        self.assertEqual(0, process.returncode, err.decode())
        return json.loads(out)

    def _get_as(self, uid, *names, socket=None):
        return self._call_as(uid, [("/keyturn.v1.Credentials/Get",
                                    self.messages.GetRequest(name=name)) for name in names],
                             socket)

    @staticmethod
    def _error_info(answer):
        status_module = grpc_calls.module("google/rpc/status.proto")
        details_module = grpc_calls.module("google/rpc/error_details.proto")
        for detail in status_module.Status.FromString(bytes.fromhex(answer["details"])).details:
            if detail.Is(details_module.ErrorInfo.DESCRIPTOR):
                info = details_module.ErrorInfo()
                detail.Unpack(info)
                return info
        raise AssertionError(f"no ErrorInfo in {answer}")

    def test_without_policy_a_user_is_denied_told_what_is_missing_and_logged(self):
        denied, missing = self._get_as(_READER, "team/one", "no/such")
        self.assertEqual("PERMISSION_DENIED", denied["code"])
        for part in (f"uid={_READER}", "read", "team/one", "policy"):
            self.assertIn(part, denied["message"])
        info = self._error_info(denied)
        self.assertEqual(("POLICY_DENIED", "keyturn"), (info.reason, info.domain))
        self.assertEqual(("read", "team/one"),
                         (info.metadata["action"], info.metadata["credential"]))
        self.assertTrue(info.metadata["principal"].startswith(f"unix:uid={_READER},"))
        # Whoever may not read a name does not learn whether it exists.
        self.assertEqual("PERMISSION_DENIED", missing["code"])
        self.assertEqual(denied["message"].replace("team/one", "no/such"), missing["message"])

        line = self.agent.wait_for_log(event="audit", method="Get", name="team/one",
                                       allowed=False)
        self.assertTrue(line["principal"].startswith(f"unix:uid={_READER},"), line)
        self.assertEqual("PERMISSION_DENIED", line["result"])
        self.assertIn("no policy allows read on team/one", line["rule"])
        self.assertEqual("warning", line["level"])

    def test_with_a_policy_a_user_reads_that_name_and_nothing_else(self):
        self._apply({"policies": {"one": resources.reader("team/one", uid=_READER)}})
        one, two, other, up = self._get_as(_READER, "team/one", "team/two", "other/one", "team")
        self.assertEqual("OK", one["code"])
        reply = self.messages.GetResponse.FromString(bytes.fromhex(one["reply"]))
        self.assertEqual(_VALUE, grpc_calls.primary_value(reply.credential))
        for answer in (two, other, up):
            self.assertEqual("PERMISSION_DENIED", answer["code"])
        self.agent.wait_for_log(event="audit", method="Get", name="team/one", allowed=True,
                                rule="one")
        who, = self._call_as(_READER, [("/keyturn.v1.Credentials/WhoAmI",
                                        self.messages.WhoAmIRequest())])
        who = self.messages.WhoAmIResponse.FromString(bytes.fromhex(who["reply"]))
        self.assertEqual((_READER, False), (who.uid, who.admin))
        self.assertEqual([("one", ["read"], ["team/one"])],
                         [(g.policy, list(g.actions), list(g.names)) for g in who.grants])

    def test_a_batch_and_a_watch_give_no_more_than_a_get(self):
        self._apply({"policies": {"one": resources.reader("team/one", uid=_READER)}})
        batch, = self._call_as(_READER, [("/keyturn.v1.Credentials/BatchGet",
                                          self.messages.BatchGetRequest(
                                              names=["team/two", "team/one"]))])
        reply = self.messages.BatchGetResponse.FromString(bytes.fromhex(batch["reply"]))
        self.assertEqual([("team/two", "failure"), ("team/one", "credential")],
                         [(r.name, r.WhichOneof("result")) for r in reply.results])
        self.assertEqual((7, "POLICY_DENIED"), (reply.results[0].failure.code,
                                                reply.results[0].failure.reason))
        watch, = self._call_as(_READER, [("/keyturn.v1.Credentials/Watch",
                                          self.messages.WatchRequest(
                                              names=["team/one", "team/two"]))])
        self.assertEqual("PERMISSION_DENIED", watch["code"])
        self.assertNotIn(_VALUE.encode().hex(), json.dumps(watch))

    def test_a_policy_ends_for_connections_that_are_open(self):
        with grpc_calls.Client(self.agent.services_socket) as client:
            self._apply({"policies": {"own": resources.reader("team/*")}})
            self.assertEqual(_VALUE, client.value("team/one"))
            self.cli.ok("delete", "policy", "own")
            with self.assertRaises(grpc.RpcError) as refused:
                client.Get(name="team/one")
        self.assertEqual((grpc.StatusCode.PERMISSION_DENIED, ["POLICY_DENIED"]),
                         grpc_calls.error_details(refused.exception))

    def test_admin_calls_are_not_there_on_the_services_socket(self):
        self._apply({"policies": {"all": {**resources.reader("**", uid=_READER),
                                          "allow": ["read", "admin"]}}})
        for method, message in (
                ("List", self.admin_messages.ListRequest()),
                ("Export", self.admin_messages.ExportRequest()),
                ("Put", self.admin_messages.PutRequest(name="team/one"))):
            answer, = self._call_as(_READER, [(f"/keyturn.v1.Admin/{method}", message)])
            self.assertEqual("UNIMPLEMENTED", answer["code"], method)

    def test_the_admin_socket_is_closed_to_others(self):
        status = os.stat(self.agent.admin_socket)
        self.assertEqual((0o600, os.geteuid()), (stat.S_IMODE(status.st_mode), status.st_uid))
        self.assertEqual(0o700, stat.S_IMODE(os.stat(self.agent.state_directory).st_mode))
        if not _ROOT:
            self.assertEqual("OK", self._get_as(_READER, "team/one",
                                                socket=self.agent.admin_socket)[0]["code"])
            return
        # Its directory opened, the socket's own mode still refuses.
        os.chmod(self.agent.state_directory, 0o711)
        answer, = self._get_as(_READER, "team/one", socket=self.agent.admin_socket)
        self.assertEqual("UNAVAILABLE", answer["code"])
        self.assertIn("Permission denied", answer["message"])
        # And without that mode, policy does.
        os.chmod(self.agent.admin_socket, 0o666)
        get, listing, put = self._call_as(_READER, [
            ("/keyturn.v1.Credentials/Get", self.messages.GetRequest(name="team/one")),
            ("/keyturn.v1.Admin/Status", self.admin_messages.StatusRequest()),
            ("/keyturn.v1.Admin/Put", self.admin_messages.PutRequest(
                name="team/one", fields=[self.messages.Field(value=b"mine")]))],
            socket=self.agent.admin_socket)
        self.assertEqual(["PERMISSION_DENIED"] * 3, [get["code"], listing["code"], put["code"]])
        self.assertEqual("POLICY_DENIED", self._error_info(put).reason)
        self.agent.wait_for_log(event="audit", method="Put", name="team/one", allowed=False)
        self.assertEqual(_VALUE, self.cli.ok("get", "team/one"))

    def test_the_overflow_user_is_nobody_whatever_policy_says(self):
        if not _ROOT:
            who, = self._call_as(_READER, [("/keyturn.v1.Credentials/WhoAmI",
                                            self.messages.WhoAmIRequest())])
            who = self.messages.WhoAmIResponse.FromString(bytes.fromhex(who["reply"]))
            self.assertEqual(os.getuid(), who.uid)
            return
        self._apply({"policies": {"nobody": resources.reader("**", uid=_OVERFLOW)}})
        answer, = self._get_as(_OVERFLOW, "team/one")
        self.assertIn(answer["code"], ("UNAVAILABLE", "UNAUTHENTICATED", "PERMISSION_DENIED"))
        self.assertFalse(any(record.get("event") == "audit" and record["allowed"]
                             and record["method"] == "Get" for record in self.agent.log()))

    def test_the_command_line_says_who_was_denied_and_exits_with_4(self):
        program = self.path("keyturn")
        shutil.copy(binary("keyturn"), program)
        os.chmod(program, 0o755)
        process = spawn([program, "--services-socket", self.agent.services_socket,
                         "get", "team/one"], uid=_READER if _ROOT else None,
                        stdin=subprocess.DEVNULL, cwd="/")
        out, err = process.communicate(timeout=30)
        self.assertEqual((4, b""), (process.returncode, out))
        self.assertIn(f"uid={_READER}", err.decode())
        self.assertIn("team/one", err.decode())


if __name__ == "__main__":
    unittest.main(verbosity=2)
