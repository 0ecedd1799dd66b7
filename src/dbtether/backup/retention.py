"""Which backups of a schedule stay and which go. Pure: what is there, the policies and the time give the answer.

The meaning is restic's, with one difference towards keeping less by surprise: keepLast n keeps the n newest;
keepDaily, keepWeekly and keepMonthly n keep the newest of each of the n latest days, ISO weeks and months that have
a backup, in the schedule's time zone. Nothing grows old by itself: a schedule that stalls loses nothing.

The caller deletes after a success only, never when a listing failed, and lists again right before.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from dbtether.api.backupschedule import Retention

MANY = 10
"""Above so many candidates, more than half of them never go at once without a person's word."""
_AHEAD = timedelta(minutes=5)
"""How far a clock may be ahead of ours before it is called wrong."""


@dataclass(frozen=True, slots=True, order=True)
class DatabaseId:
    """Exactly one database; a cluster's or a database's name alone is not enough."""

    installation: str
    cluster: str
    database: str


@dataclass(frozen=True, slots=True)
class Stored:
    """One object of the store, as its authenticated manifest tells of it."""

    key: str
    database: DatabaseId | None = None
    """None for an object without a manifest of ours that can be trusted."""
    schedule: str | None = None
    """`namespace/name` of its BackupSchedule; None for a backup that a person asked for."""
    taken_at: datetime | None = None
    """When its snapshot was taken."""
    is_complete: bool = False
    is_held: bool = False
    """Whether it is being restored, or a person holds it."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What one schedule wants kept, by its own days."""

    rules: Retention
    time_zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Judged:
    """An object, and why it stays or goes."""

    key: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RetentionPlan:
    """The answer for one schedule; the three lists together name every object once."""

    kept: tuple[Judged, ...]
    """Its backups that stay, newest first."""
    removed: tuple[Judged, ...]
    """Its backups that go, newest first; nothing may go while `refusal` is there."""
    untouched: tuple[Judged, ...]
    """All that is none of its business, by key."""
    refusal: str | None = None
    """Why nothing may go, and what a person does about it."""

    @property
    def to_delete(self) -> tuple[str, ...]:
        """The keys that may be deleted now."""
        return () if self.refusal is not None else tuple(judged.key for judged in self.removed)


@dataclass(frozen=True, slots=True)
class _Candidate:
    key: str
    schedule: str | None
    taken_at: datetime
    is_held: bool
    is_future: bool


@dataclass(slots=True)
class _Reasons:
    """Why candidates stay, in the order in which it was found."""

    of_key: dict[str, list[str]] = field(default_factory=dict)

    def add(self, key: str, reason: str) -> None:
        self.of_key.setdefault(key, []).append(reason)


def plan_retention(
    schedule: str | None,
    database: DatabaseId,
    policies: Mapping[str | None, Policy],
    objects: Sequence[Stored],
    now: datetime,
    confirmed: str | None = None,
) -> RetentionPlan:
    """What stays and what goes of a schedule's backups, each with its reasons.

    Without a schedule it is about those that a person asked for, which no schedule ever touches. `policies` has
    every schedule of the database, this one among them: what one of the others would keep stays as well.
    `confirmed` is how many may go at once: the value of the annotation `dbtether.io/confirm-prune`.
    """
    untouched = [Judged(one.key, (why,)) for one in objects if (why := _foreign(one, schedule, database))]
    everything = sorted(_candidates(database, objects, now), key=lambda one: (one.taken_at, one.key), reverse=True)
    shared = [one for one in everything if one.schedule is not None]
    own = [one for one in everything if one.schedule == schedule]
    reasons = _Reasons()
    _keep_always(own, reasons)
    _apply(policies[schedule], [one for one in own if not one.is_future], reasons, "")
    if policies[schedule].rules.keeps_all:
        for one in own:
            reasons.add(one.key, "the schedule has no retention")
    for other in sorted(name for name in policies if name is not None and name != schedule):
        _apply(policies[other], [one for one in shared if not one.is_future], reasons, f" of {other}")
    kept = tuple(Judged(one.key, tuple(reasons.of_key[one.key])) for one in own if one.key in reasons.of_key)
    removed = tuple(Judged(one.key, ("no rule keeps it",)) for one in own if one.key not in reasons.of_key)
    refusal = _refusal(len(own), len(removed), confirmed)
    return RetentionPlan(kept, removed, tuple(sorted(untouched, key=lambda judged: judged.key)), refusal)


def _foreign(one: Stored, schedule: str | None, database: DatabaseId) -> str | None:
    """Why an object is none of the schedule's business."""
    if one.database is None or one.taken_at is None:
        return "it has no manifest of ours that can be trusted"
    if one.database.installation != database.installation:
        return "it belongs to another installation"
    if one.database != database:
        return "it is a backup of another database"
    if not one.is_complete:
        return "it is not complete"
    if one.schedule == schedule:
        return None
    return "a person asked for it" if one.schedule is None else f"it belongs to the schedule {one.schedule}"


def _candidates(database: DatabaseId, objects: Sequence[Stored], now: datetime) -> Iterator[_Candidate]:
    for one in objects:
        if one.database == database and one.is_complete and one.taken_at is not None:
            is_future = one.taken_at > now + _AHEAD
            yield _Candidate(one.key, one.schedule, one.taken_at, one.is_held, is_future)


def _keep_always(own: Sequence[_Candidate], reasons: _Reasons) -> None:
    newest = next((one for one in own if not one.is_future), None)
    if newest is not None:
        reasons.add(newest.key, "the newest")
    for one in own:
        if one.is_held:
            reasons.add(one.key, "held")
        if one.is_future:
            # It would take the place of good ones for as long as its clock was wrong.
            reasons.add(one.key, "its time is in the future")


def _apply(policy: Policy, newest_first: Sequence[_Candidate], reasons: _Reasons, whose: str) -> None:
    rules, zone = policy.rules, ZoneInfo(policy.time_zone)
    for number, one in enumerate(newest_first[: rules.keep_last], start=1):
        reasons.add(one.key, f"last {number} of {rules.keep_last}{whose}")
    periods: tuple[tuple[int, str, Callable[[datetime], str]], ...] = (
        (rules.keep_daily, "daily", lambda time: time.strftime("%Y-%m-%d")),
        (rules.keep_weekly, "weekly", lambda time: "{}-W{:02}".format(*time.isocalendar()[:2])),
        (rules.keep_monthly, "monthly", lambda time: time.strftime("%Y-%m")),
    )
    for count, word, period_of in periods:
        seen: set[str] = set()
        for one in newest_first:
            period = period_of(one.taken_at.astimezone(zone))
            if period not in seen and len(seen) < count:
                seen.add(period)
                reasons.add(one.key, f"{word} {period}{whose}")


def _refusal(candidates: int, removed: int, confirmed: str | None) -> str | None:
    if candidates <= MANY or 2 * removed <= candidates or confirmed == str(removed):
        return None
    return (
        f"{removed} of {candidates} backups would go at once, more than half of them, and nothing was deleted: "
        "look at what would go, and confirm the number if that is meant"
    )
