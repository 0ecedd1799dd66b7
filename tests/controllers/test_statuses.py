"""What people read: statuses, conditions, Events, drift; and what nobody may read there."""

import ast
import asyncio
import logging
import traceback
from contextvars import Context
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.controllers.world import SETTINGS, World, condition, phase, reason_of, scenario
from tests.controllers.wrappers import CountingStore

import dbtether
from dbtether.api.kinds import KINDS
from dbtether.api.reasons import Reason
from dbtether.api.resource import Key, Resource
from dbtether.controllers.engine import opened_engine
from dbtether.controllers.executor import Recording
from dbtether.controllers.report import Level, Report, next_status
from dbtether.runtime.overlay import OverlayStore

_NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _resource(**fields: Any) -> Resource:
    return Resource(Key("Database", "team", "app"), "u", 3, "1", _NOW, {}, **fields)


def _report(level: Level, reason: str, message: str = "") -> Report:
    return Report(str(level), level, reason, message)


def test_a_report_that_says_the_same_later_changes_nothing() -> None:
    first = next_status(_resource(), _report(Level.READY, "Ready"), 3, _NOW)
    later = next_status(_resource(status=first), _report(Level.READY, "Ready"), 3, _NOW + timedelta(hours=1))
    assert later == first


def test_the_time_of_a_condition_moves_only_when_its_status_does() -> None:
    status: dict[str, Any] = {}
    times = []
    for hours, (level, reason) in enumerate(
        [
            (Level.STALLED, "InvalidSpec"),
            (Level.STALLED, "RoleNotOurs"),
            (Level.PROGRESSING, "Creating"),
            (Level.READY, "Ready"),
            (Level.READY, "DriftDetected"),
        ]
    ):
        now = _NOW + timedelta(hours=hours)
        status = next_status(_resource(status=status), _report(level, reason), 3, now)
        times.append(status["conditions"][0]["lastTransitionTime"][11:13])
    assert times == ["00", "00", "00", "03", "03"]
    assert [entry["type"] for entry in status["conditions"]] == ["Ready"]


def test_each_level_has_the_conditions_of_kstatus() -> None:
    found = {
        level: {c["type"]: c["status"] for c in next_status(_resource(), _report(level, "X"), 3, _NOW)["conditions"]}
        for level in Level
    }
    assert found == {
        Level.READY: {"Ready": "True"},
        Level.PROGRESSING: {"Ready": "False", "Reconciling": "True"},
        Level.STALLED: {"Ready": "False", "Stalled": "True"},
    }


def test_every_reason_that_is_used_is_explained() -> None:
    """The first argument of an error or report, and the values of the tables of SQLSTATEs."""
    package = Path(str(dbtether.__file__)).parent
    known = {reason.value for reason in Reason}
    unknown = {
        (reason, path.name)
        for folder in ("controllers", "postgres")
        for path in (package / folder).rglob("*.py")
        for reason in _reasons(ast.parse(path.read_text()))
        if reason not in known
    }
    assert unknown == set()


def _reasons(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    positions = {"Blocked": 0, "Retryable": 0, "Waiting": 0, "Report": 2, "record_event": 2}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            position = positions.get(name)
            if position is not None and len(node.args) > position:
                found |= _texts(node.args[position])
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Dict) and _is_table(node.target):
            found |= {text for value in node.value.values for text in _texts(value)}
    return found


def _is_table(target: ast.expr) -> bool:
    return getattr(target, "id", "") in ("RETRYABLE", "BLOCKED")


def _texts(node: ast.expr) -> set[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return {node.value}
    if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "get":
        return _texts(node.args[-1])
    return set()


# ---- on a real server


async def apply_all(world: World, **database: Any) -> None:
    await world.cluster()
    await world.database(**database)
    await world.user()
    await world.settled_and_ready()


@pytest.mark.majors(18)
@scenario
async def test_every_field_of_a_status_is_declared(world: World) -> None:
    """The API server drops what the CRD does not know, and the next pass would write it again, for ever."""
    await apply_all(world, extensions=["pg_trgm"], settings={"statement_timeout": "5s"})
    await world.user(settings={"statement_timeout": "5s"})
    await world.settle()
    for resource in await world.everything():
        model = KINDS[resource.key.kind].status
        assert set(resource.status) <= {field.alias for field in model.model_fields.values()}
        assert model.model_validate(resource.status).dump() == resource.status


@pytest.mark.majors(18)
@scenario
async def test_a_spec_changed_during_a_reconcile_is_not_claimed_to_be_applied(world: World) -> None:
    await apply_all(world)
    first = await world.change(world.database_key(), connectionLimit=5)
    generation = first.generation

    class ChangingStore(CountingStore):
        """Somebody changes the spec while the new generation is being applied."""

        async def record_event(self, resource: Resource, *rest: Any) -> None:
            await super().record_event(resource, *rest)
            if not changed:
                changed.append(True)
                # As somebody else: what a reconcile writes itself does not wake it.
                change = world.change(world.database_key(), connectionLimit=6)
                await asyncio.create_task(change, context=Context())
                seen.append((await world.get(world.database_key())).generation)

        async def write_status(self, resource: Resource, status: Any) -> Resource:
            if resource.key.kind == "Database":
                seen.append(status["observedGeneration"])
            return await super().write_status(resource, status)

    changed: list[bool] = []
    seen: list[int] = []
    await world.settle(store=ChangingStore(world.store))
    assert seen == [generation + 1, generation, generation + 1]
    await world.assert_ready()


@pytest.mark.majors(18)
@scenario
async def test_a_changed_database_does_not_unsettle_its_users(world: World) -> None:
    await apply_all(world)
    await world.change(world.database_key(), connectionLimit=5)
    counting = CountingStore(world.store)
    await world.settle(store=counting)
    assert not [write for write in counting.writes if "DatabaseUser" in write]


@pytest.mark.majors(18)
@scenario
async def test_lists_hold_fifty_entries_and_a_count(world: World) -> None:
    await world.cluster()
    for number in range(52):
        await world.database(f"d{number:02}")
    await world.user(databases=[world.ref(f"d{number:02}") for number in range(52)])
    await world.settled_and_ready()
    status = await world.status(world.user_key())
    assert (len(status["databases"]), status["databasesCount"]) == (50, 52)
    assert status["databasesSummary"].endswith("(+51)")


@pytest.mark.majors(18)
@scenario
async def test_drift_is_only_reported_when_that_is_wanted_and_told_once(world: World) -> None:
    await apply_all(world, driftPolicy="Report")
    key = world.database_key()
    world.execute("ALTER DATABASE {} CONNECTION LIMIT 3", world.named())
    for _ in range(2):
        await world.settle()
    status = await world.status(key)
    assert status["driftCount"] == 1
    assert status["drift"] == [f"Set the connection limit of database {world.named()} to -1"]
    assert condition(await world.get(key))["reason"] == "DriftDetected"  # type: ignore[index]
    told = [event for event in world.store.events(key) if event.reason == "DriftDetected"]
    assert [(event.type.value, event.count) for event in told] == [("Warning", 1)]
    world.execute("ALTER DATABASE {} CONNECTION LIMIT 4", world.named())
    world.execute("GRANT CONNECT ON DATABASE {} TO PUBLIC", world.named())
    await world.settle()
    assert (await world.status(key))["driftCount"] == 2
    assert len([event for event in world.store.events(key) if event.reason == "DriftDetected"]) == 2
    await world.change(key, driftPolicy="Repair")
    await world.settled_and_ready()
    assert "drift" not in await world.status(key)
    assert await world.plan() == {}


@pytest.mark.majors(18)
@scenario
async def test_an_outage_does_not_turn_reporting_into_repairing(world: World) -> None:
    await apply_all(world, driftPolicy="Report")
    world.execute("ALTER DATABASE {} CONNECTION LIMIT 3", world.named())
    await world.admin_secret(password=b"wrong")
    await world.settle()
    assert phase(await world.get(world.database_key())) == "Waiting"
    await world.admin_secret()
    await world.settle()
    assert await world.reason(world.database_key()) == "DriftDetected"
    assert world.rows("SELECT datconnlimit FROM pg_database WHERE datname = %s", world.named()) == [(3,)]


@pytest.mark.majors(18)
@scenario
async def test_a_vanished_database_is_not_ready_where_drift_is_only_reported(world: World) -> None:
    await apply_all(world, driftPolicy="Report")
    world.execute("DROP DATABASE {} WITH (FORCE)", world.named())
    await world.settle()
    database = await world.get(world.database_key())
    assert (phase(database), reason_of(database)) == ("Failed", "DriftDetected")


@pytest.mark.majors(15, 18)
@scenario
async def test_no_secret_is_shown_anywhere(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    recording = Recording()
    await world.cluster()
    await world.database()
    await world.user()
    await world.settle(store=OverlayStore(world.store), executor=recording)
    await world.settle()
    hidden = {await world.password(), world.admin.password}
    await world.edit_secret(f"{world.login()}-credentials", password=b"Edited-by-hand-1")
    await world.settle()
    await world.edit_secret(f"{world.login()}-credentials", password=b"nul\0Edited-by-hand-2")
    await world.admin_secret(password=b"Wrong-admin-password")
    await world.settle()
    hidden |= {"Edited-by-hand-1", "Edited-by-hand-2", "Wrong-admin-password", "SCRAM-SHA-256"}
    shown = [caplog.text, repr(recording.planned), repr(await world.everything())]
    shown += [repr(world.store.events(resource.key)) for resource in await world.everything()]
    shown += [repr(await world.store.list_secrets())]
    for _, _, error in world.outcomes:
        if error is not None:
            shown += traceback.format_exception(error)
    for text in hidden:
        assert not any(text in place for place in shown)


@pytest.mark.majors(18)
@scenario
async def test_engines_show_no_secret_in_what_they_hold(world: World) -> None:
    await world.cluster()
    async with opened_engine(world.store, settings=replace(SETTINGS, workers=2)) as engine:
        await engine.loop.run_until_settled(10)
        (server,) = engine.world.servers.opened().values()
        assert world.admin.password not in repr(server.parameters)
        assert world.admin.password not in repr(engine.world)
        assert world.admin.password not in repr(vars(engine.world.servers))
