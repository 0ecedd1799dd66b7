"""The README's way from nothing to a login, word for word: install, manifests, tables, password."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from tests.kube.kube import Kube
from tests.kube.plain_manifests import REPOSITORY
from tests.kube.readme import OPERATOR_PAGE, code_blocks, commands_with, tables, write_manifests
from tests.operator.operating import NEVER, eventually, operating
from tests.servers.server import Server

_OF_THE_SERVER = {"ENDPOINT", "VERSION", "AGE"}


@pytest.mark.majors(18)
def test_what_the_readme_says_is_what_happens(
    fresh_kube: Callable[[], Kube], fresh_server: Callable[[int], Server], tmp_path: Path
) -> None:
    kube, server = fresh_kube(), fresh_server(18)
    (install,) = commands_with("kubectl apply -f config/")
    kube.shell(install, REPOSITORY)
    write_manifests(tmp_path, server)
    with operating(kube, tmp_path, *NEVER):
        kube.shell("kubectl apply -f manifests/", tmp_path)
        is_ready = "kubectl get databaseuser my-app-readonly -o jsonpath={.status.phase}"
        eventually(lambda: kube.shell(is_ready, tmp_path) == "Ready", "the user is Ready")
        shown = [(command, table) for command, table in tables() if command.startswith("kubectl ")]
        assert len(shown) == 4
        for command, table in shown:
            printed = kube.shell(command, tmp_path)
            if not table:
                with psycopg.connect(server.dsn("my-app-readonly", printed, "my_app")) as connection:
                    assert connection.execute("SELECT current_user").fetchone() == ("my-app-readonly",)
                continue
            columns = table[0].split()
            lines = [line.split() for line in printed.splitlines()]
            assert lines[0] == columns
            fixed = [index for index, column in enumerate(columns) if column not in _OF_THE_SERVER]
            assert [[line[index] for index in fixed] for line in lines] == [
                [line.split()[index] for index in fixed] for line in table
            ]
        # And the end of it, as docs/operator.md has it.
        (uninstall,) = [one for one in code_blocks(OPERATOR_PAGE, "bash") if "kubectl delete databaseusers" in one]
        kube.shell(uninstall.splitlines()[0], tmp_path)
    with server.connect() as connection:
        assert connection.execute("SELECT FROM pg_roles WHERE rolname = 'my-app-readonly'").fetchall() == []
