# SPDX-License-Identifier: Apache-2.0
"""Tokens of 3 s from oidc-provider under 16 clients while the agent is killed again and again: no
get returns an expired token, and each grant that the server ends because a refresh token was used
twice is one whose reply was lost, reported as in doubt before and as needing consent after.
"""

import re

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

import resources
import soak
from harness import *
from login_pages import Visitor

_TTL = 3
_DELAY_MS = 300
_SCOPES = ["openid", "offline_access", "api:read"]


class _OidcToken(soak.Token):
    """Each has a server of its own: an agent spares a server more than one request a second."""

    uses_refresh_token = False

    def __init__(self, name, provider, **oauth):
        super().__init__(name)
        self.provider = provider
        self.spec = {"oauth": {"token_url": provider.token_url, "scopes": ["api:read"], **oauth}}

    def alive(self, value):
        return self.provider.is_alive(value)

    def begun(self):
        return self.provider.stats()["arrived"]

    def burned(self):
        return self.provider.stats()["burned"]

    def cut(self):
        cut = self.provider.stats()["cut"]
        return cut["before"], cut["after"]


class _RefreshedToken(_OidcToken):
    uses_refresh_token = True

    def __init__(self, name, provider, client_id, **oauth):
        super().__init__(name, provider, grant="refresh_token", client_id=client_id,
                         client_secret={"credential": f"soak/secret-of-{client_id}"},
                         refresh_token="rotates", **{"scopes": _SCOPES, **oauth})
        self._client_id = client_id

    def consent(self, cli):
        seeded = self.provider.seed_refresh_token(client_id=self._client_id)
        return cli.run("put", self.name, stdin=seeded).code == 0


class _BoundToken(_RefreshedToken):
    """Bound to a key of the agent's."""

    def alive(self, value):
        known = self.provider.introspect(value)
        if known["active"] and "jkt" not in known.get("cnf", {}):
            raise AssertionError("the token is not bound to a key")
        return known["active"]


class _DeviceToken(_OidcToken):
    uses_refresh_token = True

    def __init__(self, name, provider):
        super().__init__(name, provider, issuer=provider.url, grant="device_code",
                         client_id=provider.NATIVE, client_auth="none", scopes=_SCOPES,
                         refresh_token="rotates")

    def consent(self, cli):
        login = cli.start("login", self.name, "--no-browser")
        try:
            code = login.stderr.wait_for(re.compile(r"^  ([A-Z0-9-]{8,12})$").match, 20)
            address = login.stderr.wait_for(re.compile(r"^  (http\S+)$").match, 20)
            visitor = Visitor()
            visitor.open(address.group(1))
            visitor.submit(user_code=code.group(1))
            visitor.submit(confirm="yes")
            visitor.log_in_and_consent()
            return login.wait(30) == 0
        except AssertionError:
            return False  # the agent died, and with it the login
        finally:
            login.kill()


class OidcSoakTest(IntegrationTest):
    def provider(self, **options):
        return self.start(OidcProvider(access_token_ttl=_TTL, client_credentials_ttl=_TTL,
                                       token_delay_ms=_DELAY_MS, **options))

    def soak(self, tokens, secrets, length):
        agent = self.start_agent()
        cli = agent.cli()
        cli.apply({
            "credentials": {**{name: resources.STATIC for name in secrets},
                            **{token.name: token.spec for token in tokens}},
            "policies": {"services": resources.reader("soak/token-*")},
        }, self.directory).expect(0)
        for name, secret in secrets.items():
            cli.ok("put", name, stdin=secret)
        for token in tokens:
            if token.uses_refresh_token:
                self.assertTrue(token.consent(cli), token.name)
            cli.ok("get", token.name)
        load = soak.Soak(agent, tokens, length)
        load.run()
        load.check(self)

    def test_a_grant_whose_server_has_no_leeway(self):
        provider = self.provider()
        client_id, secret = provider.BASIC
        self.soak([_RefreshedToken("soak/token-rotates", provider, client_id)],
                  {f"soak/secret-of-{client_id}": secret}, soak.seconds(60))

    def test_every_kind_of_token(self):
        key = ec.generate_private_key(ec.SECP256R1())
        with open(self.path("client.pem"), "wb") as file:
            file.write(key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                serialization.NoEncryption()).decode()
        basic, post = OidcProvider.BASIC, OidcProvider.POST
        tokens = [
            _OidcToken("soak/token-basic", self.provider(), grant="client_credentials",
                       client_id=basic[0],
                       client_secret={"credential": f"soak/secret-of-{basic[0]}"}),
            _OidcToken("soak/token-jwt", self.provider(jwt_client_key=self.path("client.pem")),
                       grant="client_credentials", client_id=OidcProvider.JWT,
                       client_auth="private_key_jwt",
                       signing_key={"key": {"credential": "soak/key"}, "algorithm": "ES256"}),
            _DeviceToken("soak/token-device", self.provider()),
            _BoundToken("soak/token-bound", self.provider(), post[0], client_auth="post",
                        dpop=True),
        ]
        self.soak(tokens, {f"soak/secret-of-{basic[0]}": basic[1],
                           f"soak/secret-of-{post[0]}": post[1], "soak/key": pem},
                  soak.seconds(30))


if __name__ == "__main__":
    unittest.main(verbosity=2)
