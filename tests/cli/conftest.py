"""What the tests of the command line ask for."""

from pathlib import Path

import pytest
from tests.cli.program import Program


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Return the program in an empty folder."""
    return Program(tmp_path)
