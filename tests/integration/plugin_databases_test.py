# SPDX-License-Identifier: Apache-2.0
"""The plugins postgres-roles and redis-acl, call by call, against Debian's real servers."""

import hashlib
import secrets
import threading

import psycopg2
import redis

from database_servers import PostgresServer, RedisServer
from harness import IntegrationTest, unittest, wait_until
from plugin_calls import Plugin, fields_of

ROTATIONS = 20
EVERY_SECONDS = 0.02


def digest_of(secret):
    return hashlib.sha256(secret.encode()).hexdigest()


def new_secret():
    return secrets.token_hex(21) + "x"


class Client:
    """A service that reconnects every 20 ms with the value of the moment."""

    def __init__(self, log_in, value):
        self._log_in = log_in
        self._value = value
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.logins = 0
        self.failures = []

    def _run(self):
        while not self._end.wait(EVERY_SECONDS):
            value = self._value()
            try:
                self._log_in(value["username"], value["password"])
                self.logins += 1
            except (psycopg2.Error, redis.RedisError) as error:
                self.failures.append(f"{type(error).__name__} after {self.logins} logins")

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()

    def wait_logins(self, more):
        goal = self.logins + more
        wait_until(lambda: self.logins >= goal or self.failures, 60, f"{more} logins")


class PluginTest(IntegrationTest):
    """What both plugins must do; `service` and `plugin` come from the derived classes."""

    def rotate(self, secret, target):
        created = self.plugin.create(secret, target)
        self.assertEqual(self.plugin.outcome(created), ("OK", ""))
        self.assertEqual(self.plugin.verify(created.key.value), ("OK", ""))
        return created.key

    def check_rotations_under_a_client(self, log_in):
        key = self.rotate(new_secret(), "")
        current = [fields_of(key.value)]
        with Client(log_in, lambda: current[0]) as client:
            for _ in range(ROTATIONS):
                client.wait_logins(3)
                old, key = key, self.rotate(new_secret(), key.id)
                self.assertNotEqual(old.id, key.id)
                current[0] = fields_of(key.value)
                # The grace: who has read the old value just now may still log in with it.
                client.wait_logins(3)
                self.assertEqual(self.plugin.revoke(old.id), ("OK", ""))
                self.assertEqual(self.plugin.verify(old.value)[0], "REJECTED")
            client.wait_logins(3)
        self.assertEqual(client.failures, [])
        print(f"{self.plugin.name}: {ROTATIONS} rotations, {client.logins} logins, 0 failed")

    def check_problems(self, params, field):
        problems = self.plugin.describe(params).problems
        self.assertEqual([problem.field for problem in problems], [field])

    def check_nothing_leaks(self, *texts):
        written = "\n".join(process.all_output() for process in self.processes)
        for text in texts:
            self.assertNotIn(text, written)


class PostgresRolesTest(PluginTest):
    def setUp(self):
        super().setUp()
        self.allow_others()
        self.admin_password = new_secret()
        self.service = self.start(
            PostgresServer(self.path("postgres"), admin_password=self.admin_password))
        for role in ("app_a", "app_b"):
            self.service.run(f"CREATE ROLE {role} NOLOGIN")
        self.params = {"host": self.service.directory, "sslmode": "disable",
                       "role_a": "app_a", "role_b": "app_b"}
        self.plugin = self.start(Plugin(
            "postgres-roles", self.subdirectory("plugin"), params=self.params,
            manager={"username": "admin", "password": self.admin_password}))

    def test_the_other_role_gets_the_password_and_the_one_in_use_keeps_its_own(self):
        first, second = new_secret(), new_secret()
        created = self.rotate(first, "")
        self.assertEqual(created.id, "app_a")
        self.assertEqual(fields_of(created.value), {"username": "app_a", "password": first})
        self.assertEqual(self.plugin.list(), {"app_a": False, "app_b": True})
        self.assertEqual(self.rotate(second, "app_a").id, "app_b")
        self.assertTrue(self.service.logs_in("app_a", first))
        self.assertTrue(self.service.logs_in("app_b", second))
        self.check_nothing_leaks(first, second, self.admin_password)

    def test_the_same_secret_again_is_the_same_key(self):
        secret = new_secret()
        for _ in range(2):
            self.assertEqual(self.rotate(secret, "app_a").id, "app_b")

    def test_revoke_ends_logins_and_sessions_and_can_be_repeated(self):
        secret = new_secret()
        key = self.rotate(secret, "")
        session = self.service.connect("app_a", secret)
        for _ in range(2):
            self.assertEqual(self.plugin.revoke("app_a"), ("OK", ""))
        self.assertFalse(self.service.logs_in("app_a", secret))
        with self.assertRaises(psycopg2.OperationalError), session.cursor() as cursor:
            cursor.execute("SELECT 1")
        self.assertEqual(self.plugin.verify(key.value)[0], "REJECTED")
        self.assertEqual(self.plugin.list(), {"app_a": True, "app_b": True})
        self.assertEqual(self.service.run(
            "SELECT rolpassword FROM pg_authid WHERE rolname = 'app_a'"), [(None,)])

    def test_roles_of_others_are_never_touched(self):
        self.assertEqual(self.plugin.revoke("admin"), ("REJECTED", "unknown_role"))
        self.assertTrue(self.service.logs_in("admin", self.admin_password))

    def test_a_password_can_expire_by_itself(self):
        self.plugin.config["params"] = {**self.params, "valid_for": "1s"}
        created = self.plugin.create(new_secret())
        self.assertTrue(created.key.HasField("expires_at"))
        wait_until(lambda: self.plugin.verify(created.key.value)[0] == "REJECTED", 20,
                   "the password to expire")
        self.assertTrue(self.plugin.list()["app_a"])

    def test_a_manager_of_few_rights_suffices(self):
        password = new_secret()
        self.service.run("CREATE ROLE rotator LOGIN CREATEROLE PASSWORD %s", (password,))
        self.service.run("GRANT pg_signal_backend TO rotator")
        self.plugin.manager = self.plugin.value({"username": "rotator", "password": password},
                                                "password")
        self.rotate(new_secret(), "")
        self.assertEqual(self.plugin.revoke("app_a"), ("OK", ""))

    def test_refusals_are_told_apart(self):
        wrong = self.plugin.value({"username": "admin", "password": "guess"}, "password")
        self.assertEqual(self.plugin.revoke("app_a", wrong), ("REJECTED", "manager_refused"))
        self.service.run("DROP ROLE app_b")
        self.assertEqual(self.plugin.outcome(self.plugin.create(new_secret(), "app_a")),
                         ("REJECTED", "role_missing"))
        self.service.stop()
        self.assertEqual(self.plugin.outcome(self.plugin.create(new_secret(), "app_b")),
                         ("TRANSIENT", "connect"))
        key = self.plugin.value({"username": "app_a", "password": "any"}, "password")
        self.assertEqual(self.plugin.verify(key), ("TRANSIENT", "connect"))

    def test_mistakes_in_the_resource_are_named(self):
        self.check_problems({}, "params.host")
        self.check_problems({**self.params, "role_b": "app_a"}, "params.role_b")
        self.check_problems({**self.params, "sslmode": "maybe"}, "params.sslmode")
        self.check_problems({**self.params, "port": "99999"}, "params.port")
        self.check_problems({**self.params, "pasword": "x"}, "params.pasword")
        self.assertEqual(self.plugin.describe().traits.provider_class, self.plugin.messages.CHOSEN)

    def test_no_login_fails_while_the_password_is_rotated(self):
        self.check_rotations_under_a_client(
            lambda user, password: self.service.connect(user, password).close())


class RedisAclTest(PluginTest):
    def setUp(self):
        super().setUp()
        self.allow_others()
        self.admin_password = new_secret()
        self.service = self.start(
            RedisServer(self.path("redis"), admin_password=self.admin_password))
        self.params = {"socket": self.service.socket, "user": "app", "persist": "acl_save"}
        self.plugin = self.start(Plugin(
            "redis-acl", self.subdirectory("plugin"), params=self.params,
            manager={"username": "admin", "password": self.admin_password}))

    def test_two_passwords_live_beside_each_other_and_no_third(self):
        first, second = new_secret(), new_secret()
        old, new = self.rotate(first, ""), self.rotate(second, digest_of(first))
        self.assertEqual([old.id, new.id], [digest_of(first), digest_of(second)])
        self.assertEqual(self.plugin.list(), {old.id: False, new.id: False})
        self.assertTrue(self.service.logs_in("app", first))
        self.assertEqual(self.plugin.outcome(self.plugin.create(new_secret(), new.id)),
                         ("LIMITED", "two_passwords"))
        self.assertEqual(self.rotate(second, old.id).id, new.id, "the same again is the same key")
        self.check_nothing_leaks(first, second, self.admin_password)

    def test_revoke_ends_logins_and_connections_and_can_be_repeated(self):
        first, second = new_secret(), new_secret()
        old = self.rotate(first, "")
        held = self.service.connect("app", first)
        self.rotate(second, old.id)
        for _ in range(2):
            self.assertEqual(self.plugin.revoke(old.id), ("OK", ""))
        self.assertEqual(self.plugin.verify(old.value)[0], "REJECTED")
        self.assertTrue(self.service.logs_in("app", second))
        with self.assertRaises(redis.RedisError):
            held.send_command("PING")
            held.read_response()

    def test_young_connections_can_be_spared(self):
        self.plugin.config["params"] = {**self.params, "spare_younger": "1h"}
        secret = new_secret()
        key = self.rotate(secret, "")
        held = self.service.connect("app", secret)
        self.assertEqual(self.plugin.revoke(key.id), ("OK", ""))
        held.send_command("PING")
        self.assertEqual(held.read_response(), b"PONG")
        held.disconnect()

    def test_what_was_changed_outlives_the_server(self):
        secret = new_secret()
        key = self.rotate(secret, "")
        self.service.stop()
        self.service.start()
        self.assertEqual(self.service.passwords(), [key.id])
        self.assertTrue(self.service.logs_in("app", secret))

    def test_a_manager_of_few_rights_suffices(self):
        password = new_secret()
        self.service.run("ACL", "SETUSER", "rotator", "on", f">{password}", "+acl|getuser",
                         "+acl|setuser", "+acl|save", "+client|list", "+client|id", "+client|kill")
        self.plugin.manager = self.plugin.value({"username": "rotator", "password": password},
                                                "password")
        secret = new_secret()
        key = self.rotate(secret, "")
        self.service.connect("app", secret)
        self.assertEqual(self.plugin.list(), {key.id: False})
        self.assertEqual(self.plugin.revoke(key.id), ("OK", ""))

    def test_refusals_are_told_apart(self):
        wrong = self.plugin.value({"username": "admin", "password": "guess"}, "password")
        self.assertEqual(self.plugin.revoke("x", wrong), ("REJECTED", "manager_refused"))
        self.plugin.config["params"] = {**self.params, "user": "nobody"}
        self.assertEqual(self.plugin.outcome(self.plugin.create(new_secret())),
                         ("REJECTED", "user_missing"))
        self.service.run("ACL", "SETUSER", "open", "on", "nopass")
        self.plugin.config["params"] = {**self.params, "user": "open"}
        self.assertEqual(self.plugin.outcome(self.plugin.create(new_secret())),
                         ("REJECTED", "user_needs_no_password"))
        self.plugin.config["params"] = {**self.params, "persist": "config_rewrite"}
        self.assertEqual(self.plugin.outcome(self.plugin.create(new_secret())),
                         ("UNKNOWN", "not_persisted"), "this server has no configuration file")
        self.service.stop()
        self.assertEqual(self.plugin.outcome(self.plugin.create(new_secret())),
                         ("TRANSIENT", "connect"))

    def test_mistakes_in_the_resource_are_named(self):
        self.check_problems({}, "params.host")
        self.check_problems({**self.params, "host": "h"}, "params.socket")
        self.check_problems({**self.params, "persist": "yes"}, "params.persist")
        self.check_problems({**self.params, "spare_younger": "soon"}, "params.spare_younger")

    def test_no_login_fails_while_the_password_is_rotated(self):
        self.check_rotations_under_a_client(
            lambda user, password: self.service.connect(user, password).disconnect())


if __name__ == "__main__":
    unittest.main()
