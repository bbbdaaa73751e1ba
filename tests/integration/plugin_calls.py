# SPDX-License-Identifier: Apache-2.0
"""A plugin as the agent's host sees it: started, and asked over its socket.

Every reply is a message of keyturn.plugin.v1. This is for what the agent's own tests cannot show:
single calls with chosen arguments against a real service.
"""

import hashlib
import os
import stat

import grpc

import grpc_calls
from processes import Process, wait_until

_PROTO = "keyturn/plugin/v1/provider.proto"


def program(name):
    """The path of a plugin of this build."""
    binaries = os.environ.get("KEYTURN_BIN_DIR")
    if not binaries:
        raise AssertionError("KEYTURN_BIN_DIR is not set: it names the directory of the binaries")
    path = os.path.join(os.path.dirname(binaries), "libexec", "keyturn", "plugins", name)
    if not os.access(path, os.X_OK):
        raise AssertionError(f"no plugin {path}")
    return path


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


class Plugin(Process):
    """A plugin that serves one provider resource with these parameters."""

    clean_exit_codes = (0,)

    def __init__(self, name, directory, *, params, manager):
        self.directory = directory
        self.socket = os.path.join(directory, "provider.sock")
        self.messages = grpc_calls.module(_PROTO)
        self.config = {"name": "test", "params": params}
        self.manager = self.value(manager, "password")
        self._channel = None
        super().__init__([program(name), "--socket", self.socket], name=name, cwd=directory)

    def value(self, fields, primary):
        return self.messages.Value(primary=primary, fields=[
            {"name": name, "value": text.encode()} for name, text in fields.items()])

    def wait_ready(self, deadline):
        def listens():
            if self.exit_code is not None:
                raise AssertionError(f"it ended with exit code {self.exit_code}")
            return os.path.exists(self.socket) and stat.S_ISSOCK(os.stat(self.socket).st_mode)
        wait_until(listens, deadline, f"{self.name} to listen")
        self._channel = grpc.insecure_channel(
            f"unix:{self.socket}", options=[("grpc.use_local_subchannel_pool", 1)])

    def call(self, method, **fields):
        request = getattr(self.messages, f"{method}Request")(config=self.config, **fields)
        reply = getattr(self.messages, f"{method}Response")
        stub = self._channel.unary_unary(
            f"/keyturn.plugin.v1.Provider/{method}", response_deserializer=reply.FromString,
            request_serializer=type(request).SerializeToString)
        return stub(request, timeout=30, wait_for_ready=True)

    def outcome(self, response):
        """(`OK`, cause)"""
        result = response.result
        return self.messages.Outcome.Name(result.outcome), result.cause

    def describe(self, params=None):
        request = self.messages.DescribeRequest(
            config={"name": "test", "params": self.config["params"] if params is None else params})
        stub = self._channel.unary_unary(
            "/keyturn.plugin.v1.Provider/Describe",
            request_serializer=type(request).SerializeToString,
            response_deserializer=self.messages.DescribeResponse.FromString)
        return stub(request, timeout=30, wait_for_ready=True)

    def create(self, secret, target=""):
        return self.call("Create", manager=self.manager, secret=secret.encode(), target=target)

    def list(self):
        """{id: dead}"""
        response = self.call("List", manager=self.manager)
        assert self.outcome(response)[0] == "OK", self.outcome(response)
        return {key.id: key.dead for key in response.keys}

    def verify(self, value):
        return self.outcome(self.call("Verify", key=value))

    def revoke(self, key_id, manager=None):
        return self.outcome(self.call("Revoke", manager=manager or self.manager, key_id=key_id))


def fields_of(value):
    return {field.name: field.value.decode() for field in value.fields}
