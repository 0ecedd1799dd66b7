"""Which backups stay and which go: tables of known answers, and laws that hold for whatever is there."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbtether.api.backupschedule import Retention
from dbtether.backup.retention import DatabaseId, Policy, RetentionPlan, Stored, plan_retention

DATABASE = DatabaseId("here", "main", "app")
NIGHTLY, HOURLY = "team/nightly", "team/hourly"
NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def stored(text: str, schedule: str | None = NIGHTLY, **changes: object) -> Stored:
    """A complete backup of the database, whose key is its time."""
    values = {"key": text, "database": DATABASE, "schedule": schedule, "taken_at": at(text), "is_complete": True}
    return Stored(**{**values, **changes})  # type: ignore[arg-type]


def rules(last: int = 0, daily: int = 0, weekly: int = 0, monthly: int = 0) -> Retention:
    return Retention.model_validate(
        {"keepLast": last, "keepDaily": daily, "keepWeekly": weekly, "keepMonthly": monthly}
    )


def plan(
    objects: Sequence[Stored],
    retention: Retention,
    *,
    zone: str = "UTC",
    others: dict[str | None, Policy] | None = None,
    confirmed: str | None = None,
    now: datetime = NOW,
) -> RetentionPlan:
    policies: dict[str | None, Policy] = {NIGHTLY: Policy(retention, zone), **(others or {})}
    return plan_retention(NIGHTLY, DATABASE, policies, objects, now, confirmed)


def kept(made: RetentionPlan) -> dict[str, tuple[str, ...]]:
    return {judged.key: judged.reasons for judged in made.kept}


DAYS = tuple(stored(f"2026-03-{day:02}T02:00") for day in range(1, 11))


@pytest.mark.parametrize(
    ("objects", "retention", "wanted"),
    [
        pytest.param(
            DAYS,
            rules(last=3),
            {
                "2026-03-10T02:00": ("the newest", "last 1 of 3"),
                "2026-03-09T02:00": ("last 2 of 3",),
                "2026-03-08T02:00": ("last 3 of 3",),
            },
            id="the last three",
        ),
        pytest.param(
            [stored(f"2026-03-{day:02}T{hour:02}:00") for day in (1, 2, 9) for hour in (2, 14)],
            rules(daily=2),
            {
                "2026-03-09T14:00": ("the newest", "daily 2026-03-09"),
                "2026-03-02T14:00": ("daily 2026-03-02",),
            },
            id="the newest of the two latest days that have one, however far apart",
        ),
        pytest.param(
            [stored("2026-12-27T02:00"), stored("2026-12-28T02:00"), stored("2027-01-03T02:00")],
            rules(weekly=2),
            {
                "2027-01-03T02:00": ("the newest", "weekly 2026-W53"),
                "2026-12-27T02:00": ("weekly 2026-W52",),
            },
            id="ISO weeks run over the end of the year",
        ),
        pytest.param(
            [stored("2025-12-31T02:00"), stored("2026-01-31T02:00"), stored("2026-03-01T02:00")],
            rules(monthly=2),
            {
                "2026-03-01T02:00": ("the newest", "monthly 2026-03"),
                "2026-01-31T02:00": ("monthly 2026-01",),
            },
            id="months without a backup take no place",
        ),
        pytest.param(
            DAYS,
            rules(last=1, daily=2, weekly=2, monthly=1),
            {
                "2026-03-10T02:00": (
                    "the newest",
                    "last 1 of 1",
                    "daily 2026-03-10",
                    "weekly 2026-W11",
                    "monthly 2026-03",
                ),
                "2026-03-09T02:00": ("daily 2026-03-09",),
                "2026-03-08T02:00": ("weekly 2026-W10",),
            },
            id="the union of all rules, with all reasons",
        ),
        pytest.param([DAYS[0]], rules(last=5), {"2026-03-01T02:00": ("the newest", "last 1 of 5")}, id="one alone"),
        pytest.param((), rules(last=5), {}, id="nothing there"),
    ],
)
def test_what_stays(objects: Sequence[Stored], retention: Retention, wanted: dict[str, tuple[str, ...]]) -> None:
    made = plan(objects, retention, now=at("2027-02-01T00:00"), confirmed=None)
    assert kept(made) == wanted
    assert {judged.key for judged in made.removed} == {one.key for one in objects} - set(wanted)


def test_an_empty_policy_deletes_nothing() -> None:
    made = plan(DAYS, rules())
    assert made.removed == ()
    assert kept(made)["2026-03-01T02:00"] == ("the schedule has no retention",)


@pytest.mark.parametrize(
    ("zone", "wanted"),
    [
        ("UTC", {"2026-03-02T23:30": ("the newest", "daily 2026-03-02"), "2026-03-01T22:30": ("daily 2026-03-01",)}),
        # The night from Sunday to Monday of that zone is on the next day there.
        (
            "Asia/Tokyo",
            {"2026-03-02T23:30": ("the newest", "daily 2026-03-03"), "2026-03-02T01:00": ("daily 2026-03-02",)},
        ),
    ],
)
def test_days_are_those_of_the_schedules_time_zone(zone: str, wanted: dict[str, tuple[str, ...]]) -> None:
    objects = [stored("2026-03-01T22:30"), stored("2026-03-02T01:00"), stored("2026-03-02T23:30")]
    objects = [one for one in objects if zone != "UTC" or one.key != "2026-03-02T01:00"]
    assert kept(plan(objects, rules(daily=2), zone=zone)) == wanted


def test_both_hours_of_the_night_when_clocks_go_back_are_one_day() -> None:
    objects = [stored("2025-10-26T00:30"), stored("2025-10-26T01:30"), stored("2025-10-25T01:30")]
    made = plan(objects, rules(daily=1), zone="Europe/Berlin")
    assert kept(made) == {"2025-10-26T01:30": ("the newest", "daily 2025-10-26")}


def test_a_clock_in_the_future_takes_no_place_and_its_backup_stays() -> None:
    wrong = [stored("2031-01-01T00:00"), stored("2031-01-02T00:00")]
    made = plan([*DAYS[:4], *wrong], rules(last=2))
    assert kept(made) == {
        "2031-01-02T00:00": ("its time is in the future",),
        "2031-01-01T00:00": ("its time is in the future",),
        "2026-03-04T02:00": ("the newest", "last 1 of 2"),
        "2026-03-03T02:00": ("last 2 of 2",),
    }


def test_a_clock_that_is_a_little_ahead_is_no_matter() -> None:
    soon = stored("2026-03-15T12:01")
    assert kept(plan([*DAYS[:3], soon], rules(last=1))) == {"2026-03-15T12:01": ("the newest", "last 1 of 1")}


def test_what_is_held_stays_and_takes_its_place() -> None:
    objects = [*DAYS[1:4], stored("2026-03-01T02:00", is_held=True)]
    assert kept(plan(objects, rules(last=1))) == {
        "2026-03-04T02:00": ("the newest", "last 1 of 1"),
        "2026-03-01T02:00": ("held",),
    }


def test_what_is_none_of_the_schedules_business_is_left_alone() -> None:
    others = [
        Stored("unknown"),
        Stored("manual", DATABASE, None, at("2026-01-01T00:00"), True),
        Stored("half", DATABASE, NIGHTLY, at("2026-01-01T00:00"), False),
        Stored("db2", DatabaseId("here", "main", "app2"), NIGHTLY, at("2026-01-01T00:00"), True),
        Stored("cluster2", DatabaseId("here", "main2", "app"), NIGHTLY, at("2026-01-01T00:00"), True),
        Stored("elsewhere", DatabaseId("there", "main", "app"), NIGHTLY, at("2026-01-01T00:00"), True),
        Stored("hourly", DATABASE, HOURLY, at("2026-01-01T00:00"), True),
    ]
    made = plan([*others, *DAYS[:3]], rules(last=1))
    assert {judged.key: judged.reasons for judged in made.untouched} == {
        "unknown": ("it has no manifest of ours that can be trusted",),
        "manual": ("a person asked for it",),
        "half": ("it is not complete",),
        "db2": ("it is a backup of another database",),
        "cluster2": ("it is a backup of another database",),
        "elsewhere": ("it belongs to another installation",),
        "hourly": ("it belongs to the schedule team/hourly",),
    }
    assert made.to_delete == ("2026-03-02T02:00", "2026-03-01T02:00")


def test_an_incomplete_backup_takes_no_place() -> None:
    half = stored("2026-03-11T02:00", is_complete=False)
    assert kept(plan([*DAYS[:2], half], rules(last=1))) == {"2026-03-02T02:00": ("the newest", "last 1 of 1")}


def test_schedules_that_share_a_database_must_agree() -> None:
    other: dict[str | None, Policy] = {HOURLY: Policy(rules(weekly=2))}
    made = plan(DAYS, rules(last=1), others=other)
    assert kept(made) == {
        "2026-03-10T02:00": ("the newest", "last 1 of 1", "weekly 2026-W11 of team/hourly"),
        "2026-03-08T02:00": ("weekly 2026-W10 of team/hourly",),
    }


def test_another_schedule_without_retention_keeps_its_own_only() -> None:
    made = plan(DAYS[:5], rules(last=1), others={HOURLY: Policy(rules())})
    assert len(made.removed) == 4


def test_the_backups_of_another_schedule_take_no_place_in_this_one() -> None:
    newer = [stored(f"2026-03-12T{hour:02}:00", HOURLY) for hour in range(5)]
    made = plan([*DAYS[:3], *newer], rules(last=2), others={HOURLY: Policy(rules(last=1))})
    assert kept(made) == {
        "2026-03-03T02:00": ("the newest", "last 1 of 2"),
        "2026-03-02T02:00": ("last 2 of 2",),
    }


@pytest.mark.parametrize(
    ("count", "confirmed", "is_refused"),
    [
        pytest.param(10, None, False, id="up to ten go without a question"),
        pytest.param(11, None, True, id="more than half of eleven are asked for"),
        pytest.param(11, "9", True, id="another count confirms nothing"),
        pytest.param(11, "true", True, id="a word confirms nothing"),
        pytest.param(11, "10", False, id="the count confirms it"),
    ],
)
def test_many_at_once_need_a_persons_word(count: int, confirmed: str | None, is_refused: bool) -> None:
    objects = [stored(f"2026-03-01T{hour:02}:00") for hour in range(count)]
    made = plan(objects, rules(last=1), confirmed=confirmed)
    assert (made.refusal is not None) is is_refused
    assert len(made.to_delete) == (0 if is_refused else count - 1)
    assert len(made.removed) == count - 1
    if made.refusal:
        assert made.refusal.startswith("10 of 11 backups would go at once, more than half of them, and nothing was del")
        assert "confirm the number if that is meant" in made.refusal


def test_half_of_many_go_without_a_question() -> None:
    objects = [stored(f"2026-03-01T{hour:02}:00") for hour in range(20)]
    assert plan(objects, rules(last=10)).refusal is None
    assert plan(objects, rules(last=9)).refusal is not None


def test_without_a_schedule_it_is_about_what_a_person_asked_for() -> None:
    by_hand = [stored(f"2026-03-0{day}T03:00", None) for day in (1, 2, 3)]
    made = plan_retention(None, DATABASE, {None: Policy(rules(last=2))}, [*DAYS, *by_hand], NOW)
    assert made.to_delete == ("2026-03-01T03:00",)
    assert list(kept(made)) == ["2026-03-03T03:00", "2026-03-02T03:00"]
    assert {judged.reasons for judged in made.untouched} == {(f"it belongs to the schedule {NIGHTLY}",)}


# -- laws ---------------------------------------------------------------------------------------------

_times = st.integers(0, 3 * 365 * 24 * 60).map(lambda minutes: at("2024-01-01T00:00") + timedelta(minutes=minutes))
_databases = st.sampled_from([DATABASE, DatabaseId("here", "main", "app2"), DatabaseId("there", "main", "app"), None])
_objects = st.lists(
    st.builds(
        Stored,
        key=st.uuids().map(str),
        database=st.sampled_from([DATABASE, DATABASE, DATABASE]) | _databases,
        schedule=st.sampled_from([NIGHTLY, NIGHTLY, HOURLY, None]),
        taken_at=_times,
        is_complete=st.sampled_from([True, True, True, False]),
        is_held=st.sampled_from([False, False, False, True]),
    ),
    max_size=40,
)
_rules = st.builds(rules, *(st.integers(0, 4) for _ in range(4)))
_zones = st.sampled_from(["UTC", "Asia/Tokyo", "America/St_Johns", "Europe/Berlin"])


def _is_ours(one: Stored) -> bool:
    return one.database == DATABASE and one.schedule == NIGHTLY and one.is_complete


@given(_objects, _rules, _rules, _zones)
def test_every_object_is_judged_once_and_only_our_own_ever_go(
    objects: list[Stored], mine: Retention, theirs: Retention, zone: str
) -> None:
    made = plan(objects, mine, zone=zone, others={HOURLY: Policy(theirs, zone)})
    judged = [one.key for one in (*made.kept, *made.removed, *made.untouched)]
    assert sorted(judged) == sorted(one.key for one in objects)
    ours = {one.key: one for one in objects if _is_ours(one)}
    assert {one.key for one in (*made.kept, *made.removed)} == set(ours)
    assert set(made.to_delete) <= set(ours)
    assert all(one.reasons for one in (*made.kept, *made.removed, *made.untouched))
    for key in made.to_delete:
        assert not ours[key].is_held
        assert (ours[key].taken_at or NOW) <= NOW + timedelta(minutes=5)


@given(_objects, _rules, _zones)
def test_the_newest_good_one_never_goes(objects: list[Stored], mine: Retention, zone: str) -> None:
    past = [one for one in objects if _is_ours(one) and one.taken_at is not None and one.taken_at <= NOW]
    made = plan(objects, mine, zone=zone, confirmed=None)
    if past:
        newest = max(past, key=lambda one: (one.taken_at, one.key))
        assert newest.key not in {one.key for one in made.removed}


@given(_objects, _rules, _zones)
def test_what_was_kept_stays_kept_after_the_others_are_gone(objects: list[Stored], mine: Retention, zone: str) -> None:
    made = plan(objects, mine, zone=zone)
    left = [one for one in objects if one.key not in {judged.key for judged in made.removed}]
    again = plan(left, mine, zone=zone)
    assert again.removed == ()
    assert again.kept == made.kept


@given(_objects, _rules, _rules)
def test_a_wider_policy_and_another_schedule_never_delete_more(
    objects: list[Stored], mine: Retention, theirs: Retention
) -> None:
    alone = {judged.key for judged in plan(objects, mine).removed}
    if not mine.keeps_all:
        wider = rules(*(count + 1 for count in (mine.keep_last, mine.keep_daily, mine.keep_weekly, mine.keep_monthly)))
        assert {judged.key for judged in plan(objects, wider).removed} <= alone
    shared = plan(objects, mine, others={HOURLY: Policy(theirs)})
    assert {judged.key for judged in shared.removed} <= alone


@given(st.lists(_times, max_size=30, unique=True), st.integers(1, 5))
def test_time_alone_deletes_nothing(times: list[datetime], last: int) -> None:
    objects = [Stored(time.isoformat(), DATABASE, NIGHTLY, time, True) for time in times]
    late = datetime(2040, 1, 1, tzinfo=UTC)
    made = plan(objects, rules(last=last), now=late)
    assert len(made.kept) == min(last, len(objects))
    assert plan(objects, rules(last=last), now=late + timedelta(days=3650)) == made


@given(_objects, _rules)
def test_the_order_in_which_a_store_lists_is_no_matter(objects: list[Stored], mine: Retention) -> None:
    assert plan(objects, mine) == plan(objects[::-1], mine)
