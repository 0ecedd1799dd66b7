"""When schedules fire: clocks that jump, ticks that were missed, and cron's own notation."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbtether.backup.schedule import Tick, last_time, next_time, run_id_of, tick

BERLIN = "Europe/Berlin"
# In 2026 the clocks go from 02:00 to 03:00 on 29 March and from 03:00 back to 02:00 on 25 October.


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def wall(text: str, zone: str = BERLIN) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def fires(schedule: str, first: datetime, last: datetime, zone: str = BERLIN) -> list[str]:
    found, time = [], first
    while (time := next_time(schedule, zone, time)) <= last:
        found.append(time.strftime("%dT%H:%M"))
    return found


@pytest.mark.parametrize(
    ("schedule", "zone", "after", "wanted"),
    [
        pytest.param("0 2 * * *", "UTC", "2026-03-01T01:59:59", "2026-03-01T02:00", id="daily"),
        pytest.param("0 2 * * *", "UTC", "2026-03-01T02:00", "2026-03-02T02:00", id="its own time is not after it"),
        pytest.param("@hourly", "UTC", "2026-03-01T01:30", "2026-03-01T02:00", id="@hourly"),
        pytest.param("@daily", "UTC", "2026-03-01T01:30", "2026-03-02T00:00", id="@daily"),
        pytest.param("@weekly", "UTC", "2026-03-03T00:00", "2026-03-08T00:00", id="@weekly is Sunday"),
        pytest.param("@monthly", "UTC", "2026-03-03T00:00", "2026-04-01T00:00", id="@monthly"),
        pytest.param("@yearly", "UTC", "2026-03-03T00:00", "2027-01-01T00:00", id="@yearly"),
        pytest.param("0 2 * * *", BERLIN, "2026-01-01T00:30", "2026-01-01T01:00", id="in a zone, winter"),
        pytest.param("0 2 * * *", BERLIN, "2026-07-01T00:30", "2026-07-02T00:00", id="in a zone, summer"),
        pytest.param("0 0 29 2 *", "UTC", "2026-01-01T00:00", "2028-02-29T00:00", id="leap days"),
        pytest.param("0 9 * * mon-fri", "UTC", "2026-03-06T10:00", "2026-03-09T09:00", id="weekdays"),
        pytest.param("0 0 1 * 1", "UTC", "2026-03-03T00:00", "2026-03-09T00:00", id="day of month or of week"),
        pytest.param("30 2 * * *", "Australia/Lord_Howe", "2026-03-31T00:00", "2026-03-31T15:30", id="half an hour"),
        pytest.param("0 0 * * *", "Pacific/Apia", "2026-03-31T00:00", "2026-03-31T11:00", id="far east"),
    ],
)
def test_the_next_time(schedule: str, zone: str, after: str, wanted: str) -> None:
    assert next_time(schedule, zone, utc(after)) == utc(wanted)


@pytest.mark.parametrize(
    ("schedule", "wanted"),
    [
        pytest.param("30 2 * * *", ["28T01:30", "29T01:00", "30T00:30"], id="right after the gap"),
        pytest.param("0 2 * * *", ["28T01:00", "29T01:00", "30T00:00"], id="at the beginning of the gap"),
        pytest.param("0 3 * * *", ["28T02:00", "29T01:00", "30T01:00"], id="at the end of the gap"),
        pytest.param("0,30 2 * * *", ["28T01:00", "28T01:30", "29T01:00", "30T00:00", "30T00:30"], id="two as one"),
        pytest.param(
            "*/30 2 * * *", ["28T01:00", "28T01:30", "29T01:00", "30T00:00", "30T00:30"], id="every half of one hour"
        ),
        pytest.param("0 2 29 3 *", ["29T01:00"], id="once a year, in the gap"),
    ],
)
def test_a_gap_swallows_nothing(schedule: str, wanted: list[str]) -> None:
    assert fires(schedule, wall("2026-03-28T00:00"), wall("2026-03-30T12:00")) == wanted


@pytest.mark.parametrize(
    ("schedule", "wanted"),
    [
        pytest.param("30 2 * * *", ["24T00:30", "25T00:30", "26T01:30"], id="the first of the two"),
        pytest.param("0 3 * * *", ["24T01:00", "25T02:00", "26T02:00"], id="the end comes once"),
        pytest.param("*/30 2 * * *", ["24T00:00", "24T00:30", "25T00:00", "25T00:30", "26T01:00", "26T01:30"], id="*/"),
    ],
)
def test_an_hour_that_comes_twice_fires_once(schedule: str, wanted: list[str]) -> None:
    assert fires(schedule, wall("2026-10-24T00:00"), wall("2026-10-26T12:00")) == wanted


def test_in_the_second_half_of_the_hour_nothing_fires_again() -> None:
    for minutes in range(0, 60, 7):
        second = utc("2026-10-25T01:00") + timedelta(minutes=minutes)
        assert next_time("30 2 * * *", BERLIN, second) == utc("2026-10-26T01:30")


def test_every_hour_is_every_hour_that_passes() -> None:
    for first in ("2026-03-28T12:00", "2026-10-24T12:00"):
        hours = [utc(f"2026-01-{text}") for text in fires("0 * * * *", wall(first), wall(first) + timedelta(days=1))]
        assert len(hours) == 24
    spring = fires("0 */2 * * *", wall("2026-03-28T23:30"), wall("2026-03-29T06:30"))
    assert spring == ["28T23:00", "29T01:00", "29T02:00", "29T04:00"], "02:00 at once after the gap, then 04:00, 06:00"


SIX_HOURS = "0 */6 * * *"


@pytest.mark.parametrize(
    ("planned", "now", "deadline", "wanted"),
    [
        pytest.param(None, "2026-03-01T07:00", None, Tick(utc("2026-03-01T12:00")), id="a new one waits"),
        pytest.param(
            "2026-03-01T12:00", "2026-03-01T11:59:59", None, Tick(utc("2026-03-01T12:00")), id="not yet its time"
        ),
        pytest.param(
            "2026-03-01T12:00",
            "2026-03-01T12:00",
            None,
            Tick(utc("2026-03-01T18:00"), due=utc("2026-03-01T12:00")),
            id="its time",
        ),
        pytest.param(
            "2026-03-01T12:00",
            "2026-03-09T13:00",
            None,
            Tick(utc("2026-03-09T18:00"), due=utc("2026-03-09T12:00")),
            id="an outage of a week is made up for by one",
        ),
        pytest.param(
            "2026-03-01T12:00",
            "2026-03-09T13:00",
            timedelta(minutes=30),
            Tick(utc("2026-03-09T18:00"), missed=utc("2026-03-09T12:00")),
            id="too late for the deadline",
        ),
        pytest.param(
            "2026-03-01T12:00",
            "2026-03-09T12:20",
            timedelta(minutes=30),
            Tick(utc("2026-03-09T18:00"), due=utc("2026-03-09T12:00")),
            id="the last of those that were missed is what the deadline counts from",
        ),
        pytest.param(
            "2031-03-01T12:00",
            "2026-03-01T13:00",
            None,
            Tick(utc("2026-03-01T18:00")),
            id="a clock that was ahead for a while stops nothing",
        ),
    ],
)
def test_what_is_due(planned: str | None, now: str, deadline: timedelta | None, wanted: Tick) -> None:
    assert tick(SIX_HOURS, "UTC", None if planned is None else utc(planned), utc(now), deadline) == wanted


def test_years_of_outage_are_found_out_about_at_once() -> None:
    now = utc("2026-03-01T12:00:30")
    assert tick("* * * * *", "UTC", utc("2006-03-01T00:00"), now).due == utc("2026-03-01T12:00")
    assert tick("@yearly", "UTC", utc("2020-01-01T00:00"), now).due == utc("2026-01-01T00:00")
    assert tick("0 0 29 2 *", "UTC", utc("2020-02-29T00:00"), now).due == utc("2024-02-29T00:00")


def test_a_run_s_id_is_the_same_for_whoever_asks_again() -> None:
    first = run_id_of("uid", utc("2026-03-01T12:00"))
    assert len(first) == 8
    assert first == run_id_of("uid", utc("2026-03-01T12:00").astimezone(ZoneInfo(BERLIN)))
    assert first != run_id_of("uid", utc("2026-03-01T18:00"))
    assert first != run_id_of("other", utc("2026-03-01T12:00"))


SCHEDULES = st.sampled_from(
    ["@hourly", "@daily", "@weekly", "30 2 * * *", "*/20 1-3 * * *", "15 */3 * * *", "59 23 * * sun", "0 3 1 * *"]
)
ZONES = st.sampled_from(["UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Havana"])
MOMENTS = st.integers(0, 3 * 365 * 24 * 60).map(lambda minutes: utc("2025-01-01T00:00") + timedelta(minutes=minutes))


@given(SCHEDULES, ZONES, MOMENTS)
def test_nothing_fires_in_the_past_or_twice(schedule: str, zone: str, start: datetime) -> None:
    times = [start]
    for _ in range(5):
        times.append(next_time(schedule, zone, times[-1]))
    assert all(before < after for before, after in pairwise(times))


@given(SCHEDULES, ZONES, MOMENTS, st.integers(1, 60 * 24 * 50))
def test_the_last_time_is_the_one_before_the_next(schedule: str, zone: str, start: datetime, minutes: int) -> None:
    until = start + timedelta(minutes=minutes)
    last = last_time(schedule, zone, start, until)
    following = next_time(schedule, zone, until)
    assert following > until
    if last is None:
        assert next_time(schedule, zone, start) == following
    else:
        assert start < last <= until
        assert next_time(schedule, zone, last) == following


@given(ZONES, st.integers(0, 23), st.integers(0, 59), MOMENTS)
def test_a_daily_time_fires_once_on_each_day_whatever_the_clocks_do(
    zone: str, hour: int, minute: int, start: datetime
) -> None:
    days, time = [], start
    for _ in range(4):
        time = next_time(f"{minute} {hour} * * *", zone, time)
        days.append(time.astimezone(ZoneInfo(zone)).date())
    assert all(after - before == timedelta(days=1) for before, after in pairwise(days))
