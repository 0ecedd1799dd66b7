"""A lost state directory is rebuilt from the markers on the server."""

import shutil

import psycopg
import pytest
from psycopg import sql
from tests.cli.program import Body, Program, admin_secret, cluster, database, user
from tests.servers.fixtures import Admin
from tests.servers.server import Login

_GRANTS = [
    {"schema": "jobs", "tables": ["*"], "privileges": ["TRUNCATE"]},
    {"schema": "public", "tables": ["*"], "privileges": ["REFERENCES", "TRIGGER"]},
]


def _applied(program: Program, admin: Admin, unique: str, installation: str) -> list[Body]:
    login = admin_secret(Login(admin.user, admin.password))
    bodies = [
        login,
        cluster(admin.server),
        database("app", databaseName=f"{unique}_app", extensions=["pg_trgm"], schemas=[{"name": "jobs"}]),
        database("more", databaseName=f"{unique}_more", schemas=[{"name": "jobs"}], connectionLimit=7),
        user(f"{unique}-reader", "app"),
        user(f"{unique}-owner", "app", "admin", connectionLimit=3),
        user(f"{unique}-loader", "app", "readwrite", additionalGrants=_GRANTS),
        user("both", "app", username=f"{unique}_both"),
    ]
    del bodies[-1]["spec"]["databaseRef"], bodies[-1]["spec"]["privileges"]
    bodies[-1]["spec"]["databases"] = [{"name": "app", "privileges": "readwrite"}, {"name": "more"}]
    ran = program.run("apply", "-f", program.write(*bodies), "--installation", installation)
    assert ran.code == 0, ran.err
    program.write(*bodies[:2], name="server.yaml")
    return bodies


@pytest.mark.majors(15, 18)
def test_import_rebuilds_what_was_applied(program: Program, admin: Admin, unique: str) -> None:
    bodies = _applied(program, admin, unique, unique)
    shutil.rmtree(program.state)
    with admin.server.connect() as connection:
        # As a restore has left it.
        replaced, owner = (
            sql.Identifier(f"{unique}_app__before_0a1b2c3d"),
            sql.Identifier(f"dbtether_{unique}_app_owner"),
        )
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {} ALLOW_CONNECTIONS false").format(replaced, owner))

    imported = program.run("import", "-f", "server.yaml", "--installation", unique)
    assert imported.code == 0, imported.err
    assert "passwords cannot be read back" in imported.err
    specs = {
        item["metadata"]["name"]: item["spec"]
        for kind in ("db", "dbu")
        for item in program.run("get", kind, "-o", "json").json["items"]
    }
    wanted = {body["metadata"]["name"]: dict(body["spec"]) for body in bodies[2:]}
    wanted["both"]["databases"] = [
        {"name": "app", "privileges": "readwrite"},
        {"name": "more", "privileges": "readonly"},
    ]
    for spec in wanted.values():
        # Only dbtether itself needs it, so no server tells it.
        spec.pop("deletionPolicy", None)
    assert specs == wanted

    applied = program.run("apply", "-f", "all.yaml")
    assert applied.code == 0, applied.err
    password = program.secret("default", f"{unique}-reader-credentials")["password"]
    with psycopg.connect(admin.server.dsn(f"{unique}-reader", password, f"{unique}_app")):
        pass
    assert program.run("plan", "-f", "all.yaml").code == 0


@pytest.mark.majors(15, 18)
def test_import_says_which_grants_it_cannot_read_back(program: Program, admin: Admin, unique: str) -> None:
    grants = [{"tables": ["later"], "privileges": ["INSERT"]}]
    program.write(
        admin_secret(Login(admin.user, admin.password)),
        cluster(admin.server),
        database("app", databaseName=f"{unique}_app"),
        user(f"{unique}-loader", "app", additionalGrants=grants),
    )
    applied = program.run("apply", "-f", "all.yaml", "--installation", unique)
    assert applied.code == 0, applied.err
    shutil.rmtree(program.state)
    imported = program.run("import", "-f", "all.yaml", "--installation", unique)
    assert imported.code == 0, imported.err
    assert f"login {unique}-loader" in imported.err
    assert "has additionalGrants that could not be read back in full" in imported.err
    (item,) = program.run("get", "dbu", "-o", "json").json["items"]
    assert item["spec"]["privileges"] == "readonly"


@pytest.mark.majors(18)
def test_import_overwrites_nothing(program: Program, admin: Admin, unique: str) -> None:
    _applied(program, admin, unique, unique)
    before = program.files()
    refused = program.run("import", "--installation", unique)
    assert refused.code == 1
    assert "Database default/app is in the state already" in refused.err
    assert program.files() == before


@pytest.mark.majors(18)
def test_an_imported_resource_can_be_deleted_at_once(program: Program, admin: Admin, unique: str) -> None:
    _applied(program, admin, unique, unique)
    shutil.rmtree(program.state)
    assert program.run("import", "-f", "server.yaml", "--installation", unique).code == 0
    deleted = program.run("delete", "databaseuser", f"{unique}-reader")
    assert deleted.code == 0, deleted.err
    with admin.server.connect() as connection:
        left = connection.execute("SELECT count(*) FROM pg_roles WHERE rolname = %s", (f"{unique}-reader",)).fetchone()
    assert left == (0,)


@pytest.mark.majors(18)
def test_an_installation_that_marked_nothing_is_refused(program: Program, admin: Admin, unique: str) -> None:
    program.write(admin_secret(Login(admin.user, admin.password)), cluster(admin.server), name="server.yaml")
    refused = program.run("import", "-f", "server.yaml", "--installation", unique)
    assert refused.code == 1
    assert f"nothing on the servers is marked by installation {unique}" in refused.err
    assert not program.state.exists()
