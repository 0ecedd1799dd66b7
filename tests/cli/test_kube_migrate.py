"""What the older operator left on a server is listed with the consent that it needs; nothing is changed."""

import pytest
import yaml
from psycopg import sql
from tests.cli.program import Program, admin_secret, cluster, user
from tests.servers.fixtures import Admin
from tests.servers.server import Login

pytestmark = pytest.mark.majors(18)


def test_migrate_names_what_needs_consent(program: Program, admin: Admin, unique: str) -> None:
    old, allowed, login = f"{unique}_old", f"{unique}_allowed", f"{unique}_reader"
    with admin.server.connect() as connection:
        for name, comment in ((old, "dbtether:team/old-db"), (allowed, "ours\ndbtether:default/allowed")):
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            connection.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), comment))
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(login)))
    server = cluster(admin.server, adoptable=[{"database": allowed, "namespace": "default"}])
    app = {
        "apiVersion": "dbtether.io/v1alpha1",
        "kind": "Database",
        "metadata": {"name": "allowed", "namespace": "default"},
        "spec": {"clusterRef": {"name": "pg"}, "databaseName": allowed},
    }
    bodies = [admin_secret(Login(admin.user, admin.password)), server, app, user(f"{unique}-reader", "allowed")]
    program.run("apply", "-f", program.write(*bodies), "--wait", "2s")

    files, mark = program.files(), admin.server.mark()
    listed = program.run("migrate", "-o", "json")
    assert listed.code == 0, listed.err
    found = {one["name"]: one for one in listed.json["items"] if unique in one["name"]}
    assert {name: (one["kind"], one["declared"], one["adoptable"]) for name, one in found.items()} == {
        old: ("Database", False, False),
        allowed: ("Database", True, True),
        login: ("DatabaseUser", True, False),
    }
    assert found[allowed]["needs"] == "spec.adopt of the resource"
    entry = yaml.safe_load(found[login]["needs"].partition(" in ")[0])
    assert entry == {"role": login, "namespace": "default"}
    assert program.files() == files
    statements = admin.server.statements_since(mark)
    assert statements
    assert not [text for text in statements if text.lstrip().upper().startswith(("ALTER", "CREATE", "COMMENT", "DROP"))]
    assert "check who made each before you consent" in listed.err


def test_migrate_says_when_a_server_is_away(program: Program, admin: Admin) -> None:
    away = cluster(admin.server, port=1)
    program.run("apply", "-f", program.write(admin_secret(Login(admin.user, admin.password)), away), "--wait", "1s")
    ran = program.run("migrate")
    assert ran.code == 1
    assert "DBCluster pg: " in ran.err
