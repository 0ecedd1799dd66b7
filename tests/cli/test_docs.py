"""The pages of docs/ tell what the program does: tables from the code, examples that are valid, exit codes."""

import re
from pathlib import Path

import pytest
from tests.cli.docs import REASONS, page, with_tables

from dbtether.api.manifests import parse
from dbtether.api.validation import validate_documents
from dbtether.cli.exits import Exit

DOCS = Path(__file__).parents[2] / "docs"
README = DOCS.parent / "README.md"


@pytest.mark.parametrize("kind", REASONS)
def test_fields_and_reasons_are_those_of_the_code(kind: str) -> None:
    text = page(kind).read_text()
    assert text == with_tables(kind, text), "run: python -m tests.cli.docs"
    assert "| `" in text


@pytest.mark.parametrize("file", sorted(DOCS.rglob("*.md")), ids=lambda file: str(file.relative_to(DOCS)))
def test_every_yaml_example_is_valid(file: Path) -> None:
    for block in re.findall(r"^```yaml\n(.*?)^```$", file.read_text(), re.MULTILINE | re.DOTALL):
        if "apiVersion:" in block:
            validate_documents(parse(block, file.name).documents)


@pytest.mark.parametrize("file", [README, DOCS / "cli.md"], ids=lambda file: file.name)
def test_every_exit_code_is_documented(file: Path) -> None:
    rows = dict(re.findall(r"^\| (\d+) \| (.*) \|$", file.read_text(), re.MULTILINE))
    assert {int(code): text.replace("`", "") for code, text in rows.items()} == {
        code.value: code.meaning for code in Exit
    }
