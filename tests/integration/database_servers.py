# SPDX-License-Identifier: Apache-2.0
"""Debian's PostgreSQL and Redis as throw-away servers of a test.

Each has its own directory below the test's, listens on a unix socket only, and runs as a user
without rights when the tests run as root. Needs postgresql, python3-psycopg2, redis-server and
python3-redis (scripts/packages integration).
"""

import glob
import os
import pwd
import signal
import subprocess

import psycopg2
import redis

from processes import Process, wait_until


def unprivileged():
    """(uid, gid) for a server that refuses to be root, or Nones when we are not root."""
    if os.getuid() != 0:
        return None, None
    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid


def _own_directory(path):
    os.makedirs(path, mode=0o755, exist_ok=True)
    uid, gid = unprivileged()
    if uid is not None:
        os.chown(path, uid, gid)
    return path


class PostgresServer(Process):
    """A cluster with the superuser `admin`, which logs every statement."""

    clean_exit_codes = (0,)

    def __init__(self, directory, *, admin_password):
        self.directory = _own_directory(directory)
        self.data = os.path.join(self.directory, "data")
        self.admin_password = admin_password
        self.programs = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
        self._make_cluster()
        super().__init__(
            [os.path.join(self.programs, "postgres"), "-D", self.data, "-k", self.directory,
             "-c", "listen_addresses=", "-c", "log_statement=all", "-c", "fsync=off",
             "-c", "log_connections=on", "-c", "max_connections=50"],
            name="postgres", uid=unprivileged()[0], env={"LC_ALL": "C.UTF-8"})

    def _make_cluster(self):
        uid, gid = unprivileged()
        password_file = os.path.join(self.directory, "admin")
        with open(password_file, "w", encoding="utf-8") as file:
            file.write(self.admin_password + "\n")
        os.chmod(password_file, 0o644)
        identity = {} if uid is None else {"user": uid, "group": gid, "extra_groups": []}
        subprocess.run(
            [os.path.join(self.programs, "initdb"), "-D", self.data, "-U", "admin", "-E", "UTF8",
             "--locale=C.UTF-8", "--auth=scram-sha-256", "--no-sync", f"--pwfile={password_file}"],
            check=True, capture_output=True, cwd="/", **identity)

    def wait_ready(self, deadline):
        def accepting():
            try:
                self.connect("admin", self.admin_password).close()
                return True
            except psycopg2.OperationalError:
                return False
        wait_until(accepting, deadline, "PostgreSQL to accept connections")

    def connect(self, user, password):
        return psycopg2.connect(host=self.directory, dbname="postgres", user=user,
                                password=password, connect_timeout=10)

    def run(self, statement, values=()):
        """As admin; the rows, if any."""
        connection = self.connect("admin", self.admin_password)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def logs_in(self, user, password):
        try:
            self.connect(user, password).close()
            return True
        except psycopg2.OperationalError:
            return False

    def stop(self, deadline=30):
        # "Fast shutdown": sessions are ended rather than waited for.
        if self.running:
            self.signal(signal.SIGINT)
            self.wait(deadline)
        return super().stop(deadline)


class RedisServer(Process):
    """With the ACL users `admin`, who may do everything, and `app`, who has no password yet."""

    def __init__(self, directory, *, admin_password):
        self.directory = _own_directory(directory)
        self.socket = os.path.join(self.directory, "redis.sock")
        self.acl_file = os.path.join(self.directory, "users.acl")
        self.admin_password = admin_password
        uid, gid = unprivileged()
        with open(self.acl_file, "w", encoding="utf-8") as file:
            file.write(f"user default off\nuser admin on >{admin_password} ~* &* +@all\n"
                       "user app on resetpass ~* +@all -@admin\n")
        if uid is not None:
            os.chown(self.acl_file, uid, gid)
        super().__init__(
            ["/usr/bin/redis-server", "--port", "0", "--unixsocket", self.socket,
             "--aclfile", self.acl_file, "--dir", self.directory, "--save", ""],
            name="redis-server", uid=uid)

    def wait_ready(self, deadline):
        def accepting():
            return os.path.exists(self.socket) and self.logs_in("admin", self.admin_password)
        wait_until(accepting, deadline, "Redis to accept connections")

    def connect(self, user, password):
        connection = redis.UnixDomainSocketConnection(path=self.socket, username=user,
                                                      password=password, socket_timeout=10)
        connection.connect()
        return connection

    def logs_in(self, user, password):
        try:
            self.connect(user, password).disconnect()
            return True
        except redis.RedisError:
            return False

    def run(self, *command):
        connection = self.connect("admin", self.admin_password)
        try:
            connection.send_command(*command)
            return connection.read_response()
        finally:
            connection.disconnect()

    def passwords(self):
        """The hashes of app's passwords."""
        reply = self.run("ACL", "GETUSER", "app")
        fields = dict(zip(reply[::2], reply[1::2]))
        return [entry.decode() for entry in fields[b"passwords"]]
