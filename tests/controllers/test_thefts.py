"""A tenant names in its manifests what is another's: it is refused, gets nothing, and its deletion takes nothing."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.controllers.world import TEAM, World, scenario

from dbtether.api.resource import Resource

THIEF = "thieves"
Theft = Callable[[World], Awaitable[Resource]]


def _database(annotations: dict[str, str] | None = None, **spec: Callable[[World], Any]) -> Theft:
    async def apply(world: World) -> Resource:
        values = {name: value(world) for name, value in spec.items()}
        return await world.database("loot", THIEF, annotations=annotations, **values)

    return apply


def _user(annotations: dict[str, str] | None = None, **spec: Callable[[World], Any]) -> Theft:
    async def apply(world: World) -> Resource:
        values = {name: value(world) for name, value in spec.items()}
        values.setdefault("databaseRef", world.ref("home"))
        return await world.user("loot", THIEF, annotations=annotations, **values)

    return apply


def _always(value: Any) -> Callable[[World], Any]:
    return lambda _: value


def _victims_database(world: World) -> str:
    return world.named()


def _victims_login(world: World) -> str:
    return world.login()


def _victims_role(group: str) -> Callable[[World], str]:
    return lambda world: f"dbtether_{world.named()}_{group}"


_FORCE = {"dbtether.io/force-adopt": "true"}
_RELEASE = {"dbtether.io/release-to": f"{THIEF}/loot"}
# No reason tells more than that the name is taken: not whose it is, and of a Database not even that it exists.
THEFTS: dict[str, tuple[Theft, set[str]]] = {
    "a database by its name": (_database(databaseName=_victims_database), {"DatabaseConflict"}),
    "a database with adopt": (
        _database(databaseName=_victims_database, adopt=_always(True)),
        {"DatabaseConflict", "DatabaseNotOurs", "AdoptionNotAllowed"},
    ),
    "a database with force-adopt": (
        _database(_FORCE, databaseName=_victims_database),
        {"DatabaseConflict", "DatabaseNotOurs", "AdoptionNotAllowed"},
    ),
    "a database released by the thief itself": (
        _database(_RELEASE, databaseName=_victims_database, adopt=_always(True)),
        {"DatabaseConflict", "DatabaseNotOurs", "AdoptionNotAllowed"},
    ),
    "a database copied as a template": (_database(template=_victims_database), {"TemplateNotAllowed"}),
    "a schema owned by another's group": (
        _database(schemas=lambda world: [{"name": "s", "owner": _victims_role("admin")(world)}]),
        {"ReferenceNotAllowed"},
    ),
    "a database owned by another's login": (
        _database(owner=_victims_login),
        {"ReferenceNotAllowed", "RoleNotOurs", "MissingPrivileges"},
    ),
    "a database owned by the platform's admin": (
        _database(owner=lambda world: world.admin.user),
        {"ReferenceNotAllowed", "RoleNotOurs", "InvalidSpec"},
    ),
    "the maintenance database": (_database(databaseName=_always("postgres")), {"InvalidSpec"}),
    "template1": (_database(databaseName=_always("template1")), {"InvalidSpec"}),
    "a role with the session's power": (_database(settings=_always({"role": "postgres"})), {"InvalidSpec"}),
    "a library in every session": (
        _database(settings=_always({"session_preload_libraries": "evil"})),
        {"InvalidSpec"},
    ),
    "a login by its name": (_user(username=_victims_login), {"RoleConflict"}),
    "a login with adopt": (
        _user(username=_victims_login, adopt=_always(True)),
        {"RoleConflict", "RoleNotOurs", "AdoptionNotAllowed"},
    ),
    "a login with force-adopt": (
        _user(_FORCE, username=_victims_login),
        {"RoleConflict", "RoleNotOurs", "AdoptionNotAllowed"},
    ),
    "a login released by the thief itself": (
        _user(_RELEASE, username=_victims_login, adopt=_always(True)),
        {"RoleConflict", "RoleNotOurs", "AdoptionNotAllowed"},
    ),
    "the platform's admin with adopt": (
        _user(username=lambda world: world.admin.user, adopt=_always(True)),
        {"RoleNotOurs", "InvalidSpec", "AdoptionNotAllowed"},
    ),
    "the superuser": (_user(username=_always("postgres")), {"RoleNotOurs", "InvalidSpec"}),
    "another's group": (_user(username=_victims_role("admin")), {"InvalidSpec"}),
    "another's owner role with adopt": (
        _user(username=_victims_role("owner"), adopt=_always(True)),
        {"InvalidSpec"},
    ),
    "a predefined role": (_user(username=_always("pg_signal_backend")), {"InvalidSpec"}),
    "access to a database without consent": (
        _user(databaseRef=lambda world: world.ref(namespace=TEAM)),
        {"DatabaseNotFound", "ReferenceNotAllowed"},
    ),
    "access beside its own database": (
        _user(
            databaseRef=_always(None),
            databases=lambda world: [world.ref("home"), world.ref(namespace=TEAM, privileges="admin")],
        ),
        {"DatabaseNotFound", "ReferenceNotAllowed"},
    ),
    "another's role at login": (_user(settings=_always({"role": "postgres"})), {"InvalidSpec"}),
    "a password that is another's Secret": (
        _user(passwordSecretRef=lambda world: {"name": f"{world.login()}-credentials", "key": "password"}),
        {"SecretNotFound", "Waiting"},
    ),
}


@pytest.mark.majors(18)
@pytest.mark.parametrize("theft", THEFTS)
@scenario
async def test_nothing_of_another_tenant_is_had_by_naming(world: World, theft: str) -> None:
    await try_theft(world, *THEFTS[theft])


@pytest.mark.majors(18)
@pytest.mark.parametrize("theft", [name for name in THEFTS if "adopt" in name or "released" in name])
@scenario
async def test_consent_to_adopt_does_not_reach_what_another_resource_holds(world: World, theft: str) -> None:
    roles = [world.login(), world.admin.user, _victims_role("owner")(world)]
    adoptable = [{"role": role, "namespace": THIEF} for role in roles]
    adoptable.append({"database": world.named(), "namespace": THIEF})
    await try_theft(world, *THEFTS[theft], adoptable=adoptable)


async def try_theft(world: World, apply: Theft, reasons: set[str], **cluster: Any) -> None:
    await world.cluster(**cluster)
    await world.database()
    await world.user()
    await world.database("home", THIEF)
    await world.settled_and_ready()
    password, before = await world.password(), snapshot(world)

    key = (await apply(world)).key
    await world.settle()
    assert await world.reason(key) in reasons, await world.status(key)
    if TEAM not in str((await world.get(key)).spec):
        message = str((await world.status(key))["message"])
        assert f"{TEAM}/" not in message, "a refusal does not tell whose it is"
    await assert_untouched(world, password, before)

    await world.delete(key)
    await world.settle()
    assert await world.is_gone(key)
    await assert_untouched(world, password, before)


async def assert_untouched(world: World, password: str, before: list[tuple[Any, ...]]) -> None:
    assert snapshot(world) == before
    assert await world.password() == password
    assert await world.login_works()
    await world.assert_ready(world.cluster_key, world.database_key(), world.user_key())
    assert [secret.name for secret in await world.store.list_secrets() if secret.namespace == THIEF] == []


def snapshot(world: World) -> list[tuple[Any, ...]]:
    """The roles and databases of the test with their marks, memberships and privileges."""
    return world.rows(
        "SELECT rolname::text, rolcanlogin::text, shobj_description(oid, 'pg_authid'), (SELECT array_agg("
        "pg_get_userbyid(member)::text ORDER BY 1) FROM pg_auth_members WHERE roleid = r.oid)::text FROM pg_roles r "
        "WHERE strpos(rolname, %s) > 0 UNION ALL SELECT datname, pg_get_userbyid(datdba), "
        "shobj_description(oid, 'pg_database'), datacl::text FROM pg_database WHERE strpos(datname, %s) > 0 "
        "ORDER BY 1, 2",
        world.unique,
        world.unique,
    )


@pytest.mark.majors(13, 18)
@pytest.mark.parametrize(("schema", "tables"), [("pg_catalog", ["pg_authid"]), ("pg_catalog", ["*"])])
@scenario
async def test_additional_grants_never_reach_the_servers_own_tables(
    world: World, schema: str, tables: list[str]
) -> None:
    """A superuser admin could grant the password verifiers of the whole server to a tenant."""
    await world.cluster()
    await world.database()
    await world.user("maker", privileges="admin")
    grant = {"schema": schema, "tables": tables, "privileges": ["SELECT", "UPDATE"]}
    await world.user(additionalGrants=[grant])
    await world.settle()
    catalog = world.rows(
        "SELECT c.relname::text, c.relacl::text FROM pg_class c WHERE relnamespace = 'pg_catalog'::regnamespace "
        "AND strpos(c.relacl::text, %s) > 0",
        world.unique,
        dbname=world.named(),
    )
    assert catalog == []
    login = world.login()
    if login in world.left():
        password = await world.password()
        assert not world.works(login, password, world.named(), "SELECT rolpassword FROM pg_authid")
