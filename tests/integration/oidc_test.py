# SPDX-License-Identifier: Apache-2.0
"""OAuth against npm's oidc-provider: tokens are fresh for every reader at every moment, each is
asked for once, and a grant whose refresh token rotates survives its refreshes."""

import threading
import time

import grpc_calls
import resources
from harness import *

_READERS = 8
_SECONDS = 60
_TTL = 5
_PAUSE = 0.01  # between two gets of one reader
_SAMPLE = 20  # every so many gets, the server is asked about the token


class _Reader(threading.Thread):
    """Gets one credential over its own connection until told to stop; keeps what it saw."""

    def __init__(self, socket, name, provider, stop):
        super().__init__()
        self._socket, self._name, self._provider, self._stop_event = socket, name, provider, stop
        self.problems = []
        self.versions = {}
        self.gets = self.samples = 0

    def run(self):
        try:
            with grpc_calls.Client(self._socket) as client:
                while not self._stop_event.wait(_PAUSE):
                    self._get(client)
        except Exception as error:  # pylint: disable=broad-except
            self.problems.append(repr(error))

    def _get(self, client):
        credential = client.Get(name=self._name).credential
        now = time.time()
        self.gets += 1
        token = grpc_calls.primary_value(credential)
        expires = credential.expires_at.seconds + credential.expires_at.nanos / 1e9
        if not credential.HasField("expires_at") or expires <= now:
            self.problems.append(f"version {credential.version} expired {now - expires:.3f} s ago")
        if self.versions.setdefault(credential.version, token) != token:
            self.problems.append(f"version {credential.version} has two values")
        if self.gets % _SAMPLE == 0:
            alive = self._provider.is_alive(token)
            # The server ends a token up to a second early; an answer that took until then, on a
            # busy machine, says nothing about the moment of the get.
            if alive or time.time() < expires - 1:
                self.samples += 1
                if not alive:
                    self.problems.append(f"the server calls version {credential.version} dead")


class ClientCredentialsTest(IntegrationTest):
    def test_no_reader_ever_gets_an_expired_token_and_each_token_is_asked_for_once(self):
        provider = self.start(OidcProvider(client_credentials_ttl=_TTL))
        agent = self.start_agent()
        cli = agent.cli()
        client_id, secret = provider.BASIC
        cli.apply({
            "credentials": {
                "crm/secret": resources.STATIC,
                "crm/token": resources.client_credentials(
                    provider.token_url, client_id, "crm/secret", scopes=["api:read"])},
            "policies": {"services": resources.reader("crm/token")},
        }, self.directory).expect(0)
        cli.ok("put", "crm/secret", stdin=secret)

        stop = threading.Event()
        readers = [_Reader(agent.services_socket, "crm/token", provider, stop)
                   for _ in range(_READERS)]
        for reader in readers:
            reader.start()
        stop.wait(_SECONDS)
        stop.set()
        for reader in readers:
            reader.join(30)

        self.assertEqual([], [problem for reader in readers for problem in reader.problems][:10])
        for reader in readers:
            self.assertGreater(reader.gets, 20 * _SECONDS)
            self.assertGreater(reader.samples, _SECONDS)
        tokens = {}
        for reader in readers:
            for version, token in reader.versions.items():
                self.assertEqual(tokens.setdefault(version, token), token, "readers disagree")
        # The first one may be over before the readers have begun.
        self.assertLessEqual(min(tokens), 3)
        self.assertEqual(list(range(min(tokens), max(tokens) + 1)), sorted(tokens),
                         "a version was skipped")
        self.assertEqual(len(tokens), len(set(tokens.values())))

        # The agent goes on refreshing: both numbers are read until they are of one moment.
        def settled():
            version = cli.json("show", "crm/token")["summary"]["current_version"]
            counted = provider.token_requests("client_credentials")
            return int(version) == counted["requests"] and counted
        counted = wait_until(settled, _TTL, "one token request for each version")
        self.assertEqual(0, counted["failed"])
        # Lifetimes of 5 s are used for at least half and at most the whole of them.
        self.assertGreaterEqual(len(tokens), _SECONDS // _TTL)
        self.assertLessEqual(len(tokens), 26)


class RefreshTokenTest(IntegrationTest):
    def test_the_grant_survives_ten_refreshes_and_two_restarts(self):
        provider = self.start(OidcProvider(access_token_ttl=300))
        agent = self.start_agent()
        cli = agent.cli()
        client_id, secret = provider.BASIC
        cli.apply({
            "credentials": {
                "crm/secret": resources.STATIC,
                "crm/token": resources.refresh_token(
                    provider.token_url, client_id, "crm/secret", refresh_token="rotates")},
            "policies": {"services": resources.reader("crm/token")},
        }, self.directory).expect(0)
        cli.ok("put", "crm/secret", stdin=secret)
        seeded = provider.seed_refresh_token(client_id=client_id)
        cli.ok("put", "crm/token", stdin=seeded)
        with grpc_calls.Client(agent.services_socket) as client:
            seen = [client.value("crm/token")]
        for number in range(1, 11):
            cli.ok("refresh", "crm/token")
            if number == 4:
                agent.stop()
                agent.start()
            if number == 7:
                agent.kill()
                agent.start()
            with grpc_calls.Client(agent.services_socket) as client:
                seen.append(client.value("crm/token"))
            self.assertTrue(provider.is_alive(seen[-1]), f"after refresh {number}")
        self.assertEqual(11, len(set(seen)))

        cli.ok("refresh", "crm/token")
        with grpc_calls.Client(agent.services_socket) as client:
            self.assertTrue(provider.is_alive(client.value("crm/token")))
        counted = provider.token_requests("refresh_token")
        self.assertEqual((12, 12, 0), (counted["requests"], counted["succeeded"],
                                       counted["failed"]))
        # The test itself would have noticed a burned grant: replaying the first token burns it.
        self.assertEqual("invalid_grant", provider.token_request(
            {"grant_type": "refresh_token", "refresh_token": seeded}).expect(400).json()["error"])
        self.assertFalse(provider.is_alive(seen[-1]))


if __name__ == "__main__":
    unittest.main(verbosity=2)
