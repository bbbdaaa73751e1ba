# SPDX-License-Identifier: Apache-2.0
"""Every shipped recipe against a local service that speaks its API: the first key, a rotation, the old
key dead after its grace, and afterwards the service holds exactly the keys that Keyturn accounts for;
the same when replies are lost, delayed or replaced by a login page.

All recipes run at the same time in one agent. A service also notes every request that a careful client
would not send; there must be none. KEYTURN_RECIPES=NAME,... runs these alone.
"""

import concurrent.futures
import json
import os

import grpc_calls
import resources
from harness import *
from keyturn_programs import SOURCE_DIR
from services import cases

_TIMING = {"propagation": "10s", "settle": "1s", "cached_for": "0s"}


class _RecipesTest(IntegrationTest):
    """Starts one service per case and one agent for all."""

    def setUp(self):
        super().setUp()
        self.cases = []
        self.services = {}
        self.stored = {}

    def _start(self, chosen):
        if os.environ.get("KEYTURN_RECIPES"):
            wanted = os.environ["KEYTURN_RECIPES"].split(",")
            self.assertEqual(set(), set(wanted) - {case.recipe for case in cases.ALL},
                             "KEYTURN_RECIPES names what is no recipe")
            chosen = [case for case in chosen if case.recipe in wanted]
        if not chosen:
            self.skipTest("KEYTURN_RECIPES names none of the recipes of this test")
        self.cases = chosen
        for case in chosen:
            service = case.service_class()
            self.addCleanup(service.close)
            self.services[case.recipe] = service
        self.agent = self.start_agent(changes={"egress": {"timeout": "10s"}})
        self.cli = self.agent.cli()
        self.admin = grpc_calls.Client(self.agent.admin_socket, "Admin", timeout=30)
        self.addCleanup(self.admin.close)

    def _declare(self, rotate=None, more=None):
        """Applies a provider and a credential `key/RECIPE` for each case and stores the managers."""
        document = {"providers": {}, "credentials": {},
                    "policies": {"services": resources.reader("key/*")}}
        values = {}
        for case in self.cases:
            service = self.services[case.recipe]
            provider = {"recipe": case.recipe, "endpoint": service.url, "timing": _TIMING,
                        "params": case.params(service)}
            if case.oauth:
                secret = f"secret/{case.recipe}"
                provider["manager"] = f"manager/{case.recipe}"
                document["credentials"][secret] = resources.STATIC
                document["credentials"][provider["manager"]] = resources.client_credentials(
                    f"{service.url}/{service.TENANT}/oauth2/v2.0/token", service.manager_id, secret,
                    scopes=[service.scope])
                values[secret] = service.manager_secret
                self.stored[case.recipe] = {service.manager_secret}
            elif case.manager(service) is not None:
                provider["manager"] = f"manager/{case.recipe}"
                document["credentials"][provider["manager"]] = resources.STATIC
                value = case.manager(service)
                values[provider["manager"]] = value
                self.stored[case.recipe] = (
                    {text for field, text in value.items() if field != "access_key_id"}
                    if isinstance(value, dict) else {value})
            document["providers"][case.recipe] = provider
            document["credentials"][f"key/{case.recipe}"] = {
                "provider": case.recipe, "exclusive": case.exclusive,
                "rotate": {"every": "1h", "grace": "1s", "jitter": "0%", **(rotate or {})},
                **{name: value for name, value in (more or {}).get(case.recipe, {}).items()
                   if value is not None}}
        self.cli.apply(document, self.directory).expect(0)
        for name, value in values.items():
            if isinstance(value, dict):
                self.cli.ok("put", name, "--json", stdin=json.dumps(value))
            else:
                self.cli.ok("put", name, stdin=value)

    def _each(self, act):
        """act(case, service) for all cases at once; every failure is its own."""
        with concurrent.futures.ThreadPoolExecutor(max_workers=len(self.cases)) as pool:
            running = [(case, pool.submit(act, case, self.services[case.recipe]))
                       for case in self.cases]
        for case, future in running:
            with self.subTest(case.recipe):
                future.result()

    def tearDown(self):
        """Whatever happened: nothing that a service gave out or takes stands in the log."""
        written = self.agent.all_output() if self.cases else ""
        for case in self.cases:
            service = self.services[case.recipe]
            given = service.secrets() | self.stored.get(case.recipe, set())
            for secret in given:
                # Of a document, the line that is the key itself.
                text = max(secret.splitlines(), key=len)
                self.assertNotIn(text, written, f"{case.recipe}: a secret in the log")
        super().tearDown()

    # --- what Keyturn says ---

    def _shown(self, case):
        return self.admin.Describe(name=f"key/{case.recipe}")

    def _value(self, case):
        return self.cli.ok("get", f"key/{case.recipe}")

    def _wait_idle(self, case, version, deadline=60):
        """Waits until this version or a later one is current and no rotation is open."""
        def idle():
            shown = self._shown(case)
            return (shown.summary.current_version >= version
                    and not shown.HasField("rotation") and shown)
        try:
            return wait_until(idle, deadline, f"version {version} of {case.recipe}", interval=0.2)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._story(case)}") from None

    def _story(self, case):
        """What the log and the service say of this recipe, for a test that failed."""
        service = self.services[case.recipe]
        told = [json.dumps(record) for record in self.agent.log()
                if f"key/{case.recipe}" in (record.get("credential"), record.get("name"))
                or f"manager/{case.recipe}" == record.get("credential")][-12:]
        asked = [" ".join(request) for request in service.requests[-12:]]
        return "\n".join(["log:", *told, "requests:", *asked, "strange:", *service.strange[-5:]])

    def _rotate(self, case):
        """Begins a rotation; who looks on need not wait for it."""
        for _ in self.admin.Rotate(name=f"key/{case.recipe}"):
            return

    # --- what must hold ---

    def _assert_in_order(self, case, service):
        """The current key works, and the service holds no key that Keyturn does not know."""
        story = self._story(case)
        shown = self._shown(case)
        known = {version.provider_key_id for version in shown.versions
                 if version.state in ("current", "retiring")}
        self.assertTrue(service.accepts(self._value(case)), story)
        if case.ids:
            self.assertEqual(known, service.live_ids(), story)
        elif case.recovers:
            self.assertEqual(1, len(service.live_ids()), story)
        self.assertEqual([], service.strange, story)


class OverlappingTest(_RecipesTest):
    """Classes tagged, untagged and listed."""

    def test_a_first_key_and_a_rotation(self):
        self._start(cases.OVERLAPPING)
        self._declare()

        def live(case, service):
            self._wait_idle(case, 1)
            self._assert_in_order(case, service)
            old = self._value(case)
            self._rotate(case)
            self._wait_idle(case, 2)
            self._assert_in_order(case, service)
            self.assertNotEqual(old, self._value(case))
            self.assertFalse(service.accepts(old), "the old key lives")
            self.assertEqual(1, len(service.live_ids()))
        self._each(live)

    def test_lost_replies_and_pages_instead_of_replies_leave_nothing_behind(self):
        self._start([case for case in cases.OVERLAPPING if case.create and case.recovers])
        self._declare()

        def live(case, service):
            self._wait_idle(case, 1)
            old = self._value(case)
            service.fault("lose_reply", *case.create)
            service.fault("status", *case.list, status=429, headers={"Retry-After": "1"})
            service.fault("status", *case.revoke, status=503)
            if case.verify:
                service.fault("html", *case.verify)
            self._rotate(case)
            self._wait_idle(case, 2, deadline=120)
            self.assertEqual([], service.faults_left(), self._story(case))
            self._assert_in_order(case, service)
            self.assertFalse(service.accepts(old), "the old key lives")
        self._each(live)

    def test_a_page_after_the_effect_and_an_error_after_the_effect(self):
        self._start([case for case in cases.OVERLAPPING if case.create and case.recovers])
        self._declare()

        def live(case, service):
            self._wait_idle(case, 1)
            service.fault("html_after", *case.create)
            service.fault("status_after", *case.revoke, status=502)
            self._rotate(case)
            self._wait_idle(case, 2, deadline=120)
            self.assertEqual([], service.faults_left(), self._story(case))
            self._assert_in_order(case, service)
        self._each(live)

    def test_keys_of_others_are_left_alone_over_all_pages(self):
        """Five keys of other people, more than a page of any of these services holds."""
        self._start([case for case in cases.OVERLAPPING
                     if case.create and case.recovers and not case.exclusive])
        foreign = {}
        for case in self.cases:
            service = self.services[case.recipe]
            for number in range(5):
                service.add_foreign(f"foreign-{number}")
            foreign[case.recipe] = service.live_ids()
        self._declare()

        def live(case, service):
            self._wait_idle(case, 1)
            service.fault("lose_reply", *case.create)
            self._rotate(case)
            shown = self._wait_idle(case, 2, deadline=120)
            known = {version.provider_key_id for version in shown.versions
                     if version.state == "current"}
            self.assertEqual(foreign[case.recipe] | known, service.live_ids(), self._story(case))
            self.assertEqual([], service.strange)
        self._each(live)


class DualSlotTest(_RecipesTest):
    def test_slots_take_turns(self):
        self._start(cases.DUAL_SLOT)
        self._declare()

        def live(case, service):
            given = set(service.slots.values())
            self._wait_idle(case, 1)
            for turn in (2, 3, 4):
                old = self._value(case)
                self.assertNotIn(old, given, "Keyturn hands out what it did not make")
                if turn == 4:
                    service.fault("lose_reply", *case.create)
                self._rotate(case)
                self._wait_idle(case, turn)
                self.assertTrue(service.accepts(self._value(case)), self._story(case))
                self.assertFalse(service.accepts(old), "the old key lives")
                current = next(v for v in self._shown(case).versions if v.state == "current")
                self.assertEqual(self._value(case), service.slots[current.provider_key_id])
            self.assertEqual([], service.strange)
            self.assertEqual([], service.faults_left())
        self._each(live)


class RolledTest(_RecipesTest):
    """Classes roll and self_roll: one place, whose old value dies with the new one."""

    def test_the_new_value_works_and_the_old_one_is_dead(self):
        self._start(cases.ROLLED)
        issued = {}
        for case in self.cases:
            service = self.services[case.recipe]
            service.issue("another")
            issued[case.recipe] = service.issue("deploy")
        self.cases = [case if case.recipe != "cloudflare-token-roll" else _with_params(
            case, {"token_id": issued[case.recipe][0]}) for case in self.cases]
        self._declare(more={case.recipe: {
            "allow_gap": True, "accept_loss": True if case.recipe == "gitlab-token-self" else None}
            for case in self.cases})

        def live(case, service):
            key_id, old = issued[case.recipe]
            if case.recipe == "gitlab-token-self":
                self.cli.ok("put", f"key/{case.recipe}", "--key-id", key_id, stdin=old)
            else:
                # What a person has made is not rolled before somebody asks for it.
                self.assertEqual(0, self._shown(case).summary.current_version)
                self.assertTrue(service.accepts(old), self._story(case))
                self._rotate(case)
                self._wait_idle(case, 1)
                self.assertFalse(service.accepts(old), self._story(case))
            for _ in range(3):
                shown = self._wait_idle(case, 1)
                old = self._value(case)
                self.assertTrue(service.accepts(old), self._story(case))
                self._rotate(case)
                self._wait_idle(case, shown.summary.current_version + 1)
                self.assertFalse(service.accepts(old), "the old key lives")
            if case.recovers:
                shown = self._wait_idle(case, 1)
                service.fault("lose_reply", *case.create)
                self._rotate(case)
                self._wait_idle(case, shown.summary.current_version + 1)
            self.assertTrue(service.accepts(self._value(case)), self._story(case))
            # The other token of the same account is untouched.
            self.assertEqual(2, len(service.live_ids()))
            self.assertEqual([], service.faults_left())
            self.assertEqual([], service.strange)
        self._each(live)

    def test_a_token_that_is_lost_is_not_asked_again_and_a_person_brings_another(self):
        """GitLab ends the whole family when a used-up token asks once more."""
        self._start([case for case in cases.ROLLED if case.recipe == "gitlab-token-self"])
        case, service = self.cases[0], self.services["gitlab-token-self"]
        name = f"key/{case.recipe}"
        self._declare(more={case.recipe: {"allow_gap": True, "accept_loss": True}})
        key_id, first = service.issue()
        self.cli.ok("put", name, "--key-id", key_id, stdin=first)
        self._wait_idle(case, 1)
        service.fault("lose_reply", *case.create)
        self._rotate(case)
        wait_until(lambda: self._shown(case).summary.current_version == 0, 30, "the loss")
        self.assertEqual(1, service.count(*case.create), self._story(case))
        self.assertEqual(1, len(service.live_ids()), "the family has been ended")
        key_id, another = service.issue()
        self.cli.ok("put", name, "--key-id", key_id, stdin=another)
        wait_until(lambda: self._shown(case).summary.current_version > 1, 30, "the new token")
        self.assertEqual(another, self._value(case))
        self.assertEqual([], service.strange)


def _with_params(case, params):
    return cases.dataclasses.replace(case, params=lambda service: params)


class ManualTest(_RecipesTest):
    """Class manual: a person brings values; Keyturn tries them and ends the old one where it can."""

    def test_a_person_brings_the_next_key(self):
        self._start(cases.MANUAL)
        self._declare()

        def live(case, service):
            name = f"key/{case.recipe}"
            first, second = service.issue(), service.issue()
            bystander = service.issue()
            self.cli.ok("put", name, stdin=first)
            self._wait_idle(case, 1)
            self.assertEqual(first, self._value(case))
            if case.recipe == "deepseek":
                service.broke = True
            dead = first[:-6] + "dead00"
            self.assertNotEqual(0, self.cli.run("put", name, stdin=dead).code, "a dead key is taken")
            self.assertNotEqual(0, self.cli.run("put", name, stdin="Bearer " + second).code)
            self.assertEqual(first, self._value(case))
            self.cli.ok("put", name, stdin=second)
            wait_until(lambda: self._value(case) == second, 20, f"the second key of {case.recipe}")
            self._wait_idle(case, 2)
            if case.recipe == "anthropic":
                self.assertEqual(["archived", "active", "active"],
                                 [service.status_of(key) for key in (first, second, bystander)])
            self.assertTrue(service.accepts(bystander))
            self.assertEqual([], service.strange, self._story(case))
        self._each(live)


class TryingTest(_RecipesTest):
    """`keyturn recipes test`: what a recipe makes of a service, before anything depends on it."""

    def _try(self, case, *more):
        service = self.services[case.recipe]
        params = [f"--param={name}={value}" for name, value in case.params(service).items()]
        shown = self.cli.json("recipes", "test", case.recipe, "--endpoint", service.url, *params,
                              *more)
        outcomes = {check["call"]: check["outcome"] for check in shown["checks"]}
        self.assertEqual(("skipped", "skipped"), (outcomes.pop("create"), outcomes.pop("revoke")))
        return outcomes

    def test_says_whether_manager_and_key_are_accepted_and_changes_nothing(self):
        self._start([case for case in cases.OVERLAPPING
                     if case.list and case.verify and not case.oauth and case.recipe != "gemini"])
        names = [f"{kind}/{case.recipe}" for case in self.cases
                 for kind in ("good", "bad", "alive", "dead")]
        self.cli.apply({"credentials": {name: resources.STATIC for name in names}},
                       self.directory).expect(0)

        def live(case, service):
            good = case.manager(service)
            good = good if isinstance(good, dict) else {"value": good}
            bad = {name: value + "x" for name, value in good.items()}
            service.add_foreign("alive")
            alive = {"value": service.made[-1].secret, "access_key_id": service.made[-1].id}
            if case.recipe != "aws-iam":
                del alive["access_key_id"]
            dead = {name: value + "x" for name, value in alive.items()}
            for kind, value in (("good", good), ("bad", bad), ("alive", alive), ("dead", dead)):
                self.cli.ok("put", f"{kind}/{case.recipe}", "--json", stdin=json.dumps(value))
            before = service.live_ids()
            checks = self._try(case, "--manager", f"good/{case.recipe}",
                               "--credential", f"alive/{case.recipe}")
            self.assertEqual("ok", checks["list"], service.requests)
            self.assertEqual("ok", checks["verify"], service.requests)
            checks = self._try(case, "--manager", f"bad/{case.recipe}",
                               "--credential", f"dead/{case.recipe}")
            self.assertEqual({"list": "rejected", "verify": "rejected"}, checks, service.requests)
            self.assertEqual(before, service.live_ids())
            if case.recipe != "aws-iam":  # whose every request is a POST to the same path
                self.assertEqual(0, service.count("POST", ".*") + service.count("DELETE", ".*"))
        self._each(live)


class ListTest(IntegrationTest):
    def test_every_shipped_recipe_is_tested_and_documented(self):
        shipped = {name.removesuffix(".yaml") for name in os.listdir(
            os.path.join(SOURCE_DIR, "agent", "providers", "recipes")) if name.endswith(".yaml")}
        # These two have tests of their own: the sandbox's Dify and a real registry.
        elsewhere = {"dify-app-key", "npm-token"}
        self.assertEqual(shipped, {case.recipe for case in cases.ALL} | elsewhere)
        with open(os.path.join(SOURCE_DIR, "docs", "PROVIDERS.md"), encoding="utf-8") as file:
            documented = {line.split("|")[1].strip() for line in file if line.startswith("| ")}
        self.assertEqual(set(), shipped - documented)


if __name__ == "__main__":
    unittest.main(verbosity=2)
