# SPDX-License-Identifier: Apache-2.0
"""The agent is killed with SIGKILL at every journal step of a rotation and started again: the
rotation ends by itself, the key that is handed out works, and the provider holds exactly the keys
that the agent knows. Class listed runs against the sandbox's Dify, class tagged against npm's
verdaccio; which points there are is read off one undisturbed rotation."""

import json
import unittest

# First: it makes the harness importable.
from crashing import CrashTest, wait_until  # isort: skip

import grpc_calls
import resources
from harness import Sandbox, Verdaccio

# A rotation of an existing key passes at least these, whatever the class.
EXPECTED = [f"rotation:{state}:{where}"
            for state in ("creating", "minted", "verified", "retiring", "revoking", "closed")
            for where in ("before_commit", "after_commit")]
EXPECTED += [f"rotation:{state}:{where}" for state in ("creating", "minted", "revoking")
             for where in ("after_send", "after_reply")]
EXPECTED += ["rotation:retiring:before_push"]


class RotationCrash:
    """The test, for a class of provider; mixed into one TestCase for each."""

    name = "team/key"

    def provider_key_ids(self):
        raise NotImplementedError

    def key_works(self, key):
        raise NotImplementedError

    def resources(self):
        raise NotImplementedError

    def manager_value(self):
        raise NotImplementedError

    def setUp(self):
        super().setUp()
        self.start_provider()
        self.agent = self.make_agent("agent")
        self.agent.run_from()
        cli = self.agent.cli()
        cli.apply(self.resources(), self.directory).expect(0)
        cli.run("put", "team/admin", "--json", stdin=json.dumps(self.manager_value())).expect(0)
        wait_until(self.settled, 20, "the first key")
        self.agent.stop()
        self.forget_points("agent")

    def shown(self):
        return self.agent.cli().json("show", self.name)

    def version(self, state):
        found = [v for v in self.shown().get("versions", []) if v["state"] == state]
        return found[0] if found else None

    def settled(self):
        shown = self.shown()
        states = {v["state"] for v in shown.get("versions", [])}
        return (not shown.get("rotation") and "current" in states
                and not states & {"pending", "retiring"})

    def current_value(self):
        with grpc_calls.Client(self.agent.services_socket) as client:
            return client.value(self.name)

    def check_nothing_lost_and_nothing_left(self, point):
        known = {self.version("current")["provider_key_id"]}
        # A late look at the list may still be due; nothing else is under way.
        wait_until(lambda: set(self.provider_key_ids()) == known, 20,
                   f"{point}: the provider lists {self.provider_key_ids()}, known is {known}")
        self.assertTrue(self.key_works(self.current_value()), point)

    def rotate_undisturbed(self):
        self.agent.run_from()
        before = self.current_value()
        self.agent.cli().ok("rotate", self.name, "--wait")
        self.assertNotEqual(before, self.current_value())
        self.agent.stop()
        return self.points_passed("agent")

    def test_every_step_of_a_rotation(self):
        points = self.rotate_undisturbed()
        self.assertEqual([], [p for p in EXPECTED if p not in points], points)
        for point in points:
            with self.subTest(point=point):
                self.crash_at(point)
        print(f"{type(self).__name__}: killed at {len(points)} points")

    def crash_at(self, point):
        self.agent.run_from(point)
        before = self.current_value()
        rotation = self.agent.cli().start("rotate", self.name)
        self.agent.wait_killed(point)
        rotation.kill()
        self.assertTrue(self.key_works(before) or point.split(":")[1] in ("revoking", "closed"),
                        f"{point}: the key that was handed out died")
        self.agent.run_from()
        try:
            handed_out = self.current_value()
            self.assertTrue(self.key_works(handed_out), f"{point}: a dead key is handed out")
            wait_until(self.settled, 30, f"{point}: the end of the rotation")
            self.check_nothing_lost_and_nothing_left(point)
        finally:
            self.agent.stop()


class ListedCrashTest(RotationCrash, CrashTest):
    def start_provider(self):
        self.sandbox = self.start(Sandbox(self.directory))

    def resources(self):
        return {"providers": {"dify": resources.dify(self.sandbox, manager="team/admin")},
                "credentials": {"team/admin": resources.STATIC,
                                self.name: resources.api_key("dify", exclusive=True)},
                "policies": {"services": resources.reader("team/*")}}

    def manager_value(self):
        return {"value": "sandbox-admin-key"}

    def provider_key_ids(self):
        return [key["id"] for key in self.sandbox.state()["apps"].get(resources.APP_ID, [])]

    def key_works(self, key):
        return self.sandbox.is_alive(key)


class TaggedCrashTest(RotationCrash, CrashTest):
    def start_provider(self):
        self.registry = self.start(Verdaccio(self.path("registry")))

    def resources(self):
        return {"providers": {"npm": {
                    "recipe": "npm-token", "endpoint": self.registry.url, "manager": "team/admin",
                    "timing": {"propagation": "2s", "settle": "1s"}}},
                "credentials": {"team/admin": resources.STATIC,
                                self.name: resources.api_key("npm")},
                "policies": {"services": resources.reader("team/*")}}

    def manager_value(self):
        return {"username": self.registry.user, "password": self.registry.password}

    def provider_key_ids(self):
        return self.registry.keys()

    def key_works(self, key):
        return self.registry.is_alive(key)


if __name__ == "__main__":
    unittest.main()
