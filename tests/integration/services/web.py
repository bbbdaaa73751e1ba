# SPDX-License-Identifier: Apache-2.0
"""What the stand-in services share: routes, strict reading of requests, faults, an address.

A Service runs in threads of the test itself; handlers run under one lock, so a service is as if it
handled one request at a time. Requests that no careful client sends (unknown path, unexpected field,
missing header) are answered as the real service would and noted in `strange`, which tests expect to be
empty. Faults replace a reply after or instead of its effect.
"""

import base64
import contextlib
import dataclasses
import http.server
import json
import re
import secrets
import socket
import string
import sys
import threading
import urllib.parse

_HTML = b"<!doctype html><html><head><title>Sign in</title></head><body>Please sign in</body></html>"


def random_text(length, alphabet=string.ascii_letters + string.digits):
    return "".join(secrets.choice(alphabet) for _ in range(length))


@dataclasses.dataclass
class Answer:
    status: int = 200
    body: object = None  # None: no body; bytes and str as they are; anything else as JSON
    headers: dict = dataclasses.field(default_factory=dict)

    def encoded(self):
        """(content type, bytes)."""
        if self.body is None:
            return None, b""
        if isinstance(self.body, bytes):
            return "text/html; charset=utf-8", self.body
        if isinstance(self.body, str):
            return "text/xml", self.body.encode()
        return "application/json", json.dumps(self.body).encode()


class Refusal(Exception):
    """Raised by a handler to answer at once. `strange` says what a careful client does not send."""

    def __init__(self, answer, strange=None):
        super().__init__(strange)
        self.answer = answer
        self.strange = strange


@dataclasses.dataclass
class Fault:
    """What happens to the next `count` matching requests. kind: `lose_reply` (effect, then the
    connection ends), `status` (no effect, this status), `status_after` (effect, this status),
    `html` (no effect, a page with 200), `html_after` (effect, the page)."""
    kind: str
    method: str
    path: str  # a regular expression for the whole path
    contains: str = ""  # in the body
    count: int = 1
    status: int = 503
    headers: dict = dataclasses.field(default_factory=dict)

    def has_effect(self):
        return self.kind in ("lose_reply", "status_after", "html_after")


class Request:
    def __init__(self, method, target, headers, body):
        self.method = method
        self.target = target
        path, _, query = target.partition("?")
        self.path = path
        self.raw_query = query
        self.query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        self.headers = headers
        self.body = body

    def header(self, name):
        return self.headers.get(name) or ""

    def bearer(self):
        scheme, _, token = self.header("Authorization").partition(" ")
        return token if scheme == "Bearer" else ""

    def basic(self):
        """(user, password), or two empty texts."""
        scheme, _, text = self.header("Authorization").partition(" ")
        if scheme != "Basic":
            return "", ""
        user, _, password = base64.b64decode(text).decode().partition(":")
        return user, password

    def form(self):
        if self.header("Content-Type").split(";")[0] != "application/x-www-form-urlencoded":
            raise Refusal(Answer(415), "a body that is no form")
        return dict(urllib.parse.parse_qsl(self.body.decode(), keep_blank_values=True))

    def fields(self, required, optional=None, refusal=None):
        """The JSON object sent, which must have these members of these types and no others."""
        def refuse(why):
            raise Refusal(refusal or Answer(400, {"error": why}), why)
        if self.header("Content-Type").split(";")[0] != "application/json":
            refuse("a body that is no JSON")
        try:
            found = json.loads(self.body)
        except ValueError:
            refuse("a body that is no JSON")
        if not isinstance(found, dict):
            refuse("no object")
        known = {**required, **(optional or {})}
        for name, value in found.items():
            if name not in known:
                refuse(f"unexpected member {name}")
            wanted = known[name]
            if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
                refuse(f"member {name} is a {type(value).__name__}")
        for name in required:
            if name not in found:
                refuse(f"member {name} is missing")
        return found

    def no_body(self):
        if self.body not in (b"", b"{}"):
            raise Refusal(Answer(400), "a body that nobody expects")

    def only_query(self, *names):
        for name in self.query:
            if name not in names:
                raise Refusal(Answer(400), f"unexpected query parameter {name}")


def route(method, path):
    """Marks a handler: `{name}` in the path takes one segment, handed over percent-decoded."""
    pattern = re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(path)))

    def mark(function):
        function.routes = getattr(function, "routes", []) + [(method, pattern)]
        return function
    return mark


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that was killed says nothing about the service."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Service:
    """Base of every stand-in. Subclasses declare routes and say what is alive."""

    # What the service answers to a path or method it does not know.
    not_found = Answer(404, {"error": "not found"})

    def __init__(self):
        self.lock = threading.RLock()
        self.requests = []  # (method, path) of everything that came
        self.strange = []
        self._faults = []
        self._routes = []
        for name in dir(type(self)):
            for method, pattern in getattr(getattr(type(self), name), "routes", []):
                self._routes.append((method, pattern, getattr(self, name)))
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,),
                                        name=type(self).__name__, daemon=True)
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    # --- what tests ask; subclasses implement these ---

    def live_ids(self):
        """Ids of the keys that the service holds, apart from the manager's own."""
        raise NotImplementedError

    def accepts(self, value):
        """Whether the service lets somebody with this key in."""
        raise NotImplementedError

    # --- faults ---

    def fault(self, kind, method, path, contains="", **more):
        with self.lock:
            self._faults.append(Fault(kind, method, path, contains, **more))

    def faults_left(self):
        with self.lock:
            return [fault for fault in self._faults if fault.count > 0]

    def _take_fault(self, request):
        for fault in self._faults:
            if (fault.count > 0 and fault.method == request.method
                    and re.fullmatch(fault.path, request.path)
                    and fault.contains.encode() in request.body):
                fault.count -= 1
                return fault
        return None

    # --- requests ---

    def handle(self, request):
        """The answer, or None when the connection is to end without one."""
        with self.lock:
            self.requests.append((request.method, request.path))
            fault = self._take_fault(request)
            answer = None
            if fault is None or fault.has_effect():
                answer = self._dispatch(request)
            if fault is None:
                return answer
            if fault.kind == "lose_reply":
                return None
            if fault.kind in ("html", "html_after"):
                return Answer(200, _HTML)
            return Answer(fault.status, {"error": "fault"}, fault.headers)

    def _dispatch(self, request):
        path_known = False
        for method, pattern, handler in self._routes:
            match = pattern.fullmatch(request.path)
            if not match:
                continue
            path_known = True
            if method != request.method:
                continue
            segments = {k: urllib.parse.unquote(v) for k, v in match.groupdict().items()}
            try:
                return handler(request, **segments)
            except Refusal as refusal:
                if refusal.strange:
                    self._note(request, refusal.strange)
                return refusal.answer
            except Exception as error:  # pylint: disable=broad-except
                self._note(request, f"the stand-in itself failed: {error!r}")
                return Answer(500)
        self._note(request, "unknown method" if path_known else "unknown path")
        return self.not_found

    def _note(self, request, why):
        self.strange.append(f"{request.method} {request.path}: {why}")

    def count(self, method, path):
        """How many such requests came."""
        with self.lock:
            return sum(1 for m, p in self.requests if m == method and re.fullmatch(path, p))


def _handler(service):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60

        def _serve(self):
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            request = Request(self.command, self.path, self.headers, body)
            answer = service.handle(request)
            if answer is None:
                self.close_connection = True
                with contextlib.suppress(OSError):
                    self.connection.shutdown(socket.SHUT_RDWR)
                return
            content_type, encoded = answer.encoded()
            self.send_response(answer.status)
            if content_type:
                self.send_header("Content-Type", content_type)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.status != 204:
                self.send_header("Content-Length", str(len(encoded)))
            self.end_headers()
            if answer.status != 204:
                self.wfile.write(encoded)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

        def log_message(self, *_):
            pass

    return Handler
