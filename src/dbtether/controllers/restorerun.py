"""What a Restore does on the server around its load: it judges, prepares, learns of the COMMIT, and records."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dbtether.api.names import Group
from dbtether.api.resource import Key, Resource
from dbtether.api.restore import OnConflict, RestoreSpec
from dbtether.backup.restore.model import Findings, LoadWay, Rules
from dbtether.controllers.backuprun import end_run, expiry
from dbtether.controllers.base import World
from dbtether.controllers.restorejobs import LoadPlace
from dbtether.controllers.restorejudge import Case, extensions_of, judge, staging_locale
from dbtether.controllers.restoresource import Source
from dbtether.controllers.restorestate import Run
from dbtether.controllers.restoretarget import RestoredDatabase
from dbtether.errors import Retryable
from dbtether.postgres.connection import ConnectParameters
from dbtether.postgres.databases.model import DesiredDatabase, DesiredExtension, DesiredSchema
from dbtether.postgres.databases.plan import inside_statements
from dbtether.postgres.dumps.model import DesiredRunLogin, run_comment, run_login_name
from dbtether.postgres.guards import Verdict
from dbtether.postgres.passwords import generate_password, scram_verifier
from dbtether.postgres.restores.looking import look_at_drop, look_at_login, look_at_staging
from dbtether.postgres.restores.model import Completed, DesiredStaging, RestoreTarget, committed_run, staging_name
from dbtether.postgres.restores.plan import (
    extensions_for,
    plan_drop_staging,
    plan_login,
    plan_record,
    plan_staging,
    staging_database,
)
from dbtether.postgres.roles.plan import administrator_of
from dbtether.postgres.roles.sessions import ended_sessions
from dbtether.postgres.server.looking import look_from_outside, look_inside
from dbtether.postgres.statement import Statement

_PASSWORD_LENGTH = 32


@dataclass(frozen=True, slots=True)
class Judged:
    """What was found out about the target, and whether the load may begin."""

    case: Case
    verdict: Verdict

    @property
    def way(self) -> LoadWay:
        """How it is loaded."""
        return self.case.way


async def rules_for(target: RestoredDatabase, source: Source) -> Rules:
    """The rules that the source's statements are first judged by. Raises Retryable or Blocked."""
    return _rules(target, source, await _contents(target), None)


def _rules(target: RestoredDatabase, source: Source, contents: RestoreTarget, schemas: frozenset[str] | None) -> Rules:
    return Rules(
        server_major=target.server.facts.major,
        existing_schemas=frozenset({"public"}) | (contents.schemas if schemas is None else schemas),
        kept_grantees=contents.grantees if _is_of_this_database(target, source) else frozenset(),
    )


def _is_of_this_database(target: RestoredDatabase, source: Source) -> bool:
    """Whether roles of the dump are the roles of this server: another one's may be somebody else's here."""
    if source.manifest is None or not source.is_ours:
        return False
    dumped, facts = source.manifest.source, target.server.facts
    is_same_server = bool(dumped.server_identity) and dumped.server_identity == facts.system_identifier
    return is_same_server and (dumped.namespace, dumped.resource, dumped.database) == (
        target.key.namespace,
        target.key.name,
        target.name,
    )


async def _contents(target: RestoredDatabase) -> RestoreTarget:
    return await target.server.restore_target(target.name, target.desired.roles)


# -- the judgement


async def judged(spec: RestoreSpec, target: RestoredDatabase, source: Source, findings: Findings, run: Run) -> Judged:
    """Look at the target, and judge. Raises Retryable or Blocked."""
    server, desired = target.server, target.desired
    outside = await look_from_outside(server, desired)
    if outside.database is None:
        raise Retryable("DatabaseNotReady", f"Database {target.name} is not on the server; trying again")
    needed = extensions_of(findings, source.manifest, is_ours=source.is_ours)
    names = sorted({item.name for item in (*desired.extensions, *needed)})
    fresh = await server.inside(None, target.name, names)
    extensions = extensions_for(desired, needed, fresh.available if fresh is not None else ())
    wanted = _with_extensions(desired, extensions)
    locale = staging_locale(desired, outside.database, source.manifest, is_ours=source.is_ours)
    staging = DesiredStaging(desired, run.id, locale, extensions)
    roles = await server.shared(findings.roles)
    case = Case(
        on_conflict=spec.on_conflict,
        is_drill=spec.verify_only,
        is_ours=source.is_ours,
        findings=findings,
        wanted=wanted,
        target=await look_inside(server, wanted, outside),
        contents=await _contents(target),
        staging=staging,
        beside=await look_at_staging(server, staging),
        roles=frozenset(roles.roles),
    )
    return Judged(case, judge(case))


def _with_extensions(desired: DesiredDatabase, extensions: Sequence[DesiredExtension]) -> DesiredDatabase:
    """The Database's own database as it must be for the load; nothing is taken from it for that."""
    wanted = replace(desired, extensions=tuple(extensions), drop_extensions=False)
    known = {schema.name for schema in desired.schemas} | {"public"}
    missing = sorted({item.schema for item in wanted.extensions if item.schema is not None} - known)
    return replace(wanted, schemas=(*desired.schemas, *(DesiredSchema(name) for name in missing)))


# -- the place that is loaded into


async def prepare(
    world: World, restore: Resource, target: RestoredDatabase, source: Source, found: Judged, run: Run
) -> LoadPlace:
    """Make what the load needs beforehand, with nothing left of an earlier attempt. Raises Retryable or Blocked."""
    await drop_staging(world, restore, target, run)
    await end_run(target.server, restore.key, run.id)
    case, server = found.case, target.server
    if run.way is LoadWay.STAGING:
        database = case.staging.name
        statements = plan_staging(case.staging, await look_at_staging(server, case.staging))
        schemas = frozenset(schema.name for schema in staging_database(case.staging, server.facts).schemas)
    else:
        database = target.name
        statements = _missing_inside(case)
        wanted = {schema.name for schema in case.wanted.schemas}
        drops = case.on_conflict is OnConflict.OVERWRITE
        schemas = frozenset(wanted) | (case.contents.surviving_schemas(wanted) if drops else case.contents.schemas)
    await world.executor.run(restore.key, target.cluster, server, statements)
    return LoadPlace(
        parameters=await _make_login(world, restore, target, database, run),
        database=database,
        owner=target.desired.roles.groups[Group.ADMIN],
        server_major=server.facts.major,
        rules=_rules(target, source, case.contents, schemas),
    )


def _missing_inside(case: Case) -> tuple[Statement, ...]:
    """The extensions that the target lacks, and their schemas."""
    inside = case.target.inside
    if inside is None:
        return ()
    installed = {extension.name for extension in inside.extensions}
    if installed >= {extension.name for extension in case.wanted.extensions}:
        return ()
    return tuple(inside_statements(case.wanted, case.target, inside))


async def _make_login(
    world: World, restore: Resource, target: RestoredDatabase, database: str, run: Run
) -> ConnectParameters:
    server, password, name = target.server, generate_password(_PASSWORD_LENGTH), run_login_name(run.id)
    key = restore.key
    desired = DesiredRunLogin(
        name=name,
        comment=run_comment(key.kind, key.namespace, key.name, world.store.installation),
        database=database,
        roles=target.desired.roles,
        groups=(Group.ADMIN,),
        expires=expiry(world.now(), None),
        verifier=scram_verifier(password, name),
    )
    observed = await look_at_login(server, name)
    await world.executor.run(key, target.cluster, server, plan_login(desired, observed))
    return replace(server.parameters, user=name, password=password)


async def drop_staging(world: World, restore: Resource, target: RestoredDatabase, run: Run) -> None:
    """Drop the database that the run has loaded into, if it is there. Raises Retryable or Blocked."""
    server, roles, name = target.server, target.desired.roles, staging_name(target.name, run.id)
    observed = await look_at_drop(server, name, roles)
    await world.executor.run(
        restore.key, target.cluster, server, plan_drop_staging(target.name, run.id, roles, observed)
    )


# -- the COMMIT and its record


async def was_committed(world: World, restore: Key, target: RestoredDatabase, run: Run) -> bool:
    """Whether the load was committed; asked once its job is over. Raises Retryable or Blocked.

    A server may still be at the COMMIT of a client that was killed: its session is ended first.
    """
    server, name = target.server, run_login_name(run.id)
    role = (await server.shared([name])).roles.get(name)
    if role is None:
        return False
    database = staging_name(target.name, run.id) if run.way is LoadWay.STAGING else target.name
    if any(session.user == name for session in await server.sessions(database)):
        statements = tuple(ended_sessions(server.facts, role, administrator_of(role, (), server.facts)))
        await world.executor.run(restore, target.cluster, server, statements)
        role = (await server.shared([name])).roles.get(name)
    return role is not None and committed_run(role, run.id)


async def record_completed(world: World, restore: Key, target: RestoredDatabase, run: Run) -> None:
    """Have the server remember that this restore was done, unless it does. Raises Retryable or Blocked."""
    server, group = target.server, target.desired.roles.groups[Group.READWRITE]
    async with server.lock(target.desired.roles.owner):
        role = (await server.shared([group])).roles.get(group)
        done = Completed(run.spec_hash, run.id)
        statements = plan_record(target.desired.roles, done, role, server.facts)
        await world.executor.run(restore, target.cluster, server, statements)
