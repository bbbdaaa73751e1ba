# SPDX-License-Identifier: Apache-2.0
"""Plain HTTP for the integration tests, over urllib, never through a proxy.

A reply of any status is returned, not raised; only a failed connection raises OSError. Functions
without state, usable from any thread.
"""

import base64
import dataclasses
import json
import urllib.error
import urllib.parse
import urllib.request


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)


@dataclasses.dataclass(frozen=True)
class Reply:
    status: int
    headers: object
    body: bytes

    def json(self):
        return json.loads(self.body)

    def expect(self, *statuses):
        """Itself, when the status is one of these."""
        if self.status not in (statuses or (200,)):
            raise AssertionError(f"HTTP {self.status}: {self.body[:300]!r}")
        return self


def request(method, url, *, json_body=None, form=None, body=None, headers=None, basic=None,
            bearer=None, timeout=15):
    """One call. `basic` is (user, password); give at most one of json_body, form and body."""
    headers = dict(headers or {})
    if json_body is not None:
        body = json.dumps(json_body).encode()
        headers.setdefault("Content-Type", "application/json")
    elif form is not None:
        body = urllib.parse.urlencode(form).encode()
        headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
    if basic is not None:
        headers["Authorization"] = "Basic " + base64.b64encode(":".join(basic).encode()).decode()
    if bearer is not None:
        headers["Authorization"] = f"Bearer {bearer}"
    call = urllib.request.Request(url, data=body, method=method, headers=headers)
    try:
        with _opener.open(call, timeout=timeout) as reply:
            return Reply(reply.status, reply.headers, reply.read())
    except urllib.error.HTTPError as error:
        with error:
            return Reply(error.code, error.headers, error.read())


def get_json(url, **options):
    return request("GET", url, **options).expect(200).json()


def post_json(url, json_body, **options):
    return request("POST", url, json_body=json_body, **options).expect(200, 201).json()
