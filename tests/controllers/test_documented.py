"""The full examples of the pages on Databases and their users work as printed, but for names tests must not share."""

import re
from pathlib import Path

import pytest
from tests.controllers.world import CLUSTER, World, scenario

from dbtether.api.manifests import Document, parse

PAGES = Path(__file__).parents[2] / "docs" / "crds"
pytestmark = pytest.mark.majors(13, 18)


def blocks(page: str) -> list[str]:
    """The whole manifests that a page prints."""
    text = (PAGES / page).read_text()
    return [
        block
        for block in re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        if block.startswith("apiVersion:")
    ]


def users(unique: str) -> list[Document]:
    """The DatabaseUsers of their page, with names of this test's own."""
    found: list[Document] = []
    for block in blocks("databaseuser.md"):
        if "kind: DatabaseUser" in block:
            text = re.sub(r"(name: |username: )(?!default|other-team)", rf"\1{unique}-", block)
            found += parse(text, "databaseuser.md").documents
    return found


def databases(unique: str, absent: list[str]) -> list[Document]:
    """What the page on Databases applies, with names of this test's own and extensions that the server has."""
    names = {
        "my-aurora-cluster": CLUSTER,
        "my-app-db": f"{unique}-my-app-db",
        "my_app": f"{unique}_my_app",
        "shop-owner": f"{unique}-shop-owner",
        "legacy-shop": f"{unique}-legacy-shop",
        "shop": f"{unique}-shop",
    }
    found: list[Document] = []
    for block in blocks("database.md"):
        text = re.sub(r"(?<=: )(" + "|".join(names) + r")$", lambda match: names[match[1]], block, flags=re.MULTILINE)
        for extension in absent:
            text = text.replace(f"    - {extension}\n", "")
        found += parse(text, "database.md").documents
    return found


@scenario
async def test_every_database_of_the_page_becomes_ready(world: World) -> None:
    legacy, role = f"{world.unique}_legacy_shop", f"{world.unique}-old"
    world.execute("CREATE ROLE {}", role)
    if not world.admin.is_superuser:
        options = " WITH ADMIN TRUE" if world.admin.server.build.major >= 16 else ""
        world.execute("GRANT {} TO {}" + options, role, world.admin.user)
    world.execute("CREATE DATABASE {} OWNER {}", legacy, role)
    await world.cluster(adoptable=[{"database": legacy, "namespace": "default"}])
    known = {row[0] for row in world.rows("SELECT name::text FROM pg_available_extensions")}
    documents = databases(world.unique, sorted({"uuid-ossp", "pg_trgm"} - known))
    assert [document.key.kind for document in documents] == ["Database", "Database", "DatabaseUser", "Database"]
    for document in documents:
        await world.store.apply_resource(document.key, document.spec)
    await world.settle()
    phases = [(await world.status(document.key))["phase"] for document in documents]
    assert phases == ["Ready", "Ready", "Ready", "Waiting"]
    owner = "SELECT pg_get_userbyid(datdba)::text FROM pg_database WHERE datname = %s"
    assert world.rows(owner, f"{world.unique}_shop") == [(f"{world.unique}-shop-owner",)]
    assert await world.reason(documents[-1].key) == "AdoptionPlanned", "driftPolicy Report only lists the steps"
    await world.change(documents[-1].key, driftPolicy="Repair")
    await world.settle()
    assert world.rows(owner, legacy) == [(f"dbtether_{legacy}_owner",)]


@scenario
async def test_every_user_of_the_page_becomes_ready(world: World) -> None:
    await world.cluster()
    await world.database("my-app-db", "default")
    await world.database("billing", "other-team", allowedNamespaces=["default"])
    documents = users(world.unique)
    assert len(documents) >= 2
    for document in documents:
        await world.store.apply_resource(document.key, document.spec)
    await world.settle()
    for document in documents:
        status = await world.status(document.key)
        # A table of an additional grant may come later; the login works.
        assert (status["phase"], status["loginVerified"]) == ("Ready", True), status
