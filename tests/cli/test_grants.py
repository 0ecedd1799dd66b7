"""The example of additional grants in the documentation, applied as it is printed."""

import re
from pathlib import Path

import psycopg
import pytest
import yaml
from tests.cli.program import Program, admin_secret, cluster, database
from tests.servers.fixtures import Admin
from tests.servers.server import Login

PAGE = Path(__file__).parents[2] / "docs" / "crds" / "databaseuser.md"


@pytest.mark.majors(15, 18)
def test_the_example_works(program: Program, admin: Admin, unique: str) -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (example,) = [yaml.safe_load(block) for block in blocks if "additionalGrants:" in block]
    # Other tests use the same server.
    example["spec"]["username"] = f"{unique}-import"
    program.write(
        admin_secret(Login(admin.user, admin.password)),
        cluster(admin.server),
        database("my-app-db", databaseName=unique, schemas=[{"name": "staging"}]),
        example,
    )
    planned = program.run("plan", "-f", "all.yaml")
    assert "for additional grants in database" in planned.out
    applied = program.run("apply", "-f", "all.yaml")
    assert applied.code == 0, applied.err
    for said in (planned.err, applied.err):
        assert "(GrantsIncomplete)" in said, "a grant that waits, be it for a name mistyped, is not passed over"
    assert "table public.order_lines does not exist, table public.orders does not exist" in program.run(
        "describe", "databaseuser", "order-import"
    ).out.replace("\n", " ")
    with admin.server.connect(dbname=unique) as connection:
        connection.execute(f'SET ROLE "dbtether_{unique}_admin"'.encode())
        connection.execute("CREATE TABLE orders (id int); CREATE TABLE order_lines (id int)")
        connection.execute("CREATE TABLE staging.raw (id int)")
    assert program.run("apply", "-f", "all.yaml").code == 0
    password = program.secret("default", "order-import-credentials")["password"]
    with psycopg.connect(admin.server.dsn(f"{unique}-import", password, unique), autocommit=True) as connection:
        connection.execute("INSERT INTO orders VALUES (1); UPDATE order_lines SET id = 2")
        connection.execute("INSERT INTO staging.raw VALUES (1); TRUNCATE staging.raw")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM orders")
    assert program.run("plan", "-f", "all.yaml").code == 0
