"""Where the stores of the tests come from, and what is said when one cannot be had."""

from pathlib import Path

import pytest
from tests.storage.programs import NoStore, azurite, go_program


def test_what_cannot_be_had_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBTETHER_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoStore, match="versitygw cannot be had: Go is not installed to build it"):
        go_program("versitygw")
    with pytest.raises(NoStore, match=r"azurite cannot be had: Node\.js is not installed"):
        azurite()
    assert [path for path in tmp_path.rglob("*") if path.suffix != ".lock" and path.name != "stores"] == []
