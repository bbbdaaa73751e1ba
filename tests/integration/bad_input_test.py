# SPDX-License-Identifier: Apache-2.0
"""Bad input of every kind: a clear message that says where and what next, the documented exit code,
and a state that is afterwards what it was before, down to the bytes of the store.
"""

import hashlib
import os
import re
import sqlite3

import resources
from harness import *

_EXIT_REFUSED = 1  # of keyturn: the agent refuses the file
_EXIT_CONFIG = 2  # these are of keyturnd
_EXIT_IN_USE = 3
_EXIT_STORE = 4

_GOOD = """\
credentials:
  npm/admin: { static: {} }
  team/secret: { static: {} }
providers:
  registry:
    recipe: npm-token
    endpoint: http://127.0.0.1:9
    manager: npm/admin
"""

# name -> (YAML, line:column, words of the message)
_BAD_RESOURCES = {
    "unknown key": (
        "credentials:\n  team/new:\n    statik: {}\n",
        "3:5", ("statik", "static")),
    "unknown key at the top": (
        "credentials: {}\nprovider:\n  x: {}\n", "2:1", ("provider", "providers")),
    "duration without a unit": (
        "credentials:\n  team/npm:\n    provider: registry\n    rotate: { every: 90 }\n",
        "4:22", ("90", "unit")),
    "unknown unit": (
        "credentials:\n  team/npm:\n    provider: registry\n    rotate: { every: 3 fortnights }\n",
        "4:22", ("fortnights",)),
    "negative duration": (
        "credentials:\n  team/npm:\n    provider: registry\n    rotate: { every: -5s }\n",
        "4:22", ("-5s",)),
    "grace longer than every": (
        "credentials:\n  team/npm:\n    provider: registry\n"
        "    rotate: { every: 1h, grace: 2h }\n",
        "4:26", ("grace", "every")),
    "URL of another scheme": (
        "providers:\n  other:\n    recipe: npm-token\n    endpoint: ftp://npm.example.com\n"
        "    manager: npm/admin\n", "4:5", ("http",)),
    "no URL at all": (
        "providers:\n  other:\n    recipe: npm-token\n    endpoint: 'not a url'\n"
        "    manager: npm/admin\n", "4:5", ("URL",)),
    "URL with a password": (
        "providers:\n  other:\n    recipe: npm-token\n"
        "    endpoint: https://user:canary-in-url@npm.example.com\n"
        "    manager: npm/admin\n", "4:5", ()),
    "plain http to a host that is not allowed": (
        "providers:\n  other:\n    recipe: npm-token\n    endpoint: http://npm.example.com\n"
        "    manager: npm/admin\n", "4:5", ("allow_http", "npm.example.com")),
    "unknown recipe": (
        "providers:\n  other:\n    recipe: npm-tokens\n    endpoint: https://npm.example.com\n"
        "    manager: npm/admin\n", "3:5", ("npm-tokens",)),
    "missing parameter": (
        "providers:\n  other:\n    recipe: dify-app-key\n    endpoint: https://d.example.com\n"
        "    manager: npm/admin\n    params: { app_id: a }\n", None, ("workspace_id",)),
    "unknown manager": (
        "providers:\n  other:\n    recipe: npm-token\n    endpoint: https://npm.example.com\n"
        "    manager: no/one\n", "5:5", ("no/one",)),
    "bad token URL": (
        "credentials:\n  team/token:\n    oauth:\n      token_url: https//x\n"
        "      grant: client_credentials\n      client_id: x\n"
        "      client_secret: { credential: team/secret }\n", "4:7", ()),
    "wrong type": (
        "credentials:\n  team/npm: [provider]\n", "2:13", ()),
    "wrong enum": (
        "policies:\n  p:\n    principals: [ { unix: { user: '0' } } ]\n"
        "    allow: [reed]\n    on: ['team/*']\n", "4:13", ("reed", "read")),
    "bad name": (
        "credentials:\n  Team/NPM: { static: {} }\n", "2:3", ("Team/NPM",)),
    "a key twice": (
        "credentials:\n  team/a: { static: {} }\n  team/a: { static: {} }\n", "3:3", ("team/a",)),
    "no YAML": ("credentials: [\n", None, ()),
    "good beside bad: nothing of it is taken": (
        "credentials:\n  team/fine: { static: {} }\n  team/npm:\n    provider: nobody\n"
        "    rotate: { every: 1d }\n", "4:5", ("nobody",)),
}

_BAD_CONFIG = {
    "unknown key": ("stroe: { path: /x }\n", "1:1", ("stroe", "store")),
    "unknown nested key": ("logging:\n  levle: info\n", "2:3", ("levle", "level")),
    "duration": ("limits:\n  drain: 5 parsecs\n", "2:10", ("parsecs",)),
    "level": ("logging: { level: loud }\n", "1:12", ("debug",)),
    "relative path": ("store: { path: store.db }\n", "1:10", ("absolute",)),
    "mode": ("sockets: { services_mode: '0999' }\n", "1:12", ("octal",)),
    "one path for both sockets": ("sockets: { services: /a, admin: /a }\n", "1:", ("two",)),
}

_RECIPE = """\
recipe: own
class: tagged
params: { org: { required: true } }
value: { min_length: 4 }
create:
  path: /keys
  json: { name: "{tag}", where: "{params.org}" }
  extract: { id: /id, value: /key }
  outcomes: [ { status: ["201"], is: ok } ]
list:
  path: /keys
  extract: { items: /keys, id: /id, tag: /name }
  outcomes: [ { status: ["200"], is: ok } ]
revoke:
  path: /keys/{key.id}
  outcomes: [ { status: ["204"], is: ok } ]
"""

_BAD_RECIPES = {
    "unknown placeholder": ("{tag}\", where", "{tagg}\", where", "7", ("{tagg}", "tag")),
    "unknown parameter": ("{params.org}", "{params.orgg}", "7", ("orgg",)),
    "placeholder out of its place": ("/keys/{key.id}", "/keys/{tag}", "15", ("{tag}",)),
    "unknown key": ("min_length", "min_lenght", "4", ("min_lenght", "min_length")),
    "unknown class": ("tagged", "tagget", "2", ("tagget",)),
}


def _digests(files):
    """{path: digest}, which is shorter to show than bytes; without the lock, which holds the number
    of whoever tried last."""
    return {path: hashlib.sha256(content).hexdigest() for path, content in files.items()
            if not path.endswith(".lock")}


class BadResourcesTest(IntegrationTest):
    def test_each_mistake_names_its_place_and_changes_nothing(self):
        agent = self.start_agent()
        cli = agent.cli()
        cli.apply(_GOOD, self.directory).expect(0)
        cli.ok("put", "team/secret", stdin="kept")
        before = (cli.ok("export"), cli.ok("list", "-o", "json"),
                  _digests(agent.state_bytes()))
        for name, (yaml, place, words) in _BAD_RESOURCES.items():
            for command in ("plan", "apply"):
                with self.subTest(name, command=command):
                    path = self.path("bad.yaml")
                    with open(path, "w", encoding="utf-8") as file:
                        file.write(yaml)
                    result = cli.run(command, "-f", path)
                    self.assertEqual((_EXIT_REFUSED, ""), (result.code, result.stdout), result.stderr)
                    where = re.escape(f"{path}:{place}") if place else re.escape(path) + r":\d+:\d+"
                    self.assertRegex(result.stderr, where)
                    for word in words:
                        self.assertIn(word, result.stderr)
                    self.assertNotIn("canary-in-url", result.stderr)
        self.assertEqual(before, (cli.ok("export"), cli.ok("list", "-o", "json"),
                                  _digests(agent.state_bytes())))
        self.assertEqual([], agent.foreign_log_lines())
        self.assertNotIn("canary-in-url", agent.all_output())
        self.assertEqual("kept", cli.ok("get", "team/secret"))

    def test_bad_values_are_refused_and_the_old_one_stays(self):
        agent = self.start_agent()
        cli = agent.cli()
        cli.apply(_GOOD, self.directory).expect(0)
        cli.ok("put", "team/secret", stdin="kept")
        before = _digests(agent.state_bytes())
        for name, arguments, stdin, code in (
                ("too big", ("team/secret",), "x" * 65537, (1, 2)),
                ("empty", ("team/secret",), "", (1, 2)),
                ("no JSON", ("team/secret", "--json"), "{canary-broken", (2,)),
                ("JSON of another shape", ("team/secret", "--json"), '{"a": {"b": "c"}}', (2,)),
                ("nobody", ("team/nobody",), "x", (3,)),
                ("a bad name", ("Team Secret",), "x", (1, 2, 3)),
                ("a bad duration", ("team/secret", "--expires-in", "soon"), "x", (2,))):
            with self.subTest(name):
                result = cli.run("put", *arguments, stdin=stdin)
                self.assertIn(result.code, code, result.stderr)
                self.assertNotEqual("", result.stderr)
                self.assertNotIn("canary", result.stderr + result.stdout)
        self.assertEqual("kept", cli.ok("get", "team/secret"))
        self.assertEqual(before, _digests(agent.state_bytes()))


class BadStartTest(IntegrationTest):
    """What stops keyturnd from starting."""

    def setUp(self):
        super().setUp()
        self.agent = self.start_agent()
        cli = self.agent.cli()
        cli.apply(_GOOD, self.directory).expect(0)
        cli.ok("put", "team/secret", stdin="kept")
        self.exported = cli.ok("export")
        self.agent.stop()
        self.good_config = self.agent.default_config()

    def _assert_refused(self, code, *words):
        """The agent refuses with this exit code and these words, and leaves the files alone."""
        before = self._files()
        self.assertEqual(code, self.agent.run_to_end(), self.agent.tail())
        for word in words:
            self.assertIn(word, self.agent.stderr.text())
        self.assertIn("keyturnd: ", self.agent.stderr.text())
        self.assertEqual(before, self._files())
        for path in (self.agent.services_socket, self.agent.admin_socket):
            self.assertFalse(os.path.exists(path), path)

    def _files(self):
        return _digests(self.agent.state_bytes())

    def _assert_starts(self):
        self.agent.start()
        cli = self.agent.cli()
        self.assertEqual(self.exported, cli.ok("export"))
        self.assertEqual("kept", cli.ok("get", "team/secret"))
        self.agent.stop()

    def _rewrite(self, path, content, mode=0o600):
        os.chmod(path, 0o600)
        with open(path, "wb") as file:
            file.write(content)
        os.chmod(path, mode)

    def test_configuration(self):
        for name, (yaml, place, words) in _BAD_CONFIG.items():
            with self.subTest(name):
                self.agent.write_config(yaml)
                where = (f"{self.agent.config_path}:{place}",) if place else ()
                self._assert_refused(_EXIT_CONFIG, *where, *words)
        with self.subTest("no file"):
            os.remove(self.agent.config_path)
            self._assert_refused(_EXIT_CONFIG, self.agent.config_path, "--dev")
        self.agent.write_config(self.good_config)
        self._assert_starts()

    def test_an_address_block_that_is_none(self):
        self.agent.write_config(merge(self.good_config, {
            "egress": {"allow_private": ["300.0.0.0/8"]}}))
        self._assert_refused(_EXIT_CONFIG, self.agent.config_path, "300.0.0.0/8", "allow_private")

    def test_recipes(self):
        directory = self.subdirectory("recipes")
        path = os.path.join(directory, "own.yaml")
        self.agent.write_config(merge(self.good_config, {"recipes": [
            *self.good_config["recipes"], directory]}))
        for name, (old, new, line, words) in _BAD_RECIPES.items():
            with self.subTest(name):
                self.assertIn(old, _RECIPE)
                with open(path, "w", encoding="utf-8") as file:
                    file.write(_RECIPE.replace(old, new))
                self._assert_refused(_EXIT_CONFIG, f"{path}:{line}:", *words)
        with open(path, "w", encoding="utf-8") as file:
            file.write(_RECIPE)
        self._assert_starts()

    def test_keyfile(self):
        with open(self.agent.keyfile, "rb") as file:
            key = file.read()
        mode = os.stat(self.agent.keyfile).st_mode & 0o777
        for name, content, bad_mode, words in (
                ("too short", key[:31], mode, ("31", "32")),
                ("empty", b"", mode, ("32",)),
                ("no hex", b"z" * 64, mode, ()),
                ("open to others", key, 0o644, ("keyfile", "chmod")),
                ("another key", bytes(reversed(key)), mode, ("store",))):
            with self.subTest(name):
                self._rewrite(self.agent.keyfile, content, bad_mode)
                self._assert_refused(_EXIT_STORE, self.agent.keyfile, *words)
        with self.subTest("none"):
            os.remove(self.agent.keyfile)
            # `create: true` must not make a new one for a store that has another.
            self._assert_refused(_EXIT_STORE, self.agent.keyfile)
        with open(self.agent.keyfile, "wb"):
            pass
        self._rewrite(self.agent.keyfile, key, mode)
        self._assert_starts()

    def _sql(self, statement, *values):
        with sqlite3.connect(self.agent.store_path) as database:
            rows = database.execute(statement, values).fetchall()
        database.close()
        return rows

    def test_a_store_of_a_newer_schema(self):
        (schema,), = self._sql("PRAGMA user_version")
        self._sql("INSERT INTO migration VALUES (?, '9.8.7')", schema + 1)
        self._sql(f"PRAGMA user_version = {schema + 1}")
        self._assert_refused(_EXIT_STORE, self.agent.store_path, f"{schema + 1}", "9.8.7")
        self._sql("DELETE FROM migration WHERE schema = ?", schema + 1)
        self._sql(f"PRAGMA user_version = {schema}")
        self._assert_starts()

    def test_a_database_of_another_program(self):
        (number,), = self._sql("PRAGMA application_id")
        self._sql("PRAGMA application_id = 7")
        self._assert_refused(_EXIT_STORE, self.agent.store_path)
        self._sql(f"PRAGMA application_id = {number}")
        self._assert_starts()

    def test_a_changed_row_is_found_and_named(self):
        rows = self._sql("SELECT key, value FROM entry")
        self.assertGreater(len(rows), 5)
        for key, value in rows:
            for position in (0, len(value) // 2, len(value) - 1):
                with self.subTest(bytes(key).decode(), position=position):
                    damaged = bytearray(value)
                    damaged[position] ^= 0x40
                    self._sql("UPDATE entry SET value = ? WHERE key = ?", bytes(damaged), key)
                    self._assert_refused(_EXIT_STORE,
                                         "store" if key == b"store/header" else key.decode())
                    self._sql("UPDATE entry SET value = ? WHERE key = ?", value, key)
        with self.subTest("two rows swapped"):
            one, other = rows[0], rows[1]
            self._sql("UPDATE entry SET value = ? WHERE key = ?", one[1], other[0])
            self._sql("UPDATE entry SET value = ? WHERE key = ?", other[1], one[0])
            self._assert_refused(_EXIT_STORE)
            self._sql("UPDATE entry SET value = ? WHERE key = ?", *reversed(one))
            self._sql("UPDATE entry SET value = ? WHERE key = ?", *reversed(other))
        self._assert_starts()

    def test_a_damaged_file(self):
        with open(self.agent.store_path, "rb") as file:
            good = file.read()
        for name, content in (("empty", b""), ("cut off", good[:len(good) // 2]),
                              ("text", b"this is no database\n" * 400)):
            with self.subTest(name):
                self._rewrite(self.agent.store_path, content)
                self._assert_refused(_EXIT_STORE, self.agent.store_path)
        self._rewrite(self.agent.store_path, good)
        with self.subTest("open to others"):
            os.chmod(self.agent.store_path, 0o644)
            self._assert_refused(_EXIT_STORE, self.agent.store_path)
            os.chmod(self.agent.store_path, 0o600)
        self._assert_starts()

    def test_a_second_instance_on_one_store(self):
        self.agent.start()
        second = Agent(self.subdirectory("second"), changes={
            "store": {"path": self.agent.store_path}, "kek": {"keyfile": self.agent.keyfile}})
        self.assertEqual(_EXIT_IN_USE, second.run_to_end(), second.tail())
        for word in (self.agent.store_path, "in use", str(self.agent.pid)):
            self.assertIn(word, second.stderr.text())
        self.assertEqual("kept", self.agent.cli().ok("get", "team/secret"))
        self.agent.stop()
        self._assert_starts()

    def test_a_socket_in_the_way(self):
        with open(self.agent.services_socket, "w", encoding="utf-8") as file:
            file.write("precious")
        self.assertEqual(5, self.agent.run_to_end(), self.agent.tail())
        self.assertIn(self.agent.services_socket, self.agent.stderr.text())
        with open(self.agent.services_socket, encoding="utf-8") as file:
            self.assertEqual("precious", file.read())
        os.remove(self.agent.services_socket)
        self._assert_starts()


if __name__ == "__main__":
    unittest.main(verbosity=2)
