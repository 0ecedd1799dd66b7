"""Bad manifests: every problem is told with its place, nothing is touched, no secret is shown."""

import pytest
from tests.cli.program import Body, Program, assert_one_sentence, database, user

CLUSTER: Body = {
    "apiVersion": "dbtether.io/v1alpha1",
    "kind": "DBCluster",
    "metadata": {"name": "pg"},
    # A port that nothing listens on: a manifest that passes would be seen by its failure to connect.
    "spec": {"endpoint": "127.0.0.1", "port": 1, "credentialsSecretRef": {"name": "admin", "namespace": "ops"}},
}


def _refused(program: Program, *arguments: str, stdin: str = "") -> str:
    results = [program.run(command, *arguments, stdin=stdin) for command in ("apply", "plan")]
    for ran in results:
        assert ran.code == 3, ran.err
        assert ran.out == ""
        assert_one_sentence(ran)
    assert results[0].err == results[1].err
    assert not program.state.exists()
    return results[0].err


def test_every_problem_of_every_file_is_told_with_its_line(program: Program) -> None:
    program.write(CLUSTER | {"spec": {**CLUSTER["spec"], "port": 70000}}, name="a.yaml")
    program.write(database("app", extension=["x"]), user("reader", "app", "readonli"), name="b.yaml")
    (program.folder / "c.yaml").write_text("kind: [unclosed\n")
    told = _refused(program, "-f", "a.yaml", "-f", "b.yaml", "-f", "c.yaml")
    assert "spec.port: 70000" in told
    assert "a.yaml:7" in told
    assert 'spec.extension: unknown field; did you mean "extensions"?' in told
    assert '"readonli" is not one of readonly, readwrite, admin' in told
    assert "c.yaml:" in told


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("a: b: c\n", "", id="broken YAML"),
        pytest.param("\x00", "NUL", id="a NUL"),
        pytest.param("a: &x [*x]\n", "", id="an alias of itself"),
        pytest.param("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n", "no document", id="foreign alone"),
        pytest.param("", "no document", id="nothing at all"),
        pytest.param("kind: Database\nkind: Database\n", "", id="a duplicate key"),
        pytest.param("just text\n", "object", id="no object"),
    ],
)
def test_a_file_that_is_no_manifest_is_one_sentence(program: Program, text: str, sentence: str) -> None:
    assert sentence in _refused(program, "-f", "-", stdin=text)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("a" * 64, id="64 bytes"),
        pytest.param('a"b', id="a quote"),
        pytest.param("a'b", id="an apostrophe"),
        pytest.param("a;DROP TABLE b", id="a semicolon"),
        pytest.param("a\nb", id="a line break"),
        pytest.param("a\x1b[31mb", id="an escape sequence"),
        pytest.param("\U0001f418", id="an elephant"),
        pytest.param("postgres", id="the maintenance database"),
        pytest.param("template1", id="a template"),
    ],
)
def test_a_bad_database_name_is_refused(program: Program, name: str) -> None:
    told = _refused(program, "-f", program.write(CLUSTER, database("app", databaseName=name)))
    assert "spec.databaseName" in told
    assert "\x1b" not in told


def test_two_documents_of_one_identity_are_refused(program: Program) -> None:
    program.write(database("app"), name="a.yaml")
    program.write(database("app", databaseName="other"), name="b.yaml")
    assert "stands twice" in _refused(program, "-f", "a.yaml", "-f", "b.yaml")


def test_a_file_named_twice_is_read_once(program: Program) -> None:
    name = program.write(CLUSTER, database("app"))
    ran = program.run("plan", "-f", name, "-f", f"./{name}", "-f", ".", "--wait", "1s")
    assert "stands twice" not in ran.err


def test_a_value_of_a_secret_is_never_shown(program: Program) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "admin", "namespace": "ops"},
        "data": {"password": "not base64: hunter2"},
        "stringData": {"username": 12345678},
    }
    told = _refused(program, "-f", program.write(secret, CLUSTER))
    assert "hunter2" not in told
    assert "12345678" not in told


def test_a_folder_without_manifests_is_refused(program: Program) -> None:
    (program.folder / "empty").mkdir()
    assert "holds no" in _refused(program, "-f", "empty")


def test_pruning_by_manifests_without_resources_is_refused(program: Program) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}, "stringData": {"a": "b"}}
    assert "everything would be deleted" in _refused(program, "-f", program.write(secret), "--prune")
