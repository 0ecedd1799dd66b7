"""A world whose Restores are done by child processes, from backups in a folder of the test's own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, LiteralString

from tests.controllers.backups import QUICK, STORAGE, Backups, backup_key
from tests.controllers.world import TEAM, reason_of

from dbtether.api.resource import Key, Resource
from dbtether.postgres.roles.model import role_names


def restore_key(name: str = "back", namespace: str = TEAM) -> Key:
    return Key("Restore", namespace, name)


@dataclass(slots=True)
class Restores(Backups):
    """What people do with Restores, and what they see."""

    async def app(self, rows: int = 1000, **changes: Any) -> None:
        """A Ready Database with a table that one of its two users has made, and the storage."""
        (self.folder / "backups").mkdir(exist_ok=True)
        await self.world.cluster()
        await self.world.database(**changes)
        await self.world.store.apply_resource(STORAGE, {"local": {"path": "backups"}})
        await self.world.user("reader")
        await self.world.user("maker", privileges="admin")
        await self.settle()
        await self.as_maker("CREATE TABLE orders (id int PRIMARY KEY, note text)")
        with self.world.admin.server.connect(dbname=self.world.named()) as connection:
            connection.execute("INSERT INTO orders SELECT n, md5(n::text) FROM generate_series(1, %s) n", (rows,))

    async def as_maker(self, query: LiteralString, name: str = "maker", database: str = "app") -> None:
        """Run SQL as the application's migrations do."""
        password = await self.world.password(name)
        with self.world.logged_in(self.world.login(name), password, self.world.named(database)) as connection:
            connection.execute(query)

    async def backed_up(self, name: str = "nightly", **changes: Any) -> Mapping[str, Any]:
        """The status of a backup that is complete."""
        await self.apply(name, filenameTemplate=f"{name}.sql.gz", **changes)
        await self.settle()
        status = await self.status(name)
        assert status["phase"] == "Completed", status
        return status

    async def restore(
        self, name: str = "back", namespace: str = TEAM, *, annotations: Mapping[str, str] | None = None, **changes: Any
    ) -> Resource:
        spec = {
            "source": {"backupRef": {"name": "nightly"}},
            "target": {"databaseRef": self.world.ref()},
            **changes,
        }
        return await self.world.store.apply_resource(restore_key(name, namespace), spec, annotations=annotations)

    async def restored(self, name: str = "back", **changes: Any) -> Mapping[str, Any]:
        """The status of a Restore once it has ended."""
        await self.restore(name, **changes)
        await self.settle()
        return await self.restore_status(name)

    async def restore_status(self, name: str = "back", namespace: str = TEAM) -> Mapping[str, Any]:
        return await self.world.status(restore_key(name, namespace))

    async def restore_reason(self, name: str = "back", namespace: str = TEAM) -> str:
        return reason_of(await self.world.get(restore_key(name, namespace)))

    def count(self, database: str = "app") -> int:
        """How many orders there are."""
        return int(self.world.rows("SELECT count(*) FROM orders", dbname=self.world.named(database))[0][0])

    def databases(self) -> list[str]:
        """The databases of this test, without its own name."""
        found = self.world.rows("SELECT datname FROM pg_database WHERE strpos(datname, %s) > 0", self.world.unique)
        return sorted(row[0].removeprefix(f"{self.world.unique}_") for row in found)

    def owners(self, database: str = "app") -> set[str]:
        """Who owns the tables."""
        rows = self.world.rows(
            "SELECT DISTINCT tableowner::text FROM pg_tables WHERE schemaname = 'public'",
            dbname=self.world.named(database),
        )
        return {row[0] for row in rows}

    def admins(self, database: str = "app") -> str:
        return next(
            name for group, name in role_names(self.world.named(database)).groups.items() if group.value == "admin"
        )

    def assert_no_run_left(self) -> None:
        """Neither a run's login nor a database that it loaded into."""
        runs = self.world.rows("SELECT rolname FROM pg_roles WHERE starts_with(rolname, 'dbtether_run_')")
        mine = [row[0] for row in runs]
        assert not [name for name in self.databases() if "__restore_" in name]
        assert mine == []


__all__ = ["QUICK", "Restores", "backup_key", "restore_key"]
