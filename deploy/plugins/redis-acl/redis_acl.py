# SPDX-License-Identifier: Apache-2.0
"""Passwords of a Redis ACL user, two at a time.

A new password is added beside the one in use; revoking removes the old one and closes the user's
connections, which Redis would otherwise let go on. The server is only ever handed the SHA-256 of a
password, which is also its id.
"""

import hashlib

import redis

import keyturn_plugin as keyturn
from keyturn.plugin.v1 import provider_pb2 as pb

TIMEOUT_SECONDS = 10
PASSWORDS_MAX = 2
PERSIST = {"none": (), "acl_save": ("ACL", "SAVE"), "config_rewrite": ("CONFIG", "REWRITE")}
PARAMS = ("host", "port", "socket", "user", "tls", "ca_file", "persist", "spare_younger")


class Settings:
    def __init__(self, config):
        params = keyturn.Params(config, PARAMS)
        if config.endpoint:
            raise keyturn.Problem("endpoint", "is not used; give params.host and params.port")
        self.socket = params.text("socket", "", r"/[^\x00-\x1f\x7f]{1,106}")
        self.host = params.text("host", "" if self.socket else None)
        if self.socket and self.host:
            raise keyturn.Problem("params.socket", "does not go with params.host")
        self.port = params.number("port", 6379, 65535)
        self.user = params.text("user", pattern=r"[^\x00-\x20\x7f-\U0010ffff]{1,128}")
        self.tls = params.choice("tls", ("yes", "no"), "no" if self.socket else "yes") == "yes"
        self.ca_file = params.text("ca_file", "")
        self.persist = params.choice("persist", tuple(PERSIST), "none")
        self.spare_younger = params.seconds("spare_younger")

    def connect(self, user, password):
        """A connection that has authenticated."""
        common = {"username": user, "password": password, "socket_timeout": TIMEOUT_SECONDS}
        if self.socket:
            connection = redis.UnixDomainSocketConnection(path=self.socket, **common)
        else:
            where = {"host": self.host, "port": self.port,
                     "socket_connect_timeout": TIMEOUT_SECONDS}
            if self.tls:
                connection = redis.SSLConnection(
                    ssl_cert_reqs="required", ssl_check_hostname=True,
                    ssl_ca_certs=self.ca_file or None, **where, **common)
            else:
                connection = redis.Connection(**where, **common)
        connection.connect()
        return connection


class Session:
    """Commands as the manager."""

    def __init__(self, settings, manager):
        try:
            self._connection = settings.connect(manager.text("username", "default"),
                                                manager.text("password", manager.primary()))
        except redis.RedisError as error:
            raise (keyturn.Rejected("manager_refused") if _login_refused(error)
                   else keyturn.Transient("connect")) from None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._connection.disconnect()

    def run(self, *command):
        """The reply. What the server refused had no effect; a lost reply is in doubt."""
        try:
            self._connection.send_command(*command, check_health=False)
            return self._connection.read_response()
        except redis.BusyLoadingError:
            raise keyturn.Transient("loading") from None
        except redis.ResponseError as error:
            raise _refusal(error) from None
        except redis.RedisError:
            raise keyturn.Unknown("reply_lost") from None

    def passwords(self, user):
        """(hashes, whether the user may log in)."""
        reply = self.run("ACL", "GETUSER", user)
        if reply is None:
            raise keyturn.Rejected("user_missing")
        fields = dict(zip(reply[::2], reply[1::2]))
        flags = {flag.decode() for flag in fields[b"flags"]}
        if "nopass" in flags:
            raise keyturn.Rejected("user_needs_no_password")
        return [entry.decode().removeprefix("#") for entry in fields[b"passwords"]], "on" in flags

    def persist(self, settings):
        if settings.persist == "none":
            return
        try:
            self.run(*PERSIST[settings.persist])
        except keyturn.Ended:
            # Done, but it would not outlive the server's restart: the same again is harmless.
            raise keyturn.Unknown("not_persisted") from None


def _login_refused(error):
    # Older releases of the library have no class for this reply.
    return isinstance(error, redis.AuthenticationError) or str(error).startswith("WRONGPASS")


def _refusal(error):
    if isinstance(error, redis.exceptions.NoPermissionError):
        return keyturn.Rejected("not_permitted")
    if isinstance(error, (redis.ReadOnlyError, redis.exceptions.TryAgainError)):
        return keyturn.Transient("read_only")
    return keyturn.Rejected("refused")


class RedisAcl(keyturn.Plugin):
    def describe(self, config):
        Settings(config)
        traits = pb.Traits(provider_class=pb.CHOSEN, key_limit=PASSWORDS_MAX, can_verify=True,
                           can_list=True, can_revoke=True, secret_length=43)
        traits.propagation.FromSeconds(5)
        traits.settle.FromSeconds(2 * TIMEOUT_SECONDS)
        traits.cached_for.FromSeconds(0)
        return traits

    def create(self, config, manager, request):
        settings = Settings(config)
        digest = hashlib.sha256(request.secret).hexdigest()
        with Session(settings, manager) as session:
            passwords, _ = session.passwords(settings.user)
            if digest not in passwords:
                if len(passwords) >= PASSWORDS_MAX:
                    raise keyturn.Limited("two_passwords")
                session.run("ACL", "SETUSER", settings.user, f"#{digest}")
            session.persist(settings)
        return keyturn.Key(
            id=digest, primary="password", public=("username",),
            fields={"username": settings.user, "password": request.secret.decode("ascii")})

    def list(self, config, manager):
        settings = Settings(config)
        with Session(settings, manager) as session:
            passwords, enabled = session.passwords(settings.user)
        return [keyturn.ListedKey(id=entry, dead=not enabled) for entry in passwords]

    def verify(self, config, key):
        settings = Settings(config)
        try:
            settings.connect(key.text("username", settings.user), key.primary()).disconnect()
        except redis.RedisError as error:
            raise (keyturn.Rejected("login_refused") if _login_refused(error)
                   else keyturn.Transient("connect")) from None

    def revoke(self, config, manager, key_id):
        settings = Settings(config)
        with Session(settings, manager) as session:
            passwords, _ = session.passwords(settings.user)
            if key_id in passwords:
                session.run("ACL", "SETUSER", settings.user, f"!{key_id}")
            session.persist(settings)
            self._close_connections(session, settings)

    @staticmethod
    def _close_connections(session, settings):
        """Redis does not tell with which password a connection came: all go, but the young ones
        that the resource spares."""
        own = session.run("CLIENT", "ID")
        for line in session.run("CLIENT", "LIST").decode("utf-8", "replace").splitlines():
            fields = dict(part.partition("=")[::2] for part in line.split(" "))
            if fields.get("user") != settings.user or int(fields["id"]) == own:
                continue
            if int(fields["age"]) >= settings.spare_younger:
                session.run("CLIENT", "KILL", "ID", fields["id"])


if __name__ == "__main__":
    keyturn.serve(RedisAcl())
