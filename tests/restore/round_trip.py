"""What a round trip needs: Databases that hold everything, on a server or two, and the program that people use."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow
from tests.cli.program import Body, Program, admin_secret, cluster, database, user
from tests.restore.compare import Snapshot, snapshot
from tests.restore.everything import Roles, fill
from tests.servers.fixtures import Admin
from tests.servers.server import Login, Server

from dbtether.api.names import Group
from dbtether.backup.clients import ClientPrograms
from dbtether.postgres.roles.model import role_names


@dataclass(slots=True)
class Place:
    """A server and its administrator, known to the program as a DBCluster, and two roles that are its own."""

    program: Program
    admin: Admin
    unique: str
    cluster: str = "pg"

    @property
    def server(self) -> Server:
        """The server itself."""
        return self.admin.server

    def named(self, resource: str) -> str:
        """The database of a resource."""
        return f"{self.unique}_{resource}"

    def roles(self, resource: str) -> Roles:
        """The roles that the objects of a database name."""
        group = role_names(self.named(resource)).groups[Group.ADMIN]
        return Roles(group, f"{self.unique}_reporter", f"{self.unique}_auditor")

    def make_roles(self) -> None:
        """Make the roles that are none of dbtether's."""
        with self.server.connect() as connection:
            for name in (f"{self.unique}_reporter", f"{self.unique}_auditor"):
                connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(name)))

    def manifests(self, *resources: str) -> list[Body]:
        """The DBCluster, and a Database with an admin user for each resource."""
        return [
            admin_secret(Login(self.admin.user, self.admin.password), f"admin-{self.cluster}"),
            cluster(
                self.server,
                self.cluster,
                credentialsSecretRef={"name": f"admin-{self.cluster}", "namespace": "ops"},
            ),
            *(
                body
                for name in resources
                for body in (
                    database(name, databaseName=self.named(name), clusterRef={"name": self.cluster}),
                    user(f"{self.unique}-{name}-dev", name, "admin"),
                )
            ),
        ]

    def apply(self, *resources: str) -> None:
        """Make the Databases, empty, and wait until each is Ready."""
        ran = self.program.run("apply", "-f", self.program.write(*self.manifests(*resources)))
        assert ran.code == 0, ran.err

    def fill(self, resource: str, major: int | None = None) -> None:
        """Make everything in a database, as its admin user does."""
        login = f"{self.unique}-{resource}-dev"
        password = self.program.secret("default", f"{login}-credentials")["password"]
        with psycopg.connect(self.server.dsn(login, password, self.named(resource)), autocommit=True) as connection:
            fill(connection, self.roles(resource), major)

    def look(self, resource: str) -> Snapshot:
        """What the database of a resource holds."""
        with self.inside(self.named(resource)) as connection:
            return snapshot(connection)

    @contextmanager
    def inside(self, name: str) -> Iterator[psycopg.Connection[TupleRow]]:
        """A connection of the superuser to a database."""
        with self.server.connect(dbname=name) as connection:
            yield connection

    def roles_moved(self, resource: str, to: "Place", other: str) -> dict[str, str]:
        """Which role of another database stands for which of this one's."""
        here, there = role_names(self.named(resource)), role_names(to.named(other))
        moved = {here.owner: there.owner}
        moved |= {here.groups[group]: there.groups[group] for group in here.groups}
        mine, theirs = self.roles(resource), to.roles(other)
        return moved | {mine.reporter: theirs.reporter, mine.auditor: theirs.auditor}


def load_with_psql(clients: ClientPrograms, server: Server, name: str, plain: bytes, role: str) -> None:
    """Load a plain dump as people do by hand, as a role that shall own all of it."""
    ran = subprocess.run(
        [clients.path("psql"), "-Xq", "-v", "ON_ERROR_STOP=1", "-d", server.dsn(dbname=name)],
        env={**os.environ, "PGOPTIONS": f"-c role={role}"},
        input=plain,
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr.decode()
