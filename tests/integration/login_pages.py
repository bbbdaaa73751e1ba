# SPDX-License-Identifier: Apache-2.0
"""Plays a person in a browser without one: follows redirects, keeps cookies, fills in forms.

A Visitor belongs to one thread. It stops at addresses that begin with `stop_at`. A ManualLogin is
that person at a prompt of `keyturn login --manual`.
"""

import html.parser
import re
import subprocess
import urllib.parse

import http_calls
from processes import spawn

_MAX_REDIRECTS = 15


class _Forms(html.parser.HTMLParser):
    """The forms and links of a page."""

    def __init__(self, text):
        super().__init__()
        self.forms = []  # (action, {name: value})
        self.links = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "form":
            self.forms.append((attrs.get("action") or "", {}))
        elif tag == "input" and self.forms and attrs.get("name"):
            self.forms[-1][1][attrs["name"]] = attrs.get("value") or ""
        elif tag == "a" and attrs.get("href"):
            self.links.append(attrs["href"])


class Visitor:
    def __init__(self, stop_at="\0"):
        self._stop_at = stop_at
        self._cookies = {}
        self.url = None
        self.text = ""

    def open(self, url):
        return self._go("GET", url)

    def submit(self, **fields):
        """The first form of the page, with its own values where none is given."""
        action, values = _Forms(self.text).forms[0]
        return self._go("POST", urllib.parse.urljoin(self.url, action), {**values, **fields})

    def follow_link(self, ending):
        """The first link whose address ends so."""
        link = next(link for link in _Forms(self.text).links if link.endswith(ending))
        return self.open(urllib.parse.urljoin(self.url, link))

    def log_in_and_consent(self, user="alice"):
        """oidc-provider's development pages; ends where they end. Returns that address."""
        self.submit(login=user, password="any")
        return self.submit()

    def _go(self, method, url, form=None):
        for _ in range(_MAX_REDIRECTS):
            self.url = url
            if url.startswith(self._stop_at):
                return url
            cookies = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
            reply = http_calls.request(method, url, form=form,
                                       headers={"Cookie": cookies} if cookies else {})
            for line in reply.headers.get_all("Set-Cookie") or []:
                name, _, value = line.split(";")[0].partition("=")
                self._cookies[name.strip()] = value.strip()
            if not 300 <= reply.status <= 399:
                self.text = reply.expect(200).body.decode()
                return url
            method, form = "GET", None
            url = urllib.parse.urljoin(url, reply.headers["Location"])
        raise AssertionError("the pages redirect without end")


class ManualLogin:
    """`keyturn login NAME --manual`, as far as the address that it prints; oidc-provider's pages."""

    def __init__(self, cli, name, *arguments):
        self._process = spawn(cli.argv("login", name, "--manual", *arguments), env=cli.env,
                              stdin=subprocess.PIPE)
        found = None
        while not found:
            line = self._process.stderr.readline().decode()
            if not line:
                raise AssertionError("it ended without an address")
            found = re.match(r"^  (http\S+)$", line.rstrip("\n"))
        self.address = found.group(1)

    def consent(self):
        """The person consents; the address that the browser is sent back to."""
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.address).query)
        visitor = Visitor(stop_at=query["redirect_uri"][0])
        visitor.open(self.address)
        return visitor.log_in_and_consent()

    def finish(self, redirected):
        """Pastes the address; (exit code, output, errors) of the command."""
        out, err = self._process.communicate(redirected.encode() + b"\n", timeout=30)
        return self._process.returncode, out.decode(), err.decode()

    def end(self):
        self._process.kill()
        self._process.communicate()
