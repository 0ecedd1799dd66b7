"""The controller of BackupSchedules: starts backups by the clock, and lets go of those that nothing keeps."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from dbtether.api.backupschedule import BackupSchedulePhase, BackupScheduleSpec, ConcurrencyPolicy
from dbtether.api.kinds import CONFIRM_PRUNE, SCHEDULE_LABEL
from dbtether.api.resource import Key, Owner, Resource
from dbtether.api.times import instant_of, instant_text
from dbtether.api.validation import validate_resource
from dbtether.backup.schedule import Tick, next_time, run_id_of, tick
from dbtether.controllers.base import Controller
from dbtether.controllers.report import Level, Remark, Report
from dbtether.controllers.schedulebackups import (
    Made,
    alarm_time,
    failed_beyond,
    freshness,
    last_success,
    made_by,
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
        target = await schedule_target(self.world, resource, spec)
        made = made_by(resource, await self.world.store.list("Backup"))
        look = _Look(resource, spec, made, self.world.now())
        for one in failed_beyond(made, spec.failed_history_limit):
            await self.world.store.delete_resource(one.resource)
        fields, remark = await self._retention(look, target)
        ticked = None if spec.suspend else await self._start(look)
        if ticked is not None:
            fields |= {"nextScheduledTime": instant_text(ticked.next)}
            fields |= {} if ticked.due is None else {"lastBackupTime": instant_text(look.now)}
        else:
            fields |= {"nextScheduledTime": None}
        await self._tell(look, fields, remark)
        return _again(look, ticked, remark)

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

    async def _create(self, look: _Look, key: Key) -> None:
        resource, spec = look.resource, look.spec
        wanted: dict[str, Any] = {
            "databaseRef": dict(resource.spec["databaseRef"]),
            "storageRef": {"name": spec.storage_ref.name},
            "filenameTemplate": spec.filename_template,
        }
        owner = Owner(self.kind, resource.key.name, resource.uid)
        try:
            await self.world.store.create_resource(key, wanted, labels={SCHEDULE_LABEL: resource.key.name}, owner=owner)
        except StateError:
            # Created before a crash, which kept the status from telling of it.
            if await self.world.store.get(key) is None:
                raise

    async def _retention(self, look: _Look, target: Target) -> tuple[dict[str, Any], Remark | None]:
        """After each success: what is told of it, and the remark when it could not be done."""
        known = instant_of(look.resource.status, "lastSuccessfulBackup")
        is_due = look.last != known or _failed_before(look.resource)
        if look.spec.retention.keeps_all or look.last is None or not is_due:
            return {}, _kept_remark(look.resource) if is_due is False else None
        try:
            retained = await retain(self.world, look.resource, look.spec, target)
        except StorageError as error:
            return {}, Remark("Retained", False, error.fault.value, error.message)
        except (Retryable, Blocked) as error:
            return {}, Remark("Retained", False, error.reason, error.message)
        for backup in gone_with(retained, [(one.resource, one.path) for one in look.made]):
            await self.world.store.delete_resource(backup)
        if retained.pruned.deleted and CONFIRM_PRUNE in look.resource.annotations:
            await self._spend_confirmation(look.resource)
        refusal, failure = retained.decision.plan.refusal, retained.pruned.failure
        if refusal is not None:
            count = len(retained.decision.plan.removed)
            text = f"{refusal}: annotate the BackupSchedule with {CONFIRM_PRUNE}={count}"
            return {"retention": retained.status}, Remark("Retained", False, "PruneNotConfirmed", text)
        if failure is not None:
            return {"retention": retained.status}, Remark("Retained", False, failure.fault.value, failure.message)
        return {"retention": retained.status}, Remark("Retained", True, "Ready", "What no rule keeps is deleted")

    async def _spend_confirmation(self, resource: Resource) -> None:
        """Take the annotation off: it was about these, and not about as many some other day."""
        latest = await self.world.store.get(resource.key)
        if latest is not None and latest.uid == resource.uid:
            await self.world.store.write_annotation(latest, CONFIRM_PRUNE, None)

    async def _tell(self, look: _Look, fields: dict[str, Any], remark: Remark | None) -> None:
        fresh = freshness(look.spec, look.resource, look.last, look.now)
        is_stale = fresh is not None and not fresh.holds
        phase = BackupSchedulePhase.SUSPENDED if look.spec.suspend else BackupSchedulePhase.ACTIVE
        good = sum(1 for one in look.made if one.phase == "Completed")
        fields = {
            **fields,
            "managedBackups": good,
            "lastSuccessfulBackup": None if look.last is None else instant_text(look.last),
        }
        remarks = tuple(one for one in (fresh, remark) if one is not None)
        message = fresh.message if fresh is not None and is_stale else _sentence(look, fields)
        reason = "BackupOverdue" if is_stale else "Ready"
        await self._report(
            look.resource, Report(phase, Level.READY, reason, message, fields, warns=is_stale, remarks=remarks)
        )

    def phase(self, resource: Resource, wanted: str) -> str:
        """What the kind's status knows: Active, Suspended or Failed."""
        return wanted if wanted in tuple(BackupSchedulePhase) else BackupSchedulePhase.ACTIVE

    def made_nothing(self, resource: Resource) -> bool:
        """Its Backups go with it."""
        return False

    async def delete(self, resource: Resource) -> None:
        """Delete its Backups; their objects stay."""
        for one in made_by(resource, await self.world.store.list("Backup")):
            await self.world.store.delete_resource(one.resource)

    async def give_up(self, resource: Resource) -> str:
        """Leave its Backups."""
        return "its Backups"


def _tick(look: _Look) -> Tick:
    spec = look.spec
    planned = instant_of(look.resource.status, "nextScheduledTime")
    if planned is not None and next_time(spec.schedule, spec.time_zone, planned - timedelta(seconds=1)) != planned:
        # The schedule was changed: what the old one planned is nobody's any more.
        planned = None
    deadline = None if spec.starting_deadline is None else timedelta(seconds=spec.starting_deadline.seconds)
    return tick(spec.schedule, spec.time_zone, planned, look.now, deadline)


def _again(look: _Look, ticked: Tick | None, remark: Remark | None) -> Outcome:
    times = [alarm_time(look.spec, look.resource, look.last), None if ticked is None else ticked.next]
    if remark is not None and not remark.holds:
        times.append(look.now + _RETENTION_AGAIN)
    to_come = [time for time in times if time is not None and time > look.now]
    return Again((min(to_come) - look.now) / timedelta(seconds=1)) if to_come else Done()


def _conditions(resource: Resource) -> Sequence[Any]:
    found = resource.status.get("conditions", ())
    return [entry for entry in found if isinstance(entry, dict) and entry.get("type") == "Retained"]


def _failed_before(resource: Resource) -> bool:
    return any(entry.get("status") == "False" for entry in _conditions(resource))


def _kept_remark(resource: Resource) -> Remark | None:
    """The remark as it was: nothing has happened since."""
    for entry in _conditions(resource):
        return Remark("Retained", True, entry.get("reason", "Ready"), entry.get("message", ""))
    return None


def _sentence(look: _Look, fields: dict[str, Any]) -> str:
    if look.spec.suspend:
        return "Suspended: no backups are started"
    return f"The next backup is due at {fields['nextScheduledTime']}"
