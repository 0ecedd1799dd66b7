"""Object keys from templates: a closed vocabulary, and no way out of the folder."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbtether.api.templates import FIELDS, filename_problem, render, template_problem, time_fields
from dbtether.errors import InvalidSpec

VALUES = dict.fromkeys(FIELDS, "v") | {"ClusterName": "main", "DatabaseName": "my_app"}


@pytest.mark.parametrize(
    ("template", "key"),
    [
        ("{{ .ClusterName }}/{{ .DatabaseName }}", "main/my_app"),
        ("{{.ClusterName}}-x/{{   .DatabaseName  }}.sql", "main-x/my_app.sql"),
        ("plain/text", "plain/text"),
    ],
)
def test_fields_are_replaced_with_or_without_blanks(template: str, key: str) -> None:
    assert render(template, VALUES) == key


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{{ .Cluster }}", "uses .Cluster; known are .ClusterName"),
        ("{{ ClusterName }}", "has braces that are no field"),
        ("{{ .ClusterName | lower }}", "has braces that are no field"),
        ("{{ .ClusterName", "has braces that are no field"),
        ("{x}", "has braces that are no field"),
        ("/abs", "has an empty segment"),
        ("a//b", "has an empty segment"),
        ("a/", "has an empty segment"),
        ("a/../b", "has an empty segment"),
        ("a/./b", "has an empty segment"),
        ("a\\b", "has a backslash"),
        ("a\nb", "line break"),
        ("a\0", "NUL"),
        ("x" * 1025, "has 1025 bytes"),
    ],
)
def test_a_template_is_checked_when_it_is_read(template: str, problem: str) -> None:
    assert problem in (template_problem(template) or "")


@pytest.mark.parametrize("value", ["", ".", "..", "a/b", "a\\b", "a\nb", "\0"])
def test_a_value_is_one_segment_of_the_key(value: str) -> None:
    with pytest.raises(InvalidSpec):
        render("{{ .DatabaseName }}", {"DatabaseName": value})


def test_two_values_cannot_join_to_a_dot_segment() -> None:
    with pytest.raises(InvalidSpec):
        render(".{{ .DatabaseName }}", {"DatabaseName": "."})


def test_a_key_has_at_most_1024_bytes() -> None:
    with pytest.raises(InvalidSpec, match="1200 bytes"):
        render("{{ .DatabaseName }}", {"DatabaseName": "ä" * 600})


@pytest.mark.parametrize("name", ["a.sql", "a.sql.gz", "a.sql.zst", "a.dump", "{{ .Timestamp }}.sql.gz"])
def test_the_suffix_picks_the_format(name: str) -> None:
    assert filename_problem(name) is None


@pytest.mark.parametrize("name", ["a", "a.zip", ".sql", "x/.dump", "a.sql.bz2"])
def test_another_suffix_is_refused(name: str) -> None:
    assert "must end with one of .sql, .sql.gz, .sql.zst, .dump" in (filename_problem(name) or "")


def test_times_are_utc() -> None:
    now = datetime(2026, 1, 1, 0, 30, 5, tzinfo=timezone(timedelta(hours=2)))
    assert time_fields(now) == {"Year": "2025", "Month": "12", "Day": "31", "Timestamp": "20251231-223005"}
    assert time_fields(datetime(26, 1, 2, tzinfo=UTC))["Month"] == "01"


@settings(deadline=None)
@given(st.text(), st.dictionaries(st.sampled_from(FIELDS), st.text()))
def test_any_text_gives_a_safe_key_or_invalid_spec(template: str, values: dict[str, str]) -> None:
    try:
        key = render(template, values)
    except InvalidSpec:
        return
    assert not {"", ".", ".."} & set(key.split("/"))
    assert key.replace("/", "").isprintable() or "\0" not in key
