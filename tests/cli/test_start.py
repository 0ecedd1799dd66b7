"""The program starts light: help loads nothing that only commands need."""

import os
import subprocess
import sys

import pytest
from tests.cli.program import Program

HEAVY = ("pydantic", "psycopg", "rich", "asyncio", "yaml", "dbtether.api", "dbtether.controllers", "dbtether.runtime")
_PROBE = """
import sys
from dbtether.cli.main import main
sys.argv = ["dbtether", *{arguments!r}]
try:
    main()
except SystemExit as ended:
    print("\\nLOADED", ended.code, *sorted(sys.modules))
"""


def _loaded(*arguments: str) -> tuple[str, set[str]]:
    probe = _PROBE.format(arguments=list(arguments))
    ended = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, env={**os.environ, "NO_COLOR": "1"}
    )
    code, *modules = ended.stdout.rpartition("LOADED")[2].split()
    return code, set(modules)


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ()])
def test_help_and_version_load_nothing_heavy(arguments: tuple[str, ...]) -> None:
    _, modules = _loaded(*arguments)
    assert "typer" in modules
    assert [name for name in HEAVY if name in modules] == []


@pytest.mark.parametrize("arguments", [("apply", "--help"), ("no-such-command",), ("get", "--no-such-option")])
def test_a_commands_help_loads_nothing_of_ours(arguments: tuple[str, ...]) -> None:
    _, modules = _loaded(*arguments)
    # typer itself takes pydantic to parse a command's options.
    assert [name for name in HEAVY if name in modules and name != "pydantic"] == []


def test_help_names_every_command_and_every_exit_code(program: Program) -> None:
    ran = program.run("--help")
    assert ran.code == 0
    for word in ("apply", "plan", "get", "describe", "delete", "credentials", "status", "import", "demo"):
        assert f"\n  {word} " in ran.out
    for code in ("0", "1", "2", "3", "4", "5", "130"):
        assert f"\n    {code} " in ran.out


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("aply",), id="a misspelt command"),
        pytest.param(("apply",), id="no manifest"),
        pytest.param(("apply", "-f", "x.yaml", "--no-such-option"), id="an unknown option"),
        pytest.param(("apply", "-f", "no-such-file.yaml"), id="a missing file"),
        pytest.param(("apply", "-f", "-", "--wait", "soon"), id="a wait that is no duration"),
        pytest.param(("apply", "-f", "-", "-o", "xml"), id="an unknown output"),
        pytest.param(("get", "tables"), id="an unknown kind"),
        pytest.param(("delete",), id="nothing to delete"),
        pytest.param(("delete", "database"), id="a kind without a name"),
    ],
)
def test_a_wrong_call_exits_with_3_and_touches_nothing(program: Program, arguments: tuple[str, ...]) -> None:
    ran = program.run(*arguments)
    assert ran.code == 3
    assert ran.err.strip()
    assert ran.out == ""
    assert list(program.folder.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [("get", "databases"), ("status",), ("describe", "db", "x"), ("delete", "db", "x")]
)
def test_a_missing_state_directory_exits_with_5_and_is_not_made(program: Program, arguments: tuple[str, ...]) -> None:
    ran = program.run(*arguments)
    assert ran.code == 5
    assert "there is no state directory" in ran.err
    assert list(program.folder.iterdir()) == []
