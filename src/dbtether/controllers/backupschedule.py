"""The controller of BackupSchedules: starts backups by the clock, and lets go of those that nothing keeps."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from dbtether.api.backup import RunPhase
from dbtether.api.backupschedule import BackupSchedulePhase, BackupScheduleSpec, ConcurrencyPolicy
from dbtether.api.kinds import CONFIRM_PRUNE, SCHEDULE_LABEL
from dbtether.api.resource import Key, Owner, Resource
from dbtether.api.times import instant_of, instant_text
from dbtether.api.validation import check, validate_resource
from dbtether.backup.schedule import Tick, run_id_of
from dbtether.controllers.base import Controller, Waiting
from dbtether.controllers.report import Level, Remark, Report
from dbtether.controllers.schedulebackups import (
    Made,
    alarm_time,
    failed_beyond,
    freshness,
    last_success,
    made_by,
)
from dbtether.controllers.scheduledrills import (
    Drills,
    drill_fields,
    drill_key,
    drill_spec,
    drill_tick,
    newest_good,
    planned_tick,
    spent,
    verified,
)
from dbtether.controllers.scheduleretention import Target, gone_with, retain, schedule_target
from dbtether.errors import Blocked, Retryable, StateError
from dbtether.runtime.reconcile import Again, Done, Outcome
from dbtether.runtime.store import EventType
from dbtether.storage.errors import StorageError

_RETENTION_AGAIN = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class _Look:
    """What one reconcile sees."""

    resource: Resource
    spec: BackupScheduleSpec
    made: tuple[Made, ...]
    now: datetime

    @property
    def last(self) -> datetime | None:
        """When the last good backup ended, also when its Backup is gone."""
        known = instant_of(self.resource.status, "lastSuccessfulBackup")
        return max((time for time in (known, last_success(self.made)) if time is not None), default=None)

    @property
    def alarm(self) -> datetime | None:
        """When it begins to be too old."""
        return alarm_time(self.spec, self.resource, self.last)


@dataclass(frozen=True, slots=True)
class _Retention:
    """How retention went."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    remark: Remark | None = None
    tried_again: bool = False
    """Whether it is tried again before the next success."""


class BackupScheduleController(Controller):
    """Creates a Backup at each time of a schedule, and deletes what retention does not keep."""

    kind = "BackupSchedule"

    def group(self, key: Key) -> str:
        """The schedule itself: a slow store must hold up no other."""
        return str(key)

    async def ensure(self, resource: Resource) -> Outcome:
        """Do what is due, and report. Raises Waiting, Retryable or Blocked."""
        spec = validate_resource(BackupScheduleSpec, resource)
        if self.world.executor.only_plans:
            await self._report(resource, Report(BackupSchedulePhase.ACTIVE, Level.READY, "Ready", "Not looked at"))
            return Done()
        made = made_by(resource, await self.world.store.list("Backup"))
        look = _Look(resource, spec, made, self.world.now())
        try:
            target = await schedule_target(self.world, resource, spec)
        except Waiting as waiting:
            # The last good backup grows old meanwhile.
            raise Waiting(waiting.reason, waiting.message, again_seconds=_seconds_until(look, look.alarm)) from None
        for one in failed_beyond(made, spec.failed_history_limit):
            await self.world.store.delete_resource(one.resource)
        retention = await self._retention(look, target)
        ticked = None if spec.suspend else await self._start(look)
        drills = await self._drill(look)
        await self._tell(look, ticked, retention, drills)
        times = [
            None if ticked is None else ticked.next,
            None if drills.ticked is None else drills.ticked.next,
            look.now + _RETENTION_AGAIN if retention.tried_again else None,
        ]
        seconds = _seconds_until(look, look.alarm, *times)
        return Done() if seconds is None else Again(seconds)

    async def _start(self, look: _Look) -> Tick:
        """Start what is due, and say what was; `due` is None where nothing was started."""
        found = _tick(look)
        if found.missed is not None:
            text = f"The backup of {instant_text(found.missed)} was not started within spec.startingDeadline"
            await self.world.store.record_event(look.resource, EventType.WARNING, "BackupMissed", text)
        if found.due is None:
            return found
        run_id = run_id_of(look.resource.uid, found.due)
        name = f"{look.resource.key.name}-{run_id}"
        running = [one for one in look.made if not one.is_over and one.resource.key.name != name]
        if running and look.spec.concurrency_policy is ConcurrencyPolicy.FORBID:
            text = f"The backup of {instant_text(found.due)} is skipped: {running[0].resource.key} has not ended yet"
            await self.world.store.record_event(look.resource, EventType.WARNING, "BackupSkipped", text)
            return Tick(found.next)
        if look.spec.concurrency_policy is ConcurrencyPolicy.REPLACE:
            for one in running:
                await self.world.store.delete_resource(one.resource)
        await self._create(look, Key("Backup", look.resource.key.namespace, name))
        return found

    async def _drill(self, look: _Look) -> Drills:
        """Begin the restore drill that is due, and let go of those that nobody needs to look at."""
        resource, verify = look.resource, look.spec.verify
        made = made_by(resource, await self.world.store.list("Restore"))
        for one in spent(made, look.spec.failed_history_limit):
            await self.world.store.delete_resource(one.resource)
        if verify is None or look.spec.suspend:
            return Drills(made)
        found = drill_tick(look.spec, verify, instant_of(resource.status, "nextVerification"), look.now)
        if found.due is None:
            return Drills(made, found)
        key, backup = drill_key(resource, found.due), newest_good(look.made)
        running = next((one for one in made if not one.is_over and one.resource.key != key), None)
        if running is not None or backup is None:
            why = "there is no good backup yet" if running is None else f"{running.resource.key} has not ended yet"
            text = f"The restore drill of {instant_text(found.due)} is skipped: {why}"
            await self.world.store.record_event(resource, EventType.WARNING, "VerificationSkipped", text)
        else:
            await self._make(resource, key, drill_spec(look.spec, verify, backup))
        return Drills(made, found)

    async def _create(self, look: _Look, key: Key) -> None:
        resource, spec = look.resource, look.spec
        wanted: dict[str, Any] = {
            "databaseRef": dict(resource.spec["databaseRef"]),
            "storageRef": {"name": spec.storage_ref.name},
            "filenameTemplate": spec.filename_template,
        }
        await self._make(resource, key, wanted)

    async def _make(self, resource: Resource, key: Key, wanted: dict[str, Any]) -> None:
        """Create what the schedule owns."""
        owner = Owner(self.kind, resource.key.name, resource.uid)
        try:
            await self.world.store.create_resource(key, wanted, labels={SCHEDULE_LABEL: resource.key.name}, owner=owner)
        except StateError:
            # Created before a crash, which kept the status from telling of it.
            if await self.world.store.get(key) is None:
                raise

    async def _retention(self, look: _Look, target: Target) -> _Retention:
        """After each success: delete what nothing keeps, and the Backups whose objects went."""
        before = _remark_before(look.resource, "Retained")
        if look.spec.retention.keeps_all or look.last is None:
            return _Retention()
        if not _is_due(look, before):
            return _Retention(remark=before)
        try:
            retained = await retain(self.world, look.resource, look.spec, target)
        except StorageError as error:
            return _Retention({}, Remark("Retained", False, error.fault.value, error.message), True)
        except (Retryable, Blocked) as error:
            remark = Remark("Retained", False, error.reason, error.message)
            return _Retention({}, remark, isinstance(error, Retryable))
        for backup in gone_with(retained, [(one.resource, one.path) for one in look.made]):
            await self.world.store.delete_resource(backup)
        if retained.pruned.deleted and CONFIRM_PRUNE in look.resource.annotations:
            await self._spend_confirmation(look.resource)
        fields = {"retention": retained.status}
        refusal, failure = retained.decision.plan.refusal, retained.pruned.failure
        if refusal is not None:
            count = len(retained.decision.plan.removed)
            text = f"{refusal}: annotate the BackupSchedule with {CONFIRM_PRUNE}={count}"
            return _Retention(fields, Remark("Retained", False, "PruneNotConfirmed", text))
        if failure is not None:
            remark = Remark("Retained", False, failure.fault.value, failure.message)
            return _Retention(fields, remark, failure.fault.passes)
        return _Retention(fields, Remark("Retained", True, "Ready", "What no rule keeps is deleted"))

    async def _spend_confirmation(self, resource: Resource) -> None:
        """Take the annotation off: it was about these, and not about as many some other day."""
        latest = await self.world.store.get(resource.key)
        if latest is not None and latest.uid == resource.uid:
            await self.world.store.write_annotation(latest, CONFIRM_PRUNE, None)

    async def _tell(self, look: _Look, ticked: Tick | None, retention: _Retention, drills: Drills) -> None:
        fields = {
            "managedBackups": sum(1 for one in look.made if one.phase is RunPhase.COMPLETED),
            **retention.fields,
            **drill_fields(look.resource, drills),
            "lastSuccessfulBackup": None if look.last is None else instant_text(look.last),
            "nextScheduledTime": None if ticked is None else instant_text(ticked.next),
        }
        if ticked is not None and ticked.due is not None:
            fields["lastBackupTime"] = instant_text(look.now)
        fresh, remark = freshness(look.spec, look.resource, look.last, look.now), retention.remark
        before = _remark_before(look.resource, "Verified")
        proof = verified(look.spec, drills, before, look.now)
        if proof is not None and proof.holds and proof != before:
            # One that failed is told by the condition Ready, with an Event of its own.
            await self.world.store.record_event(look.resource, EventType.NORMAL, proof.reason, proof.message)
        reason, message, warns = "Ready", _sentence(ticked), False
        if fresh is not None and not fresh.holds:
            reason, message, warns = fresh.reason, fresh.message, True
        elif proof is not None and proof.reason == "VerificationFailed":
            reason, message, warns = proof.reason, proof.message, True
        elif remark is not None and not remark.holds:
            reason, message, warns = "RetentionIncomplete", remark.message, True
        remarks = tuple(one for one in (fresh, remark, proof) if one is not None)
        report = Report(_phase(look.spec), Level.READY, reason, message, fields, warns=warns, remarks=remarks)
        await self.world.write(look.resource, report)

    async def _report(self, resource: Resource, report: Report) -> None:
        """A look that did not come to its end tells how old the last good backup is, and what retention left undone."""
        last = instant_of(resource.status, "lastSuccessfulBackup")
        spec, _ = check(BackupScheduleSpec, resource.key, resource.spec)
        fresh = None if spec is None else freshness(spec, resource, last, self.world.now())
        before = (_remark_before(resource, type_) for type_ in ("Retained", "Verified"))
        remarks = tuple(one for one in (fresh, *before) if one is not None)
        await super()._report(resource, replace(report, remarks=remarks))

    def phase(self, resource: Resource, wanted: str) -> str:
        """What the kind's status knows: Active, Suspended or Failed."""
        if wanted in tuple(BackupSchedulePhase):
            return wanted
        return BackupSchedulePhase.SUSPENDED if resource.spec.get("suspend") is True else BackupSchedulePhase.ACTIVE

    def made_nothing(self, resource: Resource) -> bool:
        """Its Backups and restore drills go with it."""
        return False

    async def delete(self, resource: Resource) -> None:
        """Delete its Backups and restore drills; the objects stay."""
        for kind in ("Backup", "Restore"):
            for one in made_by(resource, await self.world.store.list(kind)):
                await self.world.store.delete_resource(one.resource)

    async def give_up(self, resource: Resource) -> str:
        """Leave its Backups."""
        return "its Backups"


def _tick(look: _Look) -> Tick:
    spec = look.spec
    planned = instant_of(look.resource.status, "nextScheduledTime")
    deadline = None if spec.starting_deadline is None else timedelta(seconds=spec.starting_deadline.seconds)
    return planned_tick(spec.schedule, spec.time_zone, planned, look.now, deadline)


def _seconds_until(look: _Look, *times: datetime | None) -> float | None:
    """How long until the first of the times to come."""
    to_come = [time for time in times if time is not None and time > look.now]
    return (min(to_come) - look.now) / timedelta(seconds=1) if to_come else None


def _is_due(look: _Look, before: Remark | None) -> bool:
    """Whether there was a success since retention was done, or it was not done as it should."""
    resource = look.resource
    if look.last != instant_of(resource.status, "lastSuccessfulBackup"):
        return True
    if before is None or before.holds:
        return False
    has_news = CONFIRM_PRUNE in resource.annotations or resource.status.get("observedGeneration") != resource.generation
    return has_news or before.reason != "PruneNotConfirmed"


def _remark_before(resource: Resource, type_: str) -> Remark | None:
    """What a condition told before, such as how retention went when it was last done."""
    for entry in resource.status.get("conditions", ()):
        if isinstance(entry, dict) and entry.get("type") == type_:
            holds = entry.get("status") == "True"
            return Remark(type_, holds, str(entry.get("reason")), str(entry.get("message")))
    return None


def _phase(spec: BackupScheduleSpec) -> BackupSchedulePhase:
    return BackupSchedulePhase.SUSPENDED if spec.suspend else BackupSchedulePhase.ACTIVE


def _sentence(ticked: Tick | None) -> str:
    if ticked is None:
        return "Suspended: no backups are started"
    return f"The next backup is due at {instant_text(ticked.next)}"
