"""What a tenant asks for that is another's, or that the server refuses: nothing is made, nothing is told."""

from typing import Any

import pytest
from tests.controllers.world import World, scenario


@pytest.mark.majors(15, 18)
@scenario
async def test_a_tenant_cannot_copy_another_tenants_database_as_a_template(world: World) -> None:
    await world.cluster()
    await world.database("victim")
    await world.settled_and_ready()
    await world.database("thief", namespace="other", template=world.named("victim"))
    await world.database("thief2", namespace="other", template=f"{world.unique}_nowhere")
    await world.settle()
    assert await world.reason(world.database_key("thief", "other")) == "TemplateNotAllowed"
    assert await world.reason(world.database_key("thief2", "other")) == "TemplateNotAllowed"
    assert not [name for name in world.left() if "thief" in name]


@pytest.mark.majors(15, 18)
@scenario
async def test_a_tenant_cannot_make_another_databases_role_own_a_schema(world: World) -> None:
    await world.cluster()
    await world.database("victim")
    await world.settled_and_ready()
    owner = f"dbtether_{world.named('victim')}_admin"
    await world.database("thief", namespace="other", schemas=[{"name": "s", "owner": owner}])
    await world.settle()
    assert await world.reason(world.database_key("thief", "other")) == "ReferenceNotAllowed"
    assert not [name for name in world.left() if "thief" in name]


@pytest.mark.majors(15, 18)
@scenario
async def test_nothing_stays_of_a_database_that_the_server_refuses_to_create(world: World) -> None:
    await world.cluster()
    await world.database("app", lcCollate="xx_YY")
    await world.settle()
    assert (await world.status(world.database_key()))["phase"] == "Failed"
    assert world.left() == []


@pytest.mark.majors(15, 18)
@scenario
async def test_a_database_whose_marker_was_altered_is_not_said_to_be_deleted(world: World) -> None:
    await world.cluster()
    await world.database("app", deletionPolicy="Delete")
    await world.settled_and_ready()
    owner = f"dbtether_{world.named('app')}_owner"
    world.execute("COMMENT ON ROLE {} IS 'altered'", owner)
    key = world.database_key()
    await world.delete(key)
    await world.settle()
    assert await world.reason(key) == "DatabaseNotOurs"
    assert "COMMENT ON ROLE" in (await world.status(key))["message"]


@pytest.mark.majors(17)
@scenario
async def test_a_database_of_each_locale_provider_is_made(world: World) -> None:
    await world.cluster()
    providers: dict[str, dict[str, Any]] = {
        "libc": {},
        "icu": {"icuLocale": "de-DE", "encoding": "UTF8"},
        "builtin": {"encoding": "UTF8"},
    }
    for provider, more in providers.items():
        await world.database(provider, localeProvider=provider, **more)
    await world.settled_and_ready()
    rows = world.rows(
        "SELECT datlocprovider::text, datlocale FROM pg_database WHERE starts_with(datname, %s) ORDER BY 1",
        world.unique,
    )
    assert rows == [("b", "C.UTF-8"), ("c", None), ("i", "de-DE")]
    assert await world.plan() == {}
