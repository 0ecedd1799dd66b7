"""Durations, schedules, hosts, time zones, settings: what is taken and what is refused."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbtether.api.cron import NAMED_SCHEDULES, five_fields, schedule_problem
from dbtether.api.durations import Duration, duration_problem, seconds_of
from dbtether.api.hosts import endpoint_problem, is_ipv6, url_problem
from dbtether.api.identifiers import database_name_problem, extension_problem, username_problem
from dbtether.api.settings import DATABASE_SETTINGS, USER_SETTINGS, setting_problem
from dbtether.api.times import instant_problem, parse_instant, time_zone_problem
from dbtether.errors import InvalidSpec


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("1h", 3600), ("24h", 86400), ("1h30m", 5400), ("1.5h", 5400), ("500ms", 0.5), ("0s", 0)],
)
def test_a_duration_has_seconds_and_stays_as_written(text: str, seconds: float) -> None:
    assert Duration(text).seconds == seconds
    assert Duration(text) == text


@pytest.mark.parametrize(
    "text", ["", "30", "s", "-1s", "1d", "1h 30m", "1H", "\u0661s", "1e3s", "1s\n", "9" * 40 + "s"]
)
def test_other_texts_are_no_durations(text: str) -> None:
    with pytest.raises(InvalidSpec):
        seconds_of(text)


@pytest.mark.parametrize(
    "text",
    ["0 2 * * *", "*/5 * * * *", "0 0 1,15 * *", "0 9-17/2 * * mon-fri", "5 4 * * SUN", "0 0 29 2 *", "0 0 31 2 1",
     "0 0 * * 7", "10/20 * * * *", *NAMED_SCHEDULES],
)  # fmt: skip
def test_a_schedule_is_taken(text: str) -> None:
    assert schedule_problem(text) is None
    assert schedule_problem(five_fields(text)) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("* * * *", "has 4 fields"),
        ("* * * * * *", "has 6 fields"),
        ("60 * * * *", "has '60' as the minute; allowed are 0-59"),
        ("0 24 * * *", "has '24' as the hour"),
        ("0 0 0 * *", "as the day of the month"),
        ("0 0 * 13 *", "as the month"),
        ("0 0 * * 8", "as the day of the week"),
        ("0 0 * * funday", "as the day of the week"),
        ("5-1 * * * *", "as the minute"),
        ("*/0 * * * *", "as the minute"),
        ("*-3 * * * *", "as the minute"),
        ("1,,2 * * * *", "as the minute"),
        ("0 0 31 2 *", "never fires"),
        ("0 0 31 4,6 *", "never fires"),
        ("@reboot", "is not one of @hourly"),
        ("TZ=UTC 0 0 * * *", "put it into spec.timeZone"),
    ],
)
def test_a_schedule_is_refused_with_the_field_that_is_wrong(text: str, problem: str) -> None:
    assert problem in (schedule_problem(text) or "")


@pytest.mark.parametrize(
    "text",
    ["localhost", "db", "my-cluster.cluster-xxx.eu-west-1.rds.amazonaws.com", "db.example.com.", "10.0.0.1", "::1",
     "2001:db8::1", "my_service.ns.svc", "123.example"],
)  # fmt: skip
def test_an_endpoint_is_a_host(text: str) -> None:
    assert endpoint_problem(text) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("postgres://db", "is a connection string"),
        ("host=db", "is a connection string"),
        ("admin@db", "is a connection string"),
        ("db:5432", "has a port"),
        ("10.0.0.1:5432", "has a port"),
        ("[::1]", "has brackets"),
        ("[::1]:5432", "has brackets"),
        ("a,b", "names several hosts"),
        ("/var/run/postgresql", "is a path"),
        ("fe80::1%eth0", "is not a host name"),
        ("10.0.0.256", "is not an IPv4 address"),
        ("10.1", "is not an IPv4 address"),
        ("a b", "is not a host name"),
        ("-a", "is not a host name"),
        ("a..b", "is not a host name"),
        (".", "is not an IPv4 address"),
        ("dä.example", "is not a host name"),
        ("x" * 64, "is not a host name"),
    ],
)
def test_anything_else_is_no_endpoint_and_the_sentence_says_why(text: str, problem: str) -> None:
    assert problem in (endpoint_problem(text) or "")


def test_only_ipv6_addresses_need_brackets() -> None:
    assert is_ipv6("::1")
    assert not is_ipv6("10.0.0.1")
    assert not is_ipv6("db")


@pytest.mark.parametrize("text", ["https://s3.example.com", "http://localhost:9000/path"])
def test_a_url_of_a_store_is_taken(text: str) -> None:
    assert url_problem(text) is None


@pytest.mark.parametrize("text", ["s3.example.com", "ftp://x", "https://", "https://k:s@x", "https://a b", "file:///x"])
def test_another_url_is_refused(text: str) -> None:
    assert url_problem(text) is not None


@pytest.mark.parametrize("text", ["http://[x", "http://x:99999", "http://x:y", "http://x:0", "http://:9000"])
def test_a_url_whose_host_or_port_cannot_be_told_is_refused(text: str) -> None:
    assert url_problem(text) is not None


@pytest.mark.parametrize("text", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+1"])
def test_an_iana_time_zone_is_taken(text: str) -> None:
    assert time_zone_problem(text) is None


@pytest.mark.parametrize("text", ["Local", "Berlin", "../../etc/passwd", "Europe", "Europe/", "+02:00", "a\0b", ""])
def test_another_time_zone_is_refused(text: str) -> None:
    assert time_zone_problem(text) is not None


def test_an_instant_is_read_in_utc() -> None:
    assert parse_instant("2030-01-31T12:00:00+01:00") == datetime(2030, 1, 31, 11, tzinfo=UTC)


@pytest.mark.parametrize("text", ["2030-01-31", "2030-01-31T12:00:00", "2030-02-30T12:00:00Z", "infinity", "1"])
def test_an_instant_needs_a_zone_and_a_day_that_exists(text: str) -> None:
    with pytest.raises(InvalidSpec):
        parse_instant(text)


@pytest.mark.parametrize("name", ["uuid-ossp", "pg_trgm", "postgis", "h3-pg"])
def test_extension_names_are_taken(name: str) -> None:
    assert extension_problem(name) is None


@pytest.mark.parametrize("name", ["", "A", "a b", 'a"', "a;b", "x" * 64, "../x", "a\n"])
def test_other_extension_names_are_refused(name: str) -> None:
    assert extension_problem(name) is not None


@pytest.mark.parametrize("name", ["postgres", "template0", "template1", "rdsadmin", "cloudsqladmin", "azure_sys"])
def test_reserved_database_names_are_refused(name: str) -> None:
    assert "belongs to" in (database_name_problem(name) or "")


@pytest.mark.parametrize(
    "name",
    ["postgres", "pg_x", "PG_X", "dbtether_x", "public", "none", "rdsadmin", "rds_iam", "cloudsqlsuperuser", "azure_x"],
)
def test_reserved_role_names_are_refused(name: str) -> None:
    assert "belongs to" in (username_problem(name) or "")


@pytest.mark.parametrize(
    "name",
    ["role", "session_authorization", "session_preload_libraries", "local_preload_libraries", "log_statement",
     "log_min_duration_statement", "shared_preload_libraries", "client_encoding", "password_encryption"],
)  # fmt: skip
def test_dangerous_settings_are_in_no_list(name: str) -> None:
    assert name not in DATABASE_SETTINGS
    assert name not in USER_SETTINGS


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("statement_timeout", "30s", "30 seconds"),
        ("statement_timeout", "0", "-5"),
        ("work_mem", "64MB", "64 XB"),
        ("jit", "off", "maybe"),
        ("random_page_cost", "1.1", "1,1"),
        ("effective_io_concurrency", "200", "2.5"),
        ("default_transaction_isolation", "repeatable read", "snapshot"),
        ("TimeZone", "Europe/Berlin", "x" * 257),
    ],
)
def test_a_settings_value_has_its_form(name: str, good: str, bad: str) -> None:
    assert setting_problem(USER_SETTINGS[name], good) is None
    assert setting_problem(USER_SETTINGS[name], bad) is not None


def test_read_only_is_for_users_alone() -> None:
    assert "default_transaction_read_only" in USER_SETTINGS
    assert "default_transaction_read_only" not in DATABASE_SETTINGS


@settings(deadline=None)
@given(st.text(max_size=40))
def test_no_text_breaks_a_check(text: str) -> None:
    for check in (
        schedule_problem,
        duration_problem,
        endpoint_problem,
        url_problem,
        instant_problem,
        time_zone_problem,
        database_name_problem,
        username_problem,
    ):
        problem = check(text)
        assert problem is None or problem.split()[0] in ("is", "has", "names", "never", "holds", "contains", "belongs")
