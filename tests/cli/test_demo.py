"""The demo: it checks itself, leaves nothing behind, and its manifests are the README's."""

import re
import signal
import tempfile
from pathlib import Path

import pytest
import yaml
from tests.cli.program import Program, read_until

from dbtether.cli.demo.manifests import readme_manifests

README = Path(__file__).parents[2] / "README.md"


def _open_folder() -> tempfile.TemporaryDirectory[str]:
    # PostgreSQL does not run as root: another account must be able to pass through.
    folder = tempfile.TemporaryDirectory(prefix="dbtether-demo-test-")
    Path(folder.name).chmod(0o711)
    return folder


@pytest.mark.postgres
def test_the_demo_keeps_every_promise_and_leaves_nothing(program: Program) -> None:
    with _open_folder() as folder:
        program.environment = {"TMPDIR": folder}
        ran = program.run("demo")
        assert ran.code == 0, ran.err
        assert ran.err == ""
        assert re.search(r"All 18 checks passed in [0-9.]+ s", ran.out)
        assert list(Path(folder).iterdir()) == []
    for part in (
        "ERROR: permission denied for table greeting",
        'FATAL: permission denied for database "billing"',
        "Grant SELECT on table public.greeting to dbtether_my_app_readonly",
        "nothing to do: 0 statements",
        "Database default/my-app-db is backed up",
        "read from end to end, it is what was written",
        "nothing was left on the server",
    ):
        assert part in ran.out
    assert "\x1b" not in ran.out


@pytest.mark.postgres
def test_an_interrupted_demo_ends_its_server_and_removes_its_folder(program: Program) -> None:
    with _open_folder() as folder:
        program.environment = {"TMPDIR": folder, "PYTHONUNBUFFERED": "1"}
        process = program.start("demo")
        read_until(process.stdout, "Apply them")
        process.send_signal(signal.SIGINT)
        process.communicate()
        assert process.returncode == 130
        assert list(Path(folder).iterdir()) == []


def test_the_demos_manifests_are_the_readmes() -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    assert [yaml.safe_load(block) for block in blocks] == readme_manifests()
    folder = Path(__file__).parents[2] / "src/dbtether/cli/demo/example"
    assert blocks == [path.read_text() for path in sorted(folder.glob("*.yaml"))]
