"""When a password is replaced: the table of the schedule, and its spread."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from dbtether.controllers.rotation import MAX_JITTER, OVERDUE_SPREAD, Schedule

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
UID = "7f0c2b52-3f0e-4d05-9f7b-3b1f0f4d7a10"
DAY = timedelta(days=1)
# What this uid gives of an interval of 30 days and of the hour of those that are overdue.
EARLY = 30 * DAY - (Schedule(UID, 30, NOW, None).next(NOW) - NOW)
SPREAD = Schedule(UID, 30, NOW - 300 * DAY, None).next(NOW) - NOW


@pytest.mark.parametrize(
    ("updated", "recorded", "expected"),
    [
        (NOW, None, NOW + 30 * DAY - EARLY),
        (NOW - 10 * DAY, None, NOW + 20 * DAY - EARLY),
        (NOW - 10 * DAY, NOW + DAY, NOW + 20 * DAY - EARLY),
        (NOW - 30 * DAY + EARLY, NOW, NOW),
        (NOW - 30 * DAY + EARLY - OVERDUE_SPREAD, NOW - OVERDUE_SPREAD, NOW - OVERDUE_SPREAD),
        (NOW - 300 * DAY, None, NOW + SPREAD),
        (NOW - 60 * DAY, NOW + 200 * DAY, NOW + SPREAD),
        (NOW - 60 * DAY + EARLY, NOW - 30 * DAY, NOW + SPREAD),
        (NOW - 60 * DAY, NOW + timedelta(minutes=7), NOW + timedelta(minutes=7)),
        (NOW - 60 * DAY, NOW - 3 * DAY, NOW - 3 * DAY),
        (None, None, NOW + 30 * DAY - EARLY),
        (None, NOW + 3 * DAY, NOW + 3 * DAY),
        (NOW + 4000 * DAY, NOW + 4030 * DAY, NOW + 30 * DAY - EARLY),
        (NOW + 4000 * DAY, NOW + 5 * DAY, NOW + 5 * DAY),
        (NOW + 4000 * DAY, NOW - 5 * DAY, NOW - 5 * DAY),
    ],
    ids=[
        "a new password lives its days, less the jitter",
        "an older one goes sooner",
        "another time that was announced is corrected",
        "the announced time has come",
        "a little late is due",
        "switched on for an old password: within the hour",
        "days lowered: within the hour",
        "nobody was there for a month: within the hour",
        "a time within the hour is kept",
        "a time within the hour that has passed is due however late it is",
        "nothing known: the age counts from now",
        "nothing known, announced before: kept",
        "changed in the far future: a clock was wrong, and the age counts from now",
        "changed in the far future, and announced by now: kept",
        "changed in the far future, and the announced time has come: due",
    ],
)
def test_the_next_rotation(updated: datetime | None, recorded: datetime | None, expected: datetime) -> None:
    assert Schedule(UID, 30, updated, recorded).next(NOW) == expected


@pytest.mark.parametrize("days", [1, 2, 10, 30, 365])
def test_no_password_outlives_its_days_or_goes_much_earlier(days: int) -> None:
    earliest = timedelta(days=days) - min(timedelta(days=days) / 10, MAX_JITTER)
    for number in range(200):
        age = Schedule(f"uid-{number}", days, NOW, None).next(NOW) - NOW
        assert earliest <= age <= timedelta(days=days)


@pytest.mark.parametrize("updated", [NOW, NOW - 300 * DAY], ids=["made in one second", "overdue at once"])
def test_a_thousand_users_do_not_rotate_in_one_minute(updated: datetime) -> None:
    times = [Schedule(f"uid-{number}", 30, updated, None).next(NOW) for number in range(1000)]
    per_minute = Counter(time.replace(second=0) for time in times)
    assert max(per_minute.values()) < 40
    assert min(times) > NOW
    assert max(per_second for per_second in Counter(times).values()) < 8


def test_without_a_spread_what_is_overdue_is_due() -> None:
    """For a run that looks once: nobody would be there within the hour."""
    for recorded in (None, NOW - 40 * DAY, NOW + 10 * DAY):
        assert Schedule(UID, 30, NOW - 60 * DAY, recorded).next(NOW, timedelta()) <= NOW


def test_a_time_that_was_recorded_is_given_again_until_it_has_come() -> None:
    """Each look in between writes no other status."""
    recorded: datetime | None = None
    seen = set()
    for minutes in range(0, 60, 5):
        now = NOW + timedelta(minutes=minutes)
        recorded = Schedule(UID, 30, NOW - 90 * DAY, recorded).next(now)
        seen.add(recorded)
    assert len(seen) == 1
