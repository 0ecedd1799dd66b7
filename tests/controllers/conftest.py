"""What the tests of the controllers ask for."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.controllers.world import STORES, World
from tests.servers.fixtures import Admin


@pytest.fixture
def world(admin: Admin, unique: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    """Return a world with an empty store."""
    with STORES[getattr(request, "param", "memory")](tmp_path) as store:
        yield World(admin, unique, store)
