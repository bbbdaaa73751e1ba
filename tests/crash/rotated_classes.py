# SPDX-License-Identifier: Apache-2.0
"""One service and one credential at it for every provider class: how the first key comes, how a
rotation is begun, which keys the service holds and whether it accepts one.

A Rotated belongs to one agent. Class listed runs against the sandbox's Dify and class tagged
against npm's verdaccio, class chosen against Redis through its plugin; the others against the local
services of tests/integration.
"""

import json
import os

import resources
from database_servers import RedisServer
from harness import Process, Sandbox, Verdaccio
from plugin_calls import program, sha256
from services.aws import AwsIam
from services.azure import AzureOpenAi
from services.cloudflare import Cloudflare
from services.gitlab import GitLab
from services.manual_keys import Anthropic

NAME = "team/key"
_TIMING = {"propagation": "10s", "settle": "1s", "cached_for": "0s"}


def _points(states, calls, push):
    return ([f"rotation:{state}:{where}" for state in states
             for where in ("before_commit", "after_commit")]
            + [f"rotation:{state}:{where}" for state in calls
               for where in ("after_send", "after_reply")]
            + [f"rotation:{push}:before_push"])


_BESIDE = _points(("creating", "minted", "verified", "retiring", "revoking", "closed"),
                  ("creating", "minted", "revoking"), "retiring")
_IN_PLACE = _points(("creating", "proving", "closed"), ("creating", "proving"), "proving")


class Rotated:
    """Subclasses start `service` and say what differs. `expected` are points that a rotation of
    this class passes at least."""

    expected = _BESIDE
    # Whether the old key dies with the making of the new one.
    gap = False
    # States from which on the old key may be dead.
    ending = ("revoking", "dying", "closed")

    def __init__(self, test, directory):
        self.test = test
        self.directory = directory
        self.service = self.make_service()

    @staticmethod
    def agent_changes():
        """What the agent's configuration says beyond the ordinary."""
        return {}

    def make_service(self):
        raise NotImplementedError

    def resources(self):
        raise NotImplementedError

    def manager(self):
        """What is stored as team/admin: text or fields; None: there is no manager credential."""
        return self.service.MANAGER

    def first_key(self, cli):
        """Sees to the first key where nobody makes it by itself."""

    def begin(self, agent):
        """Begins a rotation; returns the process that did."""
        return agent.cli().start("rotate", NAME)

    def rotate(self, agent):
        """A rotation from beginning to end."""
        agent.cli().ok("rotate", NAME, "--wait", deadline=60)

    def finish(self, life):
        """What a person does after a rotation that was cut off."""

    def check_reported(self, life):
        """That the log of the last start tells what a person has to know."""

    def key_ids(self):
        return self.service.live_ids()

    def accounted(self, current, value):
        """The ids that the service has to hold when `current` is the only version."""
        del value
        return {current.provider_key_id}

    def works(self, key):
        return self.service.accepts(key)

    def _document(self, providers, **credential):
        document = {"providers": providers, "credentials": {},
                    "policies": {"services": resources.reader("team/*")}}
        if self.manager() is not None:
            document["credentials"]["team/admin"] = resources.STATIC
        document["credentials"][NAME] = resources.api_key(next(iter(providers)), **credential)
        return document

    def _provider(self, recipe, params=None, manager=True, **timing):
        provider = {"recipe": recipe, "endpoint": self.service.url, "params": params or {},
                    "timing": {**_TIMING, **timing}}
        if manager:
            provider["manager"] = "team/admin"
        return provider

    def _local(self, service_class):
        service = service_class()
        self.test.addCleanup(service.close)
        return service


class Listed(Rotated):
    def make_service(self):
        return self.test.start(Sandbox(self.directory))

    def resources(self):
        return self._document({"dify": resources.dify(self.service, manager="team/admin")},
                              exclusive=True)

    def manager(self):
        return "sandbox-admin-key"

    def key_ids(self):
        return {key["id"] for key in self.service.state()["apps"].get(resources.APP_ID, [])}

    def works(self, key):
        return self.service.is_alive(key)


class Tagged(Rotated):
    def make_service(self):
        return self.test.start(Verdaccio(os.path.join(self.directory, "registry")))

    def resources(self):
        return self._document({"npm": self._provider("npm-token")})

    def manager(self):
        return {"username": self.service.user, "password": self.service.password}

    def key_ids(self):
        return set(self.service.keys())

    def works(self, key):
        return self.service.is_alive(key)


class Untagged(Rotated):
    """With a wait for caches, so that state dying is passed as well."""

    expected = _BESIDE + _points(("dying",), ("dying",), "retiring")

    def make_service(self):
        service = self._local(AwsIam)
        service.lag = 0
        return service

    def resources(self):
        params = {"user_name": self.service.USER, "sts_endpoint": self.service.url}
        return self._document({"aws": self._provider("aws-iam", params, cached_for="1s")},
                              exclusive=True)


class Chosen(Rotated):
    """A plugin, which dies with the agent, and Redis, which does not."""

    @staticmethod
    def agent_changes():
        path = program("redis-acl")
        return {"plugins": {"redis-acl": {"command": [path], "sha256": sha256(path),
                                          "timeout": "20s"}}}

    def make_service(self):
        return self.test.start(RedisServer(os.path.join(self.directory, "redis"),
                                           admin_password="crash-test-admin"))

    def manager(self):
        return {"username": "admin", "password": self.service.admin_password}

    def resources(self):
        return self._document({"redis": {
            "plugin": "redis-acl", "manager": "team/admin", "timing": _TIMING,
            "params": {"socket": self.service.socket, "user": "app"}}}, exclusive=True)

    def key_ids(self):
        return set(self.service.passwords())

    def works(self, key):
        return self.service.logs_in("app", key)


class DualSlot(Rotated):
    def make_service(self):
        return self._local(AzureOpenAi)

    def manager(self):
        return self.service.manager_secret

    def resources(self):
        service = self.service
        params = {"subscription_id": service.SUBSCRIPTION, "resource_group": service.GROUP,
                  "account": service.ACCOUNT, "account_endpoint": service.url}
        provider = {**self._provider("azure-openai", params), "manager": "team/token"}
        document = self._document({"azure": provider}, exclusive=True)
        document["credentials"]["team/token"] = resources.client_credentials(
            f"{service.url}/{service.TENANT}/oauth2/v2.0/token", service.manager_id, "team/admin",
            scopes=[service.scope])
        return document

    def key_ids(self):
        """Both slots always hold a key. What is in the other one, nobody must ever have been given;
        Life checks that of all values."""
        return {slot for slot, value in self.service.slots.items()
                if value in self.test.values_of(self)}

    def accounted(self, current, value):
        self.test.assertEqual(value, self.service.slots[current.provider_key_id])
        return {current.provider_key_id}


class Roll(Rotated):
    expected = _IN_PLACE
    gap = True

    def make_service(self):
        service = self._local(Cloudflare)
        self.token_id, _ = service.issue()
        self.bystander, _ = service.issue("another")
        return service

    def resources(self):
        return self._document(
            {"cloudflare": self._provider("cloudflare-token-roll", {"token_id": self.token_id})},
            allow_gap=True)

    def first_key(self, cli):
        cli.ok("rotate", NAME, "--wait")

    def key_ids(self):
        ids = self.service.live_ids()
        ids.remove(self.bystander)
        return ids


class SelfRoll(Rotated):
    """Recovered, when the reply with the new key was lost, by an owner of the project."""

    expected = _IN_PLACE
    gap = True

    def make_service(self):
        service = self._local(GitLab)
        self.known_lost = set()
        self.first = service.issue("deploy")
        self.bystander, _ = service.issue("another")
        return service

    def manager(self):
        return self.service.OWNER

    def resources(self):
        return self._document(
            {"gitlab": self._provider("gitlab-token-self", manager=False),
             "owner": self._provider("gitlab-token-roll", {"project": self.service.PROJECT,
                                                           "token_name": "deploy"})},
            allow_gap=True, recovery="owner")

    def check_reported(self, life):
        lost = {v.version for v in life.shown().versions if v.state == "failed"} - self.known_lost
        self.known_lost |= lost
        reports = life.agent.events("ROTATION_FAILED", credential=NAME, cause="key_lost")
        assert len(reports) == len(lost), f"lost: {lost}, reported: {reports}"

    def first_key(self, cli):
        key_id, value = self.first
        cli.ok("put", NAME, "--key-id", key_id, stdin=value)

    def key_ids(self):
        ids = self.service.live_ids()
        ids.remove(self.bystander)
        return ids


class SelfRollAlone(SelfRoll):
    """Without recovery: a person, who sees the loss reported, makes another token and stores it."""

    def manager(self):
        return None

    def resources(self):
        return self._document({"gitlab": self._provider("gitlab-token-self", manager=False)},
                              allow_gap=True, accept_loss=True)

    def finish(self, life):
        shown = life.shown()
        if shown.summary.current_version != 0:
            return
        life.agent.wait_for_event("ROTATION_FAILED", credential=NAME, cause="key_lost")
        # The token whose reply was lost: the person sees it in the console and ends it.
        self.service.withdraw(self.key_ids())
        key_id, value = self.service.issue("deploy")
        life.agent.cli().ok("put", NAME, "--key-id", key_id, stdin=value)


class Manual(Rotated):
    expected = _points(("minted", "verified", "retiring", "revoking", "closed"),
                       ("minted", "revoking"), "retiring")

    def make_service(self):
        service = self._local(Anthropic)
        self.bystander = service.issue("another")
        self.brought = service.issue()
        return service

    def resources(self):
        return self._document({"anthropic": self._provider("anthropic")})

    def first_key(self, cli):
        cli.ok("put", NAME, stdin=self.brought)

    def begin(self, agent):
        self.brought = self.service.issue()
        path = os.path.join(self.directory, "brought")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w",
                  encoding="utf-8") as file:
            file.write(self.brought)
        with open(path, "rb") as file:
            cli = agent.cli()
            return Process([*cli.argv("put", NAME)], env=cli.env, stdin=file).start()

    def rotate(self, agent):
        self.brought = self.service.issue()
        agent.cli().ok("put", NAME, stdin=self.brought)

    def finish(self, life):
        # Of a value that was not stored, `keyturn put` has said so; the person stores it again.
        if life.value() != self.brought:
            life.agent.cli().ok("put", NAME, stdin=self.brought)

    def key_ids(self):
        return self._ids(self.service.live_ids(), self.bystander)

    def accounted(self, current, value):
        with self.service.lock:
            return {self.service.find(value).id}

    def _ids(self, ids, without):
        with self.service.lock:
            return ids - {self.service.find(without).id}


ALL = (Listed, Tagged, Untagged, Chosen, DualSlot, Roll, SelfRoll, SelfRollAlone, Manual)


def manager_input(manager):
    """(arguments, stdin) for `keyturn put team/admin`."""
    if isinstance(manager, dict):
        return ["--json"], json.dumps(manager)
    return [], manager
