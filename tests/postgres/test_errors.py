"""SQLSTATE to what happens next, and the words of a failed connect."""

import psycopg
import pytest

from dbtether.errors import Blocked, Retryable
from dbtether.postgres.errors import ConnectError, classify, connect_failure, parse_verbose, retry_reason
from dbtether.postgres.passwords import generate_password, matches, scram_verifier
from dbtether.postgres.settings import SettingChange, setting_changes


@pytest.mark.parametrize(
    ("sqlstate", "message", "reason"),
    [
        pytest.param(None, "server closed the connection", "ConnectionFailed", id="no server"),
        pytest.param("XX000", "tuple concurrently updated", "Retrying", id="a lost race"),
        pytest.param("XX000", "could not open relation with OID 16525", "Retrying", id="a session's table went away"),
        pytest.param("XX000", "invalid memory alloc request size", None, id="a real internal error"),
        pytest.param("23505", 'violates unique constraint "pg_authid_rolname_index"', "Retrying", id="catalog's index"),
        pytest.param("23505", 'violates unique constraint "users_pkey"', None, id="a tenant's index"),
        pytest.param("55P03", "", "LockNotAvailable", id="a lock"),
        pytest.param("55006", "", "ObjectInUse", id="in use"),
        pytest.param("53300", "", "TooManyConnections", id="slots"),
        pytest.param("57P03", "", "ConnectionFailed", id="starting up"),
        pytest.param("25P04", "", "ConnectionFailed", id="a transaction's time"),
        pytest.param("42501", "", None, id="privileges"),
    ],
)
def test_what_passes_by_itself_is_retried(sqlstate: str | None, message: str, reason: str | None) -> None:
    assert retry_reason(sqlstate, message) == reason


def test_a_value_that_psycopg_refuses_is_not_taken_for_a_dead_server() -> None:
    found = classify(psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"), "set it")
    assert isinstance(found, Blocked)
    assert isinstance(classify(psycopg.OperationalError("the connection is lost"), "set it"), Retryable)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('connection to server at "h" (1.2.3.4), port 5 failed: FATAL:  28P01: wrong password', "28P01"),
        ("connection failed: FATAL:  3D000:  database \"x\" does not exist\nLOCATION:  f, x.c:1", "3D000"),
        ("connection to server at \"h\", port 5 failed: SCHWERWIEGEND:  53300: zu viele Verbindungen", "53300"),
        ("connection to server at \"h\", port 5 failed: Connection refused", None),
        ("", None),
    ],
)  # fmt: skip
def test_the_sqlstate_of_a_failed_connect_is_found_in_any_language(text: str, expected: str | None) -> None:
    assert parse_verbose(text)[0] == expected


def test_a_refused_connect_is_a_persons_matter_and_an_unanswered_one_is_not() -> None:
    assert isinstance(connect_failure(ConnectError(None, "refused"), "look"), Retryable)
    refused = connect_failure(ConnectError("28P01", "no"), "look")
    assert isinstance(refused, Blocked)
    assert refused.reason == "AuthenticationFailed"


@pytest.mark.parametrize("password", ["", "a\0b"], ids=["empty", "with NUL"])
def test_a_password_that_libpq_would_cut_is_refused(password: str) -> None:
    with pytest.raises(Blocked, match="must not be empty"):
        scram_verifier(password, "u")


def test_a_verifier_knows_its_password_and_no_other() -> None:
    password = generate_password(16)
    verifier = scram_verifier(password, "u")
    assert matches(verifier, password)
    assert not matches(verifier, password + "x")
    assert not matches("md5" + "a" * 32, password)
    assert not matches(None, password)
    assert verifier != scram_verifier(password, "u")


@pytest.mark.parametrize(
    ("wanted", "observed", "ours", "expected"),
    [
        pytest.param([("A", "1")], ["a=1"], [], [], id="names without case"),
        pytest.param([("search_path", '"a,b", c')], ['search_path="a,b", "c"'], [], [], id="a comma in quotes"),
        pytest.param([("search_path", "a, b")], ["search_path=a"], [], [("search_path", "a, b")], id="one more"),
        pytest.param([], ["TimeZone=UTC"], ["timezone"], [("TimeZone", None)], id="reset, as the server writes it"),
        pytest.param([], ["work_mem=1GB"], [], [], id="a DBA's own stays"),
        pytest.param([("x.y", "a=b c")], ["x.y=a=b c"], [], [], id="equal signs in a value"),
    ],
)
def test_settings_differ_only_where_they_mean_something_else(
    wanted: list[tuple[str, str]], observed: list[str], ours: list[str], expected: list[tuple[str, str | None]]
) -> None:
    found = list(setting_changes(wanted, observed, ours=frozenset(ours)))
    assert found == [SettingChange(name, value) for name, value in expected]
