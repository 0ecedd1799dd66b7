"""What the tests of the controllers ask for."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.controllers.world import STORES, World
from tests.servers.fixtures import Admin
from tests.servers.server import Server

from dbtether.runtime.overlay import MemoryStore


@pytest.fixture
def world(admin: Admin, unique: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    """Return a world with an empty store."""
    with STORES[getattr(request, "param", "memory")](tmp_path) as store:
        yield World(admin, unique, store)


@pytest.fixture
def fresh(world: World, fresh_server: Callable[[int], Server]) -> World:
    """Return a world of its own on a private server, which a test may stop."""
    server = fresh_server(world.admin.server.major)
    login = server.superuser if world.admin.is_superuser else server.admin
    admin = Admin(server, login.user, login.password, world.admin.is_superuser)
    return World(admin, world.unique, MemoryStore(installation="test"))
