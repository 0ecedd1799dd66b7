"""A diagnostic bundle tells enough for a ticket, and no secret."""

import json
import tarfile
from pathlib import Path

import pytest
from tests.cli.program import Program, admin_secret, cluster, database, user
from tests.cli.test_kube_world import live_cluster, secret_of
from tests.kube.kube import Kube
from tests.servers.fixtures import Admin
from tests.servers.server import Login

pytestmark = pytest.mark.majors(18)

NAMES = {"about", "resources", "problems", "events", "secrets", "servers", "plan"}


def _texts(archive: Path) -> dict[str, str]:
    """The files of a bundle."""
    with tarfile.open(archive) as opened:
        members = {member.name: opened.extractfile(member) for member in opened.getmembers()}
        return {Path(name).stem: file.read().decode() for name, file in members.items() if file is not None}


def _assert_tells_none(texts: dict[str, str], program: Program, secrets: list[str]) -> None:
    whole = "".join([*texts.values(), *program.said])
    for secret in secrets:
        assert secret
        assert secret not in whole


def test_a_clusters_bundle_holds_everything_but_secrets(
    crd_kube: Kube, admin: Admin, unique: str, program: Program, tmp_path: Path
) -> None:
    with live_cluster(crd_kube, admin, unique, tmp_path) as live:
        with admin.server.connect() as connection:
            connection.execute(f"""ALTER ROLE "{live.user}" PASSWORD 'drifted-password-1'""")
        before = live.versions()
        at = ("--kube", "--kubeconfig", str(crd_kube.kubeconfig))
        made = program.run("diagnose", *at, "-o", "bundle.tar.gz")
        assert made.code == 0, made.err
        assert made.out == "bundle.tar.gz\n"
        assert live.versions() == before
        archive = program.folder / "bundle.tar.gz"
        assert archive.stat().st_mode & 0o777 == 0o600
        texts = _texts(archive)
        assert set(texts) == NAMES
        key = crd_kube.kubectl(
            "get", "secret", "dbtether-fingerprint-key", "-n", "postgres-operator-system", "-o", "jsonpath={.data.key}"
        ).stdout
        token = crd_kube.token
        secrets = [live.password, admin.password, key, token]
        _assert_tells_none(texts, program, secrets)
        assert json.loads(texts["about"])["kubernetes"].startswith("v1.")
        assert f"{live.team}/{live.user}-credentials" in json.loads(texts["secrets"])
        assert json.loads(texts["servers"])[unique]["version"].startswith("18.")
        assert [one["metadata"]["name"] for one in json.loads(texts["resources"])] == [unique, "my-app-db", live.user]
        statements = json.loads(texts["plan"])["statements"]
        assert [one["name"] for one in statements] == ([live.user] if statements else [])
        assert secret_of(crd_kube, live.team, f"{live.user}-credentials")["password"] == live.password

        taken = program.run("diagnose", *at, "-o", "bundle.tar.gz")
        assert (taken.code, "it exists already" in taken.err) == (3, True)


def test_a_local_bundle_masks_a_password_that_somebody_put_into_an_annotation(
    program: Program, admin: Admin, unique: str
) -> None:
    app = database("app", databaseName=f"{unique}_app")
    app["metadata"]["annotations"] = {"note": f"the admin has {admin.password}"}
    reader = user(f"{unique}-reader", "app")
    bodies = [admin_secret(Login(admin.user, admin.password)), cluster(admin.server), app, reader]
    assert program.run("apply", "-f", program.write(*bodies), "--installation", unique).code == 0
    files = program.files()
    made = program.run("diagnose", "-o", "bundle")
    assert made.code == 0, made.err
    assert program.files() == files
    folder = program.folder / "bundle"
    texts = {path.stem: path.read_text() for path in folder.iterdir()}
    assert set(texts) == NAMES
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    key = (program.state / "fingerprint.key").read_text().strip()
    _assert_tells_none(texts, program, [*program.passwords(), key])
    assert "the admin has ********" in texts["resources"]
    assert json.loads(texts["plan"])["wouldChange"] is False
    facts = json.loads(texts["servers"])["pg"]
    assert (facts["version"].startswith("18."), facts["admin"]) == (True, admin.user)


def test_a_bundle_is_made_although_the_server_is_away(program: Program, admin: Admin, unique: str) -> None:
    away = cluster(admin.server, port=1)
    program.write(admin_secret(Login(admin.user, admin.password)), away, database("app", databaseName=f"{unique}_app"))
    program.run("apply", "-f", "all.yaml", "--wait", "1s")
    made = program.run("diagnose", "--wait", "1s", "-o", "bundle")
    assert made.code == 0, made.err
    servers = json.loads((program.folder / "bundle" / "servers.json").read_text())
    assert "error" in servers["pg"]
    problems = json.loads((program.folder / "bundle" / "problems.json").read_text())
    assert any("DBCluster pg" in problem for problem in problems)
