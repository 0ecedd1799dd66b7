"""The files and results of a restore's two jobs."""

import json
from pathlib import Path

import pytest
from tests.backup.samples import manifest

from dbtether.backup.restore.job import (
    RESULT_BYTES,
    CheckResult,
    CheckRun,
    CheckSecrets,
    Expectation,
    RestoreResult,
    RestoreRun,
    RestoreSecrets,
    check_files,
    read_check_run,
    read_restore_run,
    restore_files,
    tables_digest,
)
from dbtether.backup.restore.model import ExistingObjects, Findings, LoadWay, Rules

_RULES = Rules(16, frozenset({"public", "app"}), frozenset({"reporting"}))
_FINDINGS = Findings(
    object_bytes=10,
    object_sha256="a" * 64,
    plain_bytes=100,
    plain_sha256="b" * 64,
    tables=2,
    rows=7,
    objects=5,
    extensions=("pg_trgm",),
    schemas=("app",),
    roles=("reporting",),
    server_version="16.14",
    client_version="16.14",
    left_out={"ALTER ... OWNER TO": 3},
)


def _restore_run() -> RestoreRun:
    return RestoreRun(
        run_id="a1b2c3d4",
        storage={"local": {"path": "/backups"}},
        local_root="/",
        key="pg/shop/1.sql.gz",
        expected=Expectation.of(manifest()),
        rules=_RULES,
        host="pg",
        port=5432,
        user="dbtether_run_a1b2c3d4",
        sslmode="require",
        database="shop",
        way=LoadWay.TRANSACTION,
        existing=ExistingObjects.DROP,
        owner="dbtether_shop_admin",
        application_name="dbtether: restore team/again",
    )


def test_what_a_job_was_told_is_read_back_from_its_files(tmp_path: Path) -> None:
    run = _restore_run()
    for name, content in restore_files(run, RestoreSecrets("s3cret", {"KEY": b"k"}, {"sslrootcert": b"CA"})).items():
        (tmp_path / name).write_bytes(content)
    assert read_restore_run(tmp_path) == run
    assert {path.name for path in tmp_path.iterdir()} == {"run.json", "password", "ca.crt", "storage-KEY"}
    assert b"s3cret" not in (tmp_path / "run.json").read_bytes()


def test_the_check_is_given_no_way_to_a_database(tmp_path: Path) -> None:
    run = CheckRun(run_id="a1b2c3d4", storage={"local": {"path": "/backups"}}, key="1.sql", rules=_RULES)
    files = check_files(run, CheckSecrets({"KEY": b"k"}))
    assert set(files) == {"run.json", "storage-KEY"}
    (tmp_path / "run.json").write_bytes(files["run.json"])
    assert read_check_run(tmp_path) == run


def test_an_expectation_stays_small_with_any_number_of_tables() -> None:
    tables = {f"public.table_{n}": n for n in range(20_000)}
    expected = Expectation.of(manifest(tables=tables))
    assert (expected.tables, expected.rows) == (20_000, sum(range(20_000)))
    assert expected.tables_sha256 == tables_digest(dict(reversed(tables.items())))
    assert len(expected.model_dump_json()) < 1000


def test_a_result_is_read_back() -> None:
    check = CheckResult(True, findings=_FINDINGS)
    assert CheckResult.parse(check.text()) == check
    load = RestoreResult(False, "RestoreFailed", "no", True, 3, 4)
    assert RestoreResult.parse(load.text()) == load


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"succeeded": true}', "OOMKilled"])
def test_what_is_no_result_is_none(text: str) -> None:
    assert CheckResult.parse(text) is None
    assert RestoreResult.parse(text) is None


def test_a_result_fits_into_a_termination_message_whatever_is_in_it() -> None:
    many = tuple("\u00e4" * 30 + str(n) for n in range(500))
    findings = Findings(10, "a" * 64, 100, "b" * 64, 2, 7, 5, extensions=many, schemas=many, roles=many)
    text = CheckResult(False, "RestoreFailed", "\U0001f600" * 1000, False, findings).text()
    assert len(text.encode()) <= RESULT_BYTES
    told = CheckResult.parse(text)
    assert told is not None
    assert told.findings is not None
    kept = sum(len(names) for names in (told.findings.extensions, told.findings.schemas, told.findings.roles))
    assert told.findings.names_cut == 1500 - kept
    assert len(RestoreResult(False, "RestoreFailed", "\U0001f600" * 1000).text()) <= RESULT_BYTES
    assert json.loads(text)["message"]
