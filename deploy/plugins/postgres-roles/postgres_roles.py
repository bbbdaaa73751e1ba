# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL passwords, by turns on two roles of equal rights.

While one role is in use, the other gets a password that the agent chose; so the old password goes
on working until it is revoked. The server is handed a SCRAM-SHA-256 verifier (RFC 5802, RFC 7677)
computed here: the password itself appears in no statement, and so in no log of the server.
"""

import base64
import datetime
import hashlib
import hmac
import os
import threading

import psycopg2
from psycopg2 import errors, sql

import keyturn_plugin as keyturn
from keyturn.plugin.v1 import provider_pb2 as pb

CONNECT_SECONDS = 10
STATEMENT_MS = 10_000
ITERATIONS = 4096
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
PARAMS = ("host", "port", "database", "role_a", "role_b", "sslmode", "sslrootcert", "valid_for")

# What the server says when it refuses a login for good. It translates its messages, so this takes
# lc_messages C or English; anything else leaves the verdict open.
REFUSALS = ("password authentication failed", "is not permitted to log in")


def scram_verifier(password, salt, iterations=ITERATIONS):
    """What pg_authid holds for this password."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    def encode(data):
        return base64.b64encode(data).decode()
    stored_key = hashlib.sha256(client_key).digest()
    return (f"SCRAM-SHA-256${iterations}:{encode(salt)}"
            f"${encode(stored_key)}:{encode(server_key)}")


class Settings:
    def __init__(self, config):
        params = keyturn.Params(config, PARAMS)
        if config.endpoint:
            raise keyturn.Problem("endpoint", "is not used; give params.host and params.port")
        self.host = params.text("host")
        self.port = params.number("port", 5432, 65535)
        self.database = params.text("database", "postgres")
        self.sslmode = params.choice("sslmode", SSL_MODES, "verify-full")
        self.sslrootcert = params.text("sslrootcert", "")
        self.valid_for = params.seconds("valid_for")
        self.role_a = params.text("role_a", pattern=r"[^\x00-\x20\x7f-\U0010ffff]{1,63}")
        self.role_b = params.text("role_b", pattern=r"[^\x00-\x20\x7f-\U0010ffff]{1,63}")
        if self.role_a == self.role_b:
            raise keyturn.Problem("params.role_b", "must be another role than role_a")
        if self.role_a.startswith("pg_") or self.role_b.startswith("pg_"):
            raise keyturn.Problem("params.role_a", "must not be one of the server's own roles")

    @property
    def roles(self):
        return (self.role_a, self.role_b)

    def connect(self, user, password, **more):
        return psycopg2.connect(
            host=self.host, port=self.port, dbname=self.database, user=user, password=password,
            sslmode=self.sslmode, sslrootcert=self.sslrootcert or None,
            connect_timeout=CONNECT_SECONDS, application_name="keyturn", passfile="/dev/null",
            **more)


class Session:
    """Statements as the manager, each of which is a transaction of its own."""

    def __init__(self, settings, manager):
        user = manager.text("username")
        if user is None:
            raise keyturn.Rejected("manager_without_username")
        try:
            self._connection = settings.connect(
                user, manager.text("password", manager.primary()),
                options=f"-c statement_timeout={STATEMENT_MS}")
        except psycopg2.Error as error:
            refused = any(text in str(error) for text in REFUSALS)
            raise (keyturn.Rejected("manager_refused") if refused
                   else keyturn.Transient("connect")) from None
        self._connection.autocommit = True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._connection.close()

    def run(self, statement, values=()):
        """The rows, if any. What the server refused had no effect; a lost reply is in doubt."""
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(statement, values)
                return cursor.fetchall() if cursor.description else []
        except errors.InsufficientPrivilege:
            raise keyturn.Rejected("not_permitted") from None
        except errors.UndefinedObject:
            raise keyturn.Rejected("role_missing") from None
        except psycopg2.Error as error:
            ending = not error.pgcode or error.pgcode.startswith(("57P", "XX", "58"))
            if ending:
                raise keyturn.Unknown("reply_lost") from None
            raise keyturn.Transient(f"sqlstate_{error.pgcode.lower()}") from None


class PostgresRoles(keyturn.Plugin):
    def describe(self, config):
        Settings(config)
        traits = pb.Traits(provider_class=pb.CHOSEN, key_limit=2, can_verify=True, can_list=True,
                           can_revoke=True, secret_length=43)
        traits.propagation.FromSeconds(5)
        # A statement that was sent ends within its timeout, or with its connection.
        traits.settle.FromSeconds(2 * STATEMENT_MS // 1000)
        traits.cached_for.FromSeconds(0)
        return traits

    def create(self, config, manager, request):
        settings = Settings(config)
        password = request.secret.decode("ascii")
        role = settings.role_b if request.target == settings.role_a else settings.role_a
        expires_at = None
        valid_until = "infinity"
        if settings.valid_for:
            expires_at = (datetime.datetime.now(datetime.timezone.utc)
                          + datetime.timedelta(seconds=settings.valid_for))
            valid_until = expires_at.isoformat()
        with Session(settings, manager) as session:
            session.run(
                sql.SQL("ALTER ROLE {} WITH LOGIN PASSWORD {} VALID UNTIL {}").format(
                    sql.Identifier(role), sql.Literal(scram_verifier(password, os.urandom(16))),
                    sql.Literal(valid_until)))
        return keyturn.Key(
            id=role, fields={"username": role, "password": password}, primary="password",
            public=("username",),
            expires_at=expires_at and expires_at.replace(tzinfo=None))

    def list(self, config, manager):
        settings = Settings(config)
        with Session(settings, manager) as session:
            rows = session.run(
                "SELECT rolname, NOT rolcanlogin OR COALESCE(rolvaliduntil <= now(), false) "
                "FROM pg_catalog.pg_roles WHERE rolname = ANY(%s)", (list(settings.roles),))
        return [keyturn.ListedKey(id=name, dead=dead) for name, dead in rows]

    def verify(self, config, key):
        settings = Settings(config)
        user = key.text("username")
        if user not in settings.roles:
            raise keyturn.Transient("unknown_role")
        try:
            settings.connect(user, key.primary()).close()
        except psycopg2.Error as error:
            if any(text in str(error) for text in REFUSALS):
                raise keyturn.Rejected("login_refused") from None
            raise keyturn.Transient("connect") from None

    def revoke(self, config, manager, key_id):
        settings = Settings(config)
        if key_id not in settings.roles:
            raise keyturn.Rejected("unknown_role")
        with Session(settings, manager) as session:
            # First no new sessions, then none at all.
            session.run(sql.SQL("ALTER ROLE {} WITH NOLOGIN PASSWORD NULL").format(
                sql.Identifier(key_id)))
            self._end_sessions(session, key_id)

    @staticmethod
    def _end_sessions(session, role):
        pause = threading.Event()
        for _ in range(50):
            try:
                ended = session.run(
                    "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity "
                    "WHERE usename = %s AND pid <> pg_catalog.pg_backend_pid()", (role,))
            except keyturn.Rejected:
                raise keyturn.Rejected("sessions_not_ended") from None
            if not ended:
                return
            pause.wait(0.1)
        raise keyturn.Transient("sessions_not_ended")


if __name__ == "__main__":
    keyturn.serve(PostgresRoles())
