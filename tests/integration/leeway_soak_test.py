# SPDX-License-Identifier: Apache-2.0
"""A server that takes the previous refresh token for a while longer, and a credential that says so:
however often the agent is killed in the middle of a refresh, no grant burns and no get returns an
expired token. In doubt the agent waits up to 30 s, so that a request that is still on its way
cannot arrive after its repetition; gets may have to wait for that, and the next kill strikes there.
"""

import time

import resources
import soak
from harness import *

_CLIENT = "sandbox-client"
_NAME = "soak/token"
_ROUTE = "POST /oauth/token"
_LEEWAY_S = 45  # the repetition fits in once; not one that counts anew from there
# What the server allows beyond what is declared: a clock read a moment later than ours.
_MORE_S = 5


class _SandboxToken(soak.Token):
    def __init__(self, sandbox):
        super().__init__(_NAME)
        self._sandbox = sandbox
        self.cli = None

    def alive(self, value):
        return self._sandbox.is_alive(value)

    def begun(self):
        return self._sandbox.state()["requests"].get(_ROUTE, 0)

    def consent(self, cli):
        return cli.run("put", _NAME, stdin=self._sandbox.seed_refresh_token(_CLIENT)).code == 0

    def burned(self):
        # The sandbox does not tell when: before the consent that followed.
        burned = self._sandbox.state()["oauth"]["grants"]["burned"]
        known = [at - 0.001 for at in self.consents[1:]] + [time.time()] * burned
        return [{"at": at, "first_use": None} for at in known[:burned]]

    def cut(self):
        # Each refresh that took effect made a version, unless its reply was lost. The agent goes on
        # refreshing: of a request that is under way just now, the next look knows more.
        self._sandbox.clear_faults()
        return 0, min(self._lost() for _ in range(5))

    def _lost(self):
        took_effect = self._sandbox.state()["oauth"]["token_requests"]["refresh_token"]
        return took_effect - int(self.cli.json("show", _NAME)["summary"]["current_version"])


class LeewaySoakTest(IntegrationTest):
    def test_no_grant_burns(self):
        sandbox = self.start(Sandbox(self.directory, config={"oauth": {
            "access_token_ttl": "3s", "reuse_leeway": f"{_LEEWAY_S + _MORE_S}s"}}))
        agent = self.start_agent()
        token = _SandboxToken(sandbox)
        token.cli = agent.cli()
        token.cli.apply({
            "credentials": {
                "soak/secret": resources.STATIC,
                _NAME: resources.refresh_token(
                    f"{sandbox.url}/oauth/token", _CLIENT, "soak/secret", refresh_token="rotates",
                    leeway=f"{_LEEWAY_S}s")},
            "policies": {"services": resources.reader(_NAME)},
        }, self.directory).expect(0)
        token.cli.ok("put", "soak/secret", stdin="sandbox-secret")
        self.assertTrue(token.consent(token.cli))
        token.cli.ok("get", _NAME)
        # Taken at once, but answered slowly: a kill then loses the reply to what has taken effect.
        sandbox.set_faults([{"match": {"path_prefix": "/oauth/token"}, "fault": "slow_loris",
                             "delay_ms": 1, "count": -1}])
        load = soak.Soak(agent, [token], soak.seconds(60))
        load.run()
        load.check(self)
        self.assertEqual([], token.burned())


if __name__ == "__main__":
    unittest.main(verbosity=2)
