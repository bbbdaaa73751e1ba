# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL and Redis passwords rotated by the agent, under a client that reconnects every 20 ms
with whatever Keyturn gives it: no login fails, and what was replaced is dead.
"""

import json
import secrets
import threading

import psycopg2
import redis

import grpc_calls
import resources
from database_servers import PostgresServer, RedisServer
from harness import *
from plugin_calls import program, sha256

_ROTATIONS = 20
_EVERY_SECONDS = 0.02


class _Client:
    """A service: reads the value, logs in with it, and remembers whom it could not log in as."""

    def __init__(self, agent, log_in):
        self._agent = agent
        self._log_in = log_in
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.logins = 0
        self.versions = set()
        self.failures = []

    def _run(self):
        with grpc_calls.Client(self._agent.services_socket) as client:
            while not self._end.wait(_EVERY_SECONDS):
                credential = client.Get(name="orders/password").credential
                value = {field.name: field.value.decode() for field in credential.fields}
                try:
                    self._log_in(value["username"], value["password"])
                    self.logins += 1
                    self.versions.add(credential.version)
                except (psycopg2.Error, redis.RedisError) as error:
                    self.failures.append(f"version {credential.version}: {type(error).__name__}")

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()


class PluginRotationTest(IntegrationTest):
    def setUp(self):
        super().setUp()
        self.allow_others()
        self.admin_password = secrets.token_hex(20)

    def agent_for(self, plugin, params):
        path = program(plugin)
        agent = self.start_agent(changes={
            "plugins": {plugin: {"command": [path], "sha256": sha256(path), "timeout": "20s"}}})
        agent.cli().apply({
            "providers": {"orders-db": {"plugin": plugin, "manager": "orders/db-admin",
                                        "params": params}},
            "credentials": {"orders/db-admin": resources.STATIC,
                            "orders/password": resources.api_key("orders-db", every="30d")},
            "policies": {"all": resources.reader("**")},
        }, self.directory).expect(0)
        agent.cli().run("put", "orders/db-admin", "--json", stdin=json.dumps(
            {"username": "admin", "password": self.admin_password})).expect(0)
        return agent

    @staticmethod
    def rotates(agent):
        """False while a rotation is under way already, which is exit code 6."""
        result = agent.cli().run("rotate", "orders/password", deadline=60)
        return result.code == 0 if result.code == 6 else bool(result.expect(0))

    def check_rotations(self, agent, service, log_in):
        agent.wait_for_log(event="rotation", state="promoted", deadline=60)
        with _Client(agent, log_in) as client:
            wait_until(lambda: client.versions or client.failures, 60, "a first login")
            for n in range(1, _ROTATIONS + 1):
                # Until the one before is done: grace over, old password dead.
                wait_until(lambda: self.rotates(agent) or client.failures, 60, "a rotation",
                           interval=0.2)
                # On a slow machine the next rotation could come before the next login.
                wait_until(lambda n=n: len(client.versions) > n or client.failures, 60,
                           "a login with the new version")
        self.assertEqual([], client.failures)
        self.assertNotIn(self.admin_password, agent.all_output() + service.all_output())
        print(f"{service.name}: {_ROTATIONS} rotations, {client.logins} logins, 0 failed")

    def test_postgres(self):
        service = self.start(
            PostgresServer(self.path("postgres"), admin_password=self.admin_password))
        for role in ("orders_a", "orders_b"):
            service.run(f"CREATE ROLE {role} NOLOGIN")
        agent = self.agent_for("postgres-roles", {
            "host": service.directory, "sslmode": "disable",
            "role_a": "orders_a", "role_b": "orders_b"})
        self.check_rotations(agent, service,
                             lambda user, password: service.connect(user, password).close())
        wait_until(lambda: service.run("SELECT count(*) FROM pg_roles WHERE rolcanlogin "
                                       "AND rolname LIKE 'orders%'") == [(1,)], 30,
                   "the replaced role to be closed")

    def test_redis(self):
        service = self.start(RedisServer(self.path("redis"), admin_password=self.admin_password))
        agent = self.agent_for("redis-acl", {"socket": service.socket, "user": "app",
                                             "persist": "acl_save"})
        self.check_rotations(agent, service,
                             lambda user, password: service.connect(user, password).disconnect())
        wait_until(lambda: len(service.passwords()) == 1, 30, "one password to be left")


if __name__ == "__main__":
    unittest.main()
