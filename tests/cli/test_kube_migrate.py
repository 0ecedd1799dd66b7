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


def test_what_migrate_asks_for_is_enough_for_a_login(program: Program, admin: Admin, unique: str) -> None:
    """The role of the older operator keeps its name, and afterwards there is nothing to migrate."""
    login = f"{unique}_reader"
    with admin.server.connect() as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN NOINHERIT PASSWORD 'older'").format(sql.Identifier(login)))
        if not admin.is_superuser:
            grant = sql.SQL("GRANT {} TO {} WITH ADMIN TRUE")
            connection.execute(grant.format(sql.Identifier(login), sql.Identifier(admin.user)))
    reader = user(f"{unique}-reader", f"{unique}-app")
    app = {
        "apiVersion": "dbtether.io/v1alpha1",
        "kind": "Database",
        "metadata": {"name": f"{unique}-app", "namespace": "default"},
        "spec": {"clusterRef": {"name": "pg"}},
    }
    secret = admin_secret(Login(admin.user, admin.password))
    # Nobody has applied the user yet: it would have made a login of its own.
    reader["spec"]["adopt"] = True
    program.run("apply", "-f", program.write(secret, cluster(admin.server), app, reader), "--wait", "20s")
    (asked,) = [one for one in program.run("migrate", "-o", "json").json["items"] if unique in one["name"]]
    assert (asked["name"], asked["adopts"], asked["adoptable"]) == (login, True, False)
    entry = yaml.safe_load(asked["needs"].partition(" in ")[0])
    assert "spec.adopt of" not in asked["needs"]
    ran = program.run("apply", "-f", program.write(cluster(admin.server, adoptable=[entry])), "--wait", "20s")
    assert ran.code == 0, ran.err
    assert [one for one in program.run("migrate", "-o", "json").json["items"] if unique in one["name"]] == []
    assert login in program.run("get", "databaseusers").out


def test_migrate_says_when_a_server_is_away(program: Program, admin: Admin) -> None:
    away = cluster(admin.server, port=1)
    program.run("apply", "-f", program.write(admin_secret(Login(admin.user, admin.password)), away), "--wait", "1s")
    ran = program.run("migrate")
    assert ran.code == 1
    assert "DBCluster pg: " in ran.err
