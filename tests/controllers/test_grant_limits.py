"""How far additional grants may go: what each privilege counts as, and how many different lists there is room for."""

import asyncio
from typing import Any

import pytest

from dbtether.api.database import DatabaseSpec
from dbtether.api.databaseuser import AdditionalGrant
from dbtether.api.dbcluster import DBClusterSpec
from dbtether.api.references import Privileges
from dbtether.api.resource import Key, Resource
from dbtether.controllers.engine import opened_engine
from dbtether.controllers.grants import MAX_GRANT_ROLES, highest_level, refuse_too_many, wanted_grant_groups
from dbtether.errors import Blocked
from dbtether.postgres.server.model import ServerFacts
from dbtether.runtime.overlay import MemoryStore

DATABASE = Key("Database", "team", "app")
FACTS = ServerFacts("15.1", 150001, "postgres", True, True, True, True, False, "7")
CLUSTER = DBClusterSpec.model_validate({"endpoint": "db", "credentialsFromEnv": {"username": "A", "password": "B"}})


def grants(*privileges: str) -> tuple[AdditionalGrant, ...]:
    return (AdditionalGrant.model_validate({"tables": ["t"], "privileges": list(privileges)}),)


@pytest.mark.parametrize(
    ("privileges", "level"),
    [
        (("SELECT",), Privileges.READONLY),
        (("SELECT", "INSERT"), Privileges.READWRITE),
        (("UPDATE",), Privileges.READWRITE),
        (("DELETE",), Privileges.READWRITE),
        (("TRUNCATE", "SELECT"), Privileges.ADMIN),
        (("REFERENCES",), Privileges.ADMIN),
        (("TRIGGER",), Privileges.ADMIN),
        (("MAINTAIN",), Privileges.ADMIN),
    ],
)
def test_a_privilege_counts_as_the_lowest_level_that_has_it(privileges: tuple[str, ...], level: Privileges) -> None:
    assert highest_level(grants(*privileges)) is level


def test_no_grants_count_as_nothing() -> None:
    assert highest_level(()) is None


async def _wanted(users: list[dict[str, Any]]) -> tuple[int, list[str], Resource]:
    store = MemoryStore(installation="test")
    spec = {"clusterRef": {"name": "pg"}}
    database = await store.apply_resource(DATABASE, spec)
    for number, user in enumerate(users):
        body = {"databaseRef": {"name": "app"}, "privileges": "readonly", **user}
        await store.apply_resource(Key("DatabaseUser", "team", f"u{number:04d}"), body)
    async with opened_engine(store) as engine:
        found = await wanted_grant_groups(engine.world, database, DatabaseSpec.model_validate(spec), CLUSTER, FACTS)
    names = sorted(user.name for members in found.values() for user in members)
    return len(found), names, await store.write_status(database, {"grantRolesCount": len(found)})


def grant(table: str, **more: Any) -> dict[str, Any]:
    return {"additionalGrants": [{"tables": [table], "privileges": ["INSERT"], **more}]}


def test_a_database_has_room_for_so_many_different_lists_and_for_any_number_of_users() -> None:
    users = [grant(f"t{number}") for number in range(MAX_GRANT_ROLES + 2)] + [grant("t0"), grant("t1")]
    count, names, database = asyncio.run(_wanted(users))
    assert count == MAX_GRANT_ROLES
    left_out = {f"u{MAX_GRANT_ROLES:04d}", f"u{MAX_GRANT_ROLES + 1:04d}"}
    assert {f"u{number:04d}" for number in range(len(users))} - set(names) == left_out
    with pytest.raises(Blocked) as refused:
        refuse_too_many(database)
    assert refused.value.reason == "TooManyGrants"


def test_a_user_whose_spec_is_not_valid_asks_for_nothing() -> None:
    users = [grant("t"), grant("t", privileges=["EVERYTHING"]), {**grant("t"), "connectionLimit": -7}]
    assert asyncio.run(_wanted(users))[:2] == (1, ["u0000"])


def test_maintain_makes_no_role_where_the_server_has_it_not() -> None:
    assert asyncio.run(_wanted([grant("t", privileges=["MAINTAIN"])]))[0] == 0
