"""The full examples of docs/crds/databaseuser.md work as printed, but for names that tests must not share."""

import re
from pathlib import Path

import pytest
from tests.controllers.world import World, scenario

from dbtether.api.manifests import Document, parse

PAGE = Path(__file__).parents[2] / "docs" / "crds" / "databaseuser.md"
pytestmark = pytest.mark.majors(13, 18)


def examples(unique: str) -> list[Document]:
    """The DatabaseUsers of the page, with names of this test's own."""
    found: list[Document] = []
    for block in re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        if block.startswith("apiVersion:") and "kind: DatabaseUser" in block:
            text = re.sub(r"(name: |username: )(?!default|other-team)", rf"\1{unique}-", block)
            found += parse(text, PAGE.name).documents
    return found


@scenario
async def test_every_user_of_the_page_becomes_ready(world: World) -> None:
    await world.cluster()
    await world.database("my-app-db", "default")
    await world.database("billing", "other-team", allowedNamespaces=["default"])
    documents = examples(world.unique)
    assert len(documents) >= 2
    for document in documents:
        await world.store.apply_resource(document.key, document.spec)
    await world.settle()
    for document in documents:
        status = await world.status(document.key)
        # A table of an additional grant may come later; the login works.
        assert (status["phase"], status["loginVerified"]) == ("Ready", True), status
