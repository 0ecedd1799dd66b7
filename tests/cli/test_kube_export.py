"""A state directory is handed to an operator, which goes on without changing anything on the server."""

import re
from pathlib import Path

import psycopg
import pytest
from tests.cli.program import Body, Program, admin_secret, assert_no_secret_told, cluster, database, user
from tests.cli.test_kube_world import (
    OWN,
    eventually,
    operating,
    phase,
    prepare,
    remove_everything,
    secret_of,
)
from tests.kube.kube import Kube
from tests.servers.fixtures import Admin
from tests.servers.server import Login

pytestmark = pytest.mark.majors(18)

_WRITES = re.compile(r"^\s*(ALTER|CREATE|DROP|GRANT|REVOKE|COMMENT|REASSIGN|INSERT|UPDATE|DELETE)\b", re.IGNORECASE)


def _applied(program: Program, admin: Admin, unique: str) -> list[Body]:
    secret = admin_secret(Login(admin.user, admin.password), f"{unique}-admin")
    server = cluster(
        admin.server, unique, credentialsSecretRef={"name": f"{unique}-admin", "namespace": "ops"}, maxConnections=5
    )
    app = database(f"{unique}-app", clusterRef={"name": unique}, extensions=["pg_trgm"], connectionLimit=7)
    reader = user(f"{unique}-reader", f"{unique}-app", settings={"statement_timeout": "5s"})
    bodies = [secret, server, app, reader]
    ran = program.run("apply", "-f", program.write(*bodies), "--installation", f"laptop-{unique}")
    assert ran.code == 0, ran.err
    return bodies


@pytest.mark.parametrize("way", ["created", "printed"])
def test_the_operator_goes_on_without_a_write_on_the_server(
    crd_kube: Kube, admin: Admin, unique: str, program: Program, tmp_path: Path, way: str
) -> None:
    kube = crd_kube
    prepare(kube)
    name = f"{unique}-reader"
    _applied(program, admin, unique)
    password = program.secret("default", f"{name}-credentials")["password"]
    try:
        to = ("export", "--kube", "--kubeconfig", str(kube.kubeconfig))
        if way == "created":
            moved = program.run(*to, "--apply")
            assert moved.code == 0, moved.err
            again = program.run(*to, "--apply")
            assert (again.code, again.out) == (0, "8 objects were there already, with the same content\n"), again.err
            assert_no_secret_told(program, admin.password)
        else:
            moved = program.run(*to)
            assert moved.code == 0, moved.err
            kube.apply(moved.out)
        options = re.search(r"start the operator with: (.*)", moved.err)
        assert options is not None
        assert options[1].split() == [f"--installation=laptop-{unique}", "--credentials-namespaces=ops"]

        mark, log = admin.server.mark(), tmp_path / "operator.log"
        with operating(kube, log, *options[1].split()):
            eventually(lambda: phase(kube, "databaseuser", name, "default") == "Ready", "the user is Ready")
        statements = admin.server.statements_since(mark)
        assert len(statements) > 5, "the server's log tells what the operator asked"
        assert [text for text in statements if _WRITES.match(text)] == []
        assert "dbtether.audit" not in log.read_text()

        secret = secret_of(kube, "default", f"{name}-credentials")
        assert secret == program.secret("default", f"{name}-credentials")
        assert secret["password"] == password
        with psycopg.connect(admin.server.dsn(name, password, f"{unique}_app")) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        owners = "jsonpath={.metadata.ownerReferences[0].name}"
        found = kube.kubectl("get", "secret", f"{name}-credentials", "-n", "default", "-o", owners)
        assert found.stdout == name
        assert password not in log.read_text()
    finally:
        remove_everything(kube)
        kube.kubectl("delete", "secret", f"{name}-credentials", "-n", "default", "--ignore-not-found")
        kube.kubectl("delete", "secret", f"{unique}-admin", "-n", "ops", "--ignore-not-found")


def test_export_overwrites_nothing(crd_kube: Kube, admin: Admin, unique: str, program: Program) -> None:
    prepare(crd_kube)
    _applied(program, admin, unique)
    crd_kube.kubectl(
        "create", "secret", "generic", f"{unique}-reader-credentials", "-n", "default", "--from-literal=a=b"
    )
    try:
        refused = program.run("export", "--kube", "--apply", "--kubeconfig", str(crd_kube.kubeconfig))
        assert refused.code == 1
        assert (
            f"Secret default/{unique}-reader-credentials is in the cluster already with another content" in refused.err
        )
        assert crd_kube.kubectl("get", "dbc", "-o", "name").stdout == ""
        assert "dbtether-fingerprint-key" not in crd_kube.kubectl("get", "secrets", "-n", OWN, "-o", "name").stdout
    finally:
        crd_kube.kubectl("delete", "secret", f"{unique}-reader-credentials", "-n", "default")


def test_export_refuses_what_it_cannot_do(program: Program) -> None:
    nowhere = program.run("export")
    assert (nowhere.code, "say where to: --kube" in nowhere.err) == (3, True)
    nothing = program.run("export", "--kube")
    assert (nothing.code, "there is no state directory" in nothing.err) == (5, True)
