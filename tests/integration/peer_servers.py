# SPDX-License-Identifier: Apache-2.0
"""The real servers of tests/integration/peers as Python objects.

Each runs on a free loopback port, knows its built-in accounts, and asks the server itself (never
its own bookkeeping) whether a credential is alive. peers/README.md states what the servers do.
"""

import glob
import json
import os
import shutil
import subprocess

import http_calls
from processes import HttpServerProcess

_HERE = os.path.dirname(os.path.abspath(__file__))
_SOURCE_DIR = os.environ.get("KEYTURN_SOURCE_DIR", os.path.dirname(os.path.dirname(_HERE)))


def peers_directory():
    """Where node_modules is: KEYTURN_PEERS_DIR, else build/peers of the source tree."""
    directory = os.environ.get("KEYTURN_PEERS_DIR") or os.path.join(_SOURCE_DIR, "build", "peers")
    if not os.path.isdir(os.path.join(directory, "node_modules")):
        raise AssertionError(f"no node_modules in {directory}: run scripts/peers")
    return directory


def node_program():
    """Node 20 or newer: the one that scripts/peers fetched, else the one on the PATH."""
    fetched = glob.glob(os.path.join(peers_directory(), "node", "node_modules", "*", "bin", "node"))
    program = fetched[0] if fetched else shutil.which("node")
    if not program:
        raise AssertionError("no node: run scripts/peers")
    return program


class _Peer(HttpServerProcess):
    # The servers end on SIGTERM with 0; a signal that comes before their handler is theirs too.
    clean_exit_codes = (0, -15)

    def __init__(self, script, arguments, **options):
        environment = {"KEYTURN_PEERS_DIR": peers_directory(), "NO_UPDATE_NOTIFIER": "1"}
        super().__init__([node_program(), os.path.join(_HERE, "peers", script), *arguments],
                         name=script.split("_")[0], env=environment, **options)


class OidcProvider(_Peer):
    """A certified OAuth server. Lifetimes are whole seconds."""

    BASIC = ("keyturn-basic", "keyturn-basic-secret")
    POST = ("keyturn-post", "keyturn-post-secret")
    PUBLIC = "keyturn-public"
    NATIVE = "keyturn-native"
    JWT = "keyturn-jwt"

    def __init__(self, *, access_token_ttl=60, client_credentials_ttl=60, refresh_token_ttl=86400,
                 rotate_refresh_token=True, token_delay_ms=0, jwt_client_key=None, port=0):
        more = ["--jwt-client-key", jwt_client_key] if jwt_client_key else []
        super().__init__("oidc_server.mjs", [
            "--port", port,
            "--access-token-ttl", access_token_ttl,
            "--client-credentials-ttl", client_credentials_ttl,
            "--refresh-token-ttl", refresh_token_ttl,
            "--rotate-refresh-token", "true" if rotate_refresh_token else "false",
            "--token-delay-ms", token_delay_ms, *more])

    @property
    def token_url(self):
        return f"{self.url}/token"

    def stats(self):
        return http_calls.get_json(f"{self.url}/test/stats")

    def token_requests(self, grant_type, client_id=None):
        """{requests, succeeded, failed, errors} of one grant type, zeros when never asked."""
        stats = self.stats()
        counts = stats["by_client"].get(client_id, {}) if client_id else stats["by_grant"]
        return counts.get(grant_type, {"requests": 0, "succeeded": 0, "failed": 0, "errors": {}})

    def seed_refresh_token(self, user="alice", client_id=BASIC[0],
                           scope="openid offline_access api:read"):
        """Logs `user` in, consents for the client, and returns the refresh token."""
        return http_calls.post_json(f"{self.url}/test/grant", {
            "user": user, "client_id": client_id, "scope": scope})["refresh_token"]

    def introspect(self, token, client=BASIC):
        return http_calls.request("POST", f"{self.url}/token/introspection", form={"token": token},
                                  basic=client).expect(200).json()

    def is_alive(self, token):
        """Whether the server honours this access or refresh token now."""
        return self.introspect(token)["active"]

    def revoke(self, token, client=BASIC):
        http_calls.request("POST", f"{self.url}/token/revocation", form={"token": token},
                           basic=client).expect(200)

    def token_request(self, form, client=BASIC):
        """A token request past Keyturn, as another client would make it."""
        return http_calls.request("POST", self.token_url, form=form, basic=client)


class Verdaccio(_Peer):
    """An npm registry whose API tokens can be created, listed and revoked."""

    def __init__(self, directory, *, user="keyturn", password="keyturn-test-password",
                 token_format="legacy", port=0):
        self.user = user
        self.password = password
        self.directory = directory
        super().__init__("verdaccio_server.mjs", [
            "--dir", directory, "--port", port, "--user", user, "--password", password,
            "--token-format", token_format])

    @property
    def basic(self):
        return (self.user, self.password)

    def create_token(self, cidr_whitelist=(), readonly=False):
        """The server's reply: token, user, key, cidr, readonly, created."""
        return http_calls.post_json(f"{self.url}/-/npm/v1/tokens", {
            "password": self.password, "readonly": readonly,
            "cidr_whitelist": list(cidr_whitelist)}, basic=self.basic)

    def list_tokens(self):
        return http_calls.get_json(f"{self.url}/-/npm/v1/tokens", basic=self.basic)["objects"]

    def keys(self):
        return [token["key"] for token in self.list_tokens()]

    def delete_token(self, key):
        http_calls.request("DELETE", f"{self.url}/-/npm/v1/tokens/token/{key}",
                           basic=self.basic).expect(200)

    def user_status(self, token):
        """HTTP status of a route that only a live token may use: 200, 401 or 403."""
        return http_calls.request("GET", f"{self.url}/-/npm/v1/user", bearer=token).status

    def is_alive(self, token):
        status = self.user_status(token)
        if status not in (200, 401, 403):
            raise AssertionError(f"verdaccio answered HTTP {status}")
        return status == 200


def run_node(script, *arguments, timeout=60):
    """Runs a node script with the peers' packages in reach; returns its parsed JSON output."""
    environment = {**os.environ, "KEYTURN_PEERS_DIR": peers_directory()}
    done = subprocess.run([node_program(), script, *map(str, arguments)], env=environment,
                          capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{script} ended with {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def node_get(socket_path, name):
    """Credentials.Get by a Node client: {"credential": ...} or {"code": N, "details": ...}."""
    return run_node(os.path.join(_HERE, "peers", "grpc_get.mjs"), socket_path,
                    os.path.join(_SOURCE_DIR, "proto"), name)
