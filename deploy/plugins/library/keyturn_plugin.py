# SPDX-License-Identifier: Apache-2.0
"""A Keyturn plugin in Python (docs/PLUGINS.md): derive from Plugin, and call serve() with it.

A method that returns has succeeded. One of the exceptions below says how else a call ended; any
other exception is a bug, and counts as "may have had an effect" where that matters. Methods run on
several threads at once. Nothing here writes a secret or a text of the service to the log.
"""

import argparse
import concurrent.futures
import dataclasses
import datetime
import os
import re
import signal
import sys
import threading
import traceback

import grpc
from keyturn.plugin.v1 import provider_pb2 as pb

MESSAGE_BYTES_MAX = 4 << 20
THREADS = 8


class Ended(Exception):
    """How a call ended, with a cause of the plugin's own words: a-z, 0-9 and _."""

    outcome = pb.UNKNOWN

    def __init__(self, cause):
        super().__init__(cause)
        self.cause = cause


class Rejected(Ended):
    """Definitely no effect, and none if it is tried again. Of verify: the key is dead."""
    outcome = pb.REJECTED


class Limited(Ended):
    """Definitely no effect: the service takes no more keys."""
    outcome = pb.LIMITED


class Transient(Ended):
    """Definitely no effect now; worth another try."""
    outcome = pb.TRANSIENT


class Unknown(Ended):
    """May have had an effect."""
    outcome = pb.UNKNOWN


class Problem(Exception):
    """A mistake in the provider resource, in the field `params.role_a` or `endpoint`."""

    def __init__(self, field, message):
        super().__init__(message)
        self.field = field
        self.message = message


@dataclasses.dataclass
class Key:
    id: str
    fields: dict  # name -> text; those of `public` may be shown
    primary: str
    public: tuple = ()
    expires_at: datetime.datetime | None = None


@dataclasses.dataclass
class ListedKey:
    id: str
    dead: bool = False
    tag: str = ""


class Value:
    """A key or a manager credential, as the agent hands it over."""

    def __init__(self, message):
        self._fields = {field.name: field.value for field in message.fields}
        self._primary = message.primary

    def text(self, name, otherwise=None):
        """The field as text; `otherwise` when there is none."""
        found = self._fields.get(name)
        return otherwise if found is None else found.decode("utf-8", "surrogateescape")

    def primary(self):
        return self.text(self._primary, "")


class Params:
    """The parameters of a provider resource; what is wrong with them is a Problem."""

    def __init__(self, config, known):
        self._given = dict(config.params)
        for name in self._given:
            if name not in known:
                raise Problem(f"params.{name}", "is no parameter of this plugin; there are "
                              + ", ".join(sorted(known)))

    def text(self, name, default=None, pattern=r"[^\x00-\x1f\x7f]{1,255}"):
        value = self._given.get(name, "")
        if not value:
            if default is None:
                raise Problem(f"params.{name}", "is missing")
            return default
        if not re.fullmatch(pattern, value):
            raise Problem(f"params.{name}", "has a form that this plugin does not take")
        return value

    def choice(self, name, choices, default):
        value = self.text(name, default)
        if value not in choices:
            raise Problem(f"params.{name}", "must be one of " + ", ".join(choices))
        return value

    def number(self, name, default, highest):
        value = int(self.text(name, str(default), r"[0-9]{1,9}"))
        if not 1 <= value <= highest:
            raise Problem(f"params.{name}", f"must be from 1 to {highest}")
        return value

    def seconds(self, name):
        """A duration such as 90s, 24h or 30d; 0 when it is not given."""
        value = self.text(name, "", r"[1-9][0-9]{0,6}[smhd]")
        unit = {"s": 1, "m": 60, "h": 3600, "d": 86400}
        return int(value[:-1]) * unit[value[-1]] if value else 0


class Plugin:
    """What a plugin is made of. `config` is the message keyturn.plugin.v1.ProviderConfig."""

    def describe(self, config):
        """The pb.Traits; raises Problem. Without asking the service."""
        raise NotImplementedError

    def create(self, config, manager, request):
        """The new Key; `request` is the pb.CreateRequest."""
        raise NotImplementedError

    def list(self, config, manager):
        """All ListedKeys."""
        raise NotImplementedError

    def verify(self, config, key):
        """Returns when the key works, raises Rejected when it does not."""
        raise NotImplementedError

    def revoke(self, config, manager, key_id):
        """Returns when the key is dead, also when it was."""
        raise NotImplementedError


class _Servicer:
    """Between gRPC and a Plugin."""

    def __init__(self, plugin):
        self._plugin = plugin

    def Describe(self, request, _):
        try:
            return pb.DescribeResponse(traits=self._plugin.describe(request.config),
                                       needs_manager=True)
        except Problem as problem:
            return pb.DescribeResponse(
                problems=[{"field": problem.field, "message": problem.message}])

    def Create(self, request, _):
        def run():
            key = self._plugin.create(request.config, Value(request.manager), request)
            message = pb.Key(id=key.id, value=_value(key))
            if key.expires_at is not None:
                message.expires_at.FromDatetime(key.expires_at)
            return {"key": message}
        return _answer(pb.CreateResponse, run, pb.UNKNOWN)

    def List(self, request, _):
        def run():
            keys = self._plugin.list(request.config, Value(request.manager))
            return {"keys": [pb.ListedKey(id=key.id, dead=key.dead, tag=key.tag) for key in keys]}
        return _answer(pb.ListResponse, run, pb.TRANSIENT)

    def Verify(self, request, _):
        def run():
            self._plugin.verify(request.config, Value(request.key))
            return {}
        return _answer(pb.VerifyResponse, run, pb.TRANSIENT)

    def Revoke(self, request, _):
        def run():
            self._plugin.revoke(request.config, Value(request.manager), request.key_id)
            return {}
        return _answer(pb.RevokeResponse, run, pb.UNKNOWN)


def _value(key):
    return pb.Value(primary=key.primary, fields=[
        {"name": name, "value": text.encode(), "public": name in key.public}
        for name, text in key.fields.items()])


def _answer(response, run, when_it_breaks):
    try:
        return response(result=pb.Result(outcome=pb.OK), **run())
    except Ended as ended:
        return response(result=pb.Result(outcome=ended.outcome, cause=ended.cause))
    except Problem as problem:
        log(f"a call with a mistake in {problem.field}")
        return response(result=pb.Result(outcome=pb.REJECTED, cause="bad_params"))
    except Exception as error:  # pylint: disable=broad-except
        # Where and what kind, but not its text, which may quote anything.
        place = traceback.extract_tb(error.__traceback__)[-1]
        log(f"{type(error).__name__} in {place.name}, line {place.lineno}")
        return response(result=pb.Result(outcome=when_it_breaks, cause="internal_error"))


def log(line):
    """One line for the agent's log. Never a secret, never a text of the service."""
    print(line, file=sys.stderr, flush=True)


def serve(plugin):
    """Serves the plugin where the agent said, until the agent ends it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", required=True, help="where to listen; the agent says so")
    arguments = parser.parse_args()
    os.umask(0o077)
    servicer = _Servicer(plugin)
    service = pb.DESCRIPTOR.services_by_name["Provider"]
    handlers = {
        method.name: grpc.unary_unary_rpc_method_handler(
            getattr(servicer, method.name),
            request_deserializer=getattr(pb, method.input_type.name).FromString,
            response_serializer=getattr(pb, method.output_type.name).SerializeToString)
        for method in service.methods}
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(THREADS), options=[
        ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX)])
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service.full_name, handlers),))
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    if server.add_insecure_port(f"unix:{arguments.socket}") == 0:
        sys.exit("cannot listen")
    server.start()
    ended.wait()
    server.stop(grace=1.5).wait()
