"""What the tests of restores may ask for."""

import pytest
from tests.restore.pair import Pair
from tests.servers.server import Server

from dbtether.backup.clients import ClientPrograms


@pytest.fixture
def pair(server: Server, unique: str, clients: ClientPrograms) -> Pair:
    """Two databases and the login of a run."""
    found = Pair(server, unique)
    found.make()
    return found
