"""The demo's story, step by step, with the same functions that the commands run."""

import logging
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from dbtether.api.backup import DEFAULT_FILENAME_TEMPLATE
from dbtether.api.kinds import KINDS
from dbtether.api.resource import Key
from dbtether.backup.catalog import catalog
from dbtether.cli.apply import Applied, ApplyOptions, apply_wanted
from dbtether.cli.backup.destinations import destination
from dbtether.cli.backup.look import backup_table, verify_entry
from dbtether.cli.backup.take import TakeOptions, take_backup, taken_lines
from dbtether.cli.delete import DeleteOptions, delete_wanted
from dbtether.cli.demo.manifests import demo_manifests, write_manifests
from dbtether.cli.demo.stage import Stage
from dbtether.cli.exits import Exit
from dbtether.cli.plan import PlanOptions, plan_wanted
from dbtether.cli.planning import Plan, plan_lines
from dbtether.cli.settling import is_ready
from dbtether.cli.tables import resource_table
from dbtether.cli.wanted import read_wanted
from dbtether.embedded import EmbeddedServer
from dbtether.postgres.errors import primary_message
from dbtether.postgres.statement import MASK
from dbtether.runtime.local import LocalStore

_WAIT_SECONDS = 50.0
_READER, _ADMIN, _DATABASE, _OTHER = "my-app-readonly", "my-app-admin", "my_app", "billing"
_GROUP = "dbtether_my_app_readonly"


class Statements(logging.Handler):
    """Counts the statements that were run, by the audit log."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Count one."""
        self.count += 1


@dataclass(frozen=True, slots=True)
class Scene:
    """What all steps share."""

    stage: Stage
    server: EmbeddedServer
    folder: Path
    statements: Statements

    @property
    def manifests(self) -> Path:
        """The folder of the manifests."""
        return self.folder / "manifests"

    @property
    def state(self) -> str:
        """The state directory."""
        return str(self.folder / "state")

    async def apply(self) -> Applied:
        """`dbtether apply -f manifests/`."""
        self.statements.count = 0
        files = (str(self.manifests),)
        options = ApplyOptions(files, self.state, "demo", "default", _WAIT_SECONDS, False, False, "table", True, True)
        return await apply_wanted(options, read_wanted(files, "default"))

    async def plan(self) -> Plan:
        """`dbtether plan -f manifests/`."""
        files = (str(self.manifests),)
        options = PlanOptions(files, self.state, "demo", "default", _WAIT_SECONDS, False, False, "table")
        return await plan_wanted(options, read_wanted(files, "default"))

    async def password(self, user: str) -> str:
        """The password in the user's Secret."""
        with LocalStore.open(Path(self.state), read_only=True) as store:
            secret = await store.get_secret("default", f"{user}-credentials")
        assert secret is not None, "the user is Ready"
        return secret.data["password"].decode()

    async def ask(self, user: str, database: str, query: str) -> tuple[list[str], str]:
        """The rows of a query as text, or PostgreSQL's own error."""
        self.stage.sql(user, database, query)
        password = self.server.password if user == self.server.user else await self.password(user)
        rows, failure = await _asked(self.server, user, password, database, query)
        for row in rows:
            self.stage.line(row)
        if failure:
            self.stage.line(failure, style="red")
        return rows, failure


async def _asked(server: EmbeddedServer, user: str, password: str, database: str, query: str) -> tuple[list[str], str]:
    conninfo = make_conninfo("", host=server.host, port=server.port, user=user, password=password, dbname=database)
    try:
        connection = await psycopg.AsyncConnection.connect(conninfo, autocommit=True)
    except psycopg.OperationalError as error:
        return [], "FATAL: " + str(error).strip().splitlines()[0].rpartition("FATAL:")[2].strip()
    async with connection:
        try:
            cursor = await connection.execute(query.encode())
        except psycopg.Error as error:
            return [], f"ERROR: {primary_message(error)}"
        if cursor.description is None:
            return [], ""
        return [" | ".join(map(str, row)) for row in await cursor.fetchall()], ""


async def show_manifests(scene: Scene) -> None:
    """Write the manifests and say how they differ from the README's."""
    stage = scene.stage
    stage.step("Take the manifests of the README")
    bodies, changes = demo_manifests(scene.server)
    write_manifests(bodies, scene.manifests)
    width = max(len(change.subject) for change in changes)
    stage.line("changed for this server:", style="dim")
    for change in changes:
        stage.line(f"  {change.subject.ljust(width)}   {change.text}")


async def apply_first(scene: Scene) -> None:
    """Apply, and show the tables."""
    stage = scene.stage
    stage.step("Apply them")
    stage.command("dbtether apply -f manifests/")
    applied = await scene.apply()
    _tables(scene, applied)
    phases = {resource.key: resource.status.get("phase") for resource in applied.resources}
    stage.line()
    stage.check(phases.get(Key("DBCluster", "", "my-aurora-cluster")) == "Connected", "the DBCluster is Connected")
    stage.check(
        all(is_ready(resource) for resource in applied.resources) and len(applied.resources) == 5,
        f"both Databases and both DatabaseUsers are Ready, after {scene.statements.count} statements",
    )


def _tables(scene: Scene, applied: Applied) -> None:
    for kind in KINDS:
        scene.stage.line()
        mine = [resource for resource in applied.resources if resource.key.kind == kind]
        for line in resource_table(kind, mine, with_namespace=True):
            scene.stage.line(line)


async def show_credentials(scene: Scene) -> None:
    """The Secret of the user, its password masked."""
    stage = scene.stage
    stage.step("Get the credentials that were made")
    stage.command(f"dbtether credentials {_READER}")
    with LocalStore.open(Path(scene.state), read_only=True) as store:
        secret = await store.get_secret("default", f"{_READER}-credentials")
    stage.check(secret is not None, f"Secret default/{_READER}-credentials is there")
    assert secret is not None, "just checked"
    for key in ("host", "port", "database", "user"):
        stage.line(f"  {key.ljust(9)} {secret.data[key].decode()}")
    stage.line(f"  {'password'.ljust(9)} {MASK}   (printed by: dbtether credentials {_READER} --key password)")


async def log_in(scene: Scene) -> None:
    """What each user may do, shown by PostgreSQL itself."""
    stage = scene.stage
    stage.step("Log in as the users")
    _, failure = await scene.ask(_ADMIN, _DATABASE, "CREATE TABLE greeting (text text)")
    stage.check(not failure, f"{_ADMIN} creates a table")
    _, failure = await scene.ask(_ADMIN, _DATABASE, "INSERT INTO greeting VALUES ('Hello from dbtether')")
    stage.check(not failure, f"{_ADMIN} writes a row")
    rows, _ = await scene.ask(_READER, _DATABASE, "SELECT text FROM greeting")
    stage.check(rows == ["Hello from dbtether"], f"{_READER} reads it, although the table is newer than the user")
    _, failure = await scene.ask(_READER, _DATABASE, "INSERT INTO greeting VALUES ('me too')")
    stage.check("permission denied" in failure, f"{_READER} may not write")
    _, failure = await scene.ask(_READER, _OTHER, "SELECT 1")
    stage.check("permission denied" in failure, f"{_READER} may not even connect to another team's database")


async def break_and_repair(scene: Scene) -> None:
    """A grant that somebody took away is named by plan and given back by apply."""
    stage = scene.stage
    stage.step("Break a grant by hand, and have it repaired")
    await scene.ask(scene.server.user, _DATABASE, f"REVOKE SELECT ON greeting FROM {_GROUP}")  # noqa: S608 - a constant
    _, failure = await scene.ask(_READER, _DATABASE, "SELECT text FROM greeting")
    stage.check("permission denied" in failure, f"{_READER} cannot read any more")
    stage.command("dbtether plan -f manifests/")
    plan = await scene.plan()
    for line in plan_lines(plan):
        stage.line(line)
    purposes = [statement.purpose for _, statement in plan.statements]
    stage.check(len(purposes) == 1 and "SELECT" in purposes[0], "plan names exactly what is missing")
    stage.command("dbtether apply -f manifests/")
    applied = await scene.apply()
    repaired = all(is_ready(resource) for resource in applied.resources) and scene.statements.count == 1
    stage.check(repaired, "apply runs exactly that statement")
    rows, _ = await scene.ask(_READER, _DATABASE, "SELECT text FROM greeting")
    stage.check(rows == ["Hello from dbtether"], f"{_READER} reads again")


async def apply_again(scene: Scene) -> None:
    """Nothing to do."""
    stage = scene.stage
    stage.step("Apply once more")
    stage.command("dbtether apply -f manifests/")
    applied = await scene.apply()
    settled = all(is_ready(resource) for resource in applied.resources)
    stage.check(settled and scene.statements.count == 0, f"nothing to do: {scene.statements.count} statements")


async def back_up(scene: Scene) -> None:
    """A backup into a folder, what the folder tells of it, and the proof that it is whole."""
    stage = scene.stage
    stage.step("Take a backup")
    stage.command("dbtether backup my-app-db --to backups")
    place = destination(str(scene.folder / "backups"), "--to", make=True)
    options = TakeOptions("my-app-db", "default", "backups", None, scene.state, "table", verbose=False, is_quiet=True)
    manifest = await take_backup(options, DEFAULT_FILENAME_TEMPLATE, place)
    for told in taken_lines(manifest, place.url(manifest.key)):
        stage.line(told)
    stage.check(manifest.tables == {"public.greeting": 1}, "it holds the table and its row")
    stage.command("dbtether backup list --from backups")
    entries = await catalog(place.store)
    for line in backup_table(entries):
        stage.line(line)
    stage.check([entry.state for entry in entries] == ["Complete"], "the folder alone tells what is in it")
    stage.command(f"dbtether backup verify {manifest.key} --from backups")
    _, found, problem = await verify_entry(place, manifest.key, None)
    is_sound = problem is None and found is not None and found.object_sha256 == manifest.stored.sha256
    stage.check(is_sound, "read from end to end, it is what was written")


async def delete_all(scene: Scene) -> None:
    """Delete, and ask the server what is left."""
    stage = scene.stage
    stage.step("Delete everything")
    stage.command("dbtether delete -f manifests/")
    files = (str(scene.manifests),)
    options = DeleteOptions((), files, scene.state, None, "default", _WAIT_SECONDS, True, True)
    wanted = read_wanted(files, "default")
    code = await delete_wanted(options, wanted, [document.key for document in wanted.resources], stage.line)
    stage.check(code is Exit.OK, "every resource is gone")
    databases, _ = await scene.ask(
        scene.server.user, "postgres", "SELECT datname FROM pg_database WHERE NOT datistemplate"
    )
    roles, _ = await scene.ask(
        scene.server.user, "postgres", "SELECT rolname FROM pg_roles WHERE rolname NOT LIKE 'pg\\_%'"
    )
    stage.check(databases == ["postgres"] and roles == [scene.server.user], "nothing was left on the server")


STORY = (
    show_manifests,
    apply_first,
    show_credentials,
    log_in,
    break_and_repair,
    apply_again,
    back_up,
    delete_all,
)
