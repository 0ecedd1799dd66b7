"""Replacing a user's password, in place or by turns, so that a crash at any point is made good.

In place: the server is asked whether it would take the new password, the new password is announced in the
status (as a fingerprint), the Secrets are written, then the login gets it. By turns: the idle login gets the
new password and is tried, then it is announced, then the Secrets name it. After a crash the Secret is the
truth, and the announcement tells a password of ours from one that somebody wrote there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from dbtether.api.kinds import ROTATE, ROTATE_NOW
from dbtether.api.resource import Resource
from dbtether.api.times import instant_of
from dbtether.controllers.base import World
from dbtether.controllers.grants import wake_databases
from dbtether.controllers.rotation import (
    GRACE,
    Logins,
    new_request,
    next_rotation,
    written,
)
from dbtether.controllers.userdrop import drop_login
from dbtether.controllers.userlogin import User, grant_roles, observe_login, verify
from dbtether.controllers.usersecrets import write_credentials
from dbtether.errors import Blocked, DbtetherError, Retryable
from dbtether.postgres.passwords import fingerprint, generate_password
from dbtether.postgres.roles.model import ObservedLogin
from dbtether.postgres.roles.plan import plan
from dbtether.postgres.statement import Statement
from dbtether.runtime.outcomes import RotationOutcome
from dbtether.runtime.reconcile import Again, Done, Outcome
from dbtether.runtime.store import EventType

_REFUSALS = frozenset({"PasswordRejected", "StatementRefused", "AuthenticationFailed"})


def mark_of(world: World, user: User, password: str) -> str:
    """The fingerprint of a password of the user, whichever login has it."""
    return fingerprint(world.store.fingerprint_key, user.name, password)


def with_login_in_force(world: World, user: User, password: str) -> User:
    """The user with the login that its Secret names: when a rotation came that far, the new one."""
    pending = _pending(user.resource)
    if pending.get("fingerprint") == mark_of(world, user, password) and pending.get("login") in user.logins.all:
        return replace(user, login=pending["login"])
    return user


async def new_password(world: World, user: User, observed: ObservedLogin) -> str:
    """A password for a login whose Secret has none, which the server takes. Raises Retryable or Blocked.

    Asked before the Secret has it: what stands there counts, and one that is refused would be tried for ever.
    """
    password = generate_password(user.spec.password_length)
    await _rehearse(world, user, password, observed)
    return password


# ---- when


def is_due(world: World, user: User, password: str) -> bool:
    """Whether the password must be replaced now. What was done to it since the last report comes first."""
    status, now = user.resource.status, world.now()
    if status.get("passwordFingerprint") != mark_of(world, user, password) or user.login != user.logins.active:
        return False
    if _must_come_home(user, now):
        return True
    if user.spec.password_secret_ref is not None:
        return False
    if new_request(user.resource) is not None:
        return True
    due = next_rotation(user.resource, user.spec, instant_of(status, "passwordUpdatedAt"), now, world.overdue_spread)
    return due is not None and due <= now


def _must_come_home(user: User, now: datetime) -> bool:
    """Whether the first login must be the Secret's again, since the spec wants no second one any more."""
    until = instant_of(user.resource.status, "secondLoginUntil")
    return not user.logins.is_wanted and user.login != user.name and until is not None and until <= now


# ---- the rotation


async def rotate(world: World, user: User, password: str) -> tuple[User, str, str]:
    """The user with the login that is in force now, its new password, and the name of the first Secret.

    Raises Retryable or Blocked; then the credentials in the Secret still work, or do after the next reconcile.
    """
    try:
        return await _rotate(world, user, password)
    except Blocked as error:
        rejected = error.reason == "PasswordRejected"
        world.on_rotation(RotationOutcome.REJECTED if rejected else RotationOutcome.FAILED)
        raise
    except DbtetherError:
        world.on_rotation(RotationOutcome.FAILED)
        raise


async def _rotate(world: World, user: User, password: str) -> tuple[User, str, str]:
    own = user.spec.password_secret_ref is not None
    new = password if own else generate_password(user.spec.password_length)
    successor = replace(user, login=user.logins.successor)
    is_in_place = successor.login == user.login
    if is_in_place:
        await _rehearse(world, successor, new, await _observe(world, successor))
    else:
        await _set_password(world, successor, new)
    announced = {
        "fingerprint": mark_of(world, user, new),
        "login": successor.login,
        "request": new_request(user.resource),
    }
    pending = {name: value for name, value in announced.items() if value is not None}
    successor = replace(successor, resource=await world.record(user.resource, {"pendingRotation": pending}))
    secret = await write_credentials(world, successor, new)
    if is_in_place:
        await _set_password(world, successor, new)
    world.verified_logins[user.resource.key] = mark_of(world, user, new)
    return successor, new, secret


async def _rehearse(world: World, user: User, password: str, observed: ObservedLogin) -> None:
    """Ask the server whether it would take the password, before anybody is shown it."""
    desired = user.desired(password)

    def asked(observed: ObservedLogin) -> list[Statement]:
        # No more than that: an end of sessions could not be rolled back.
        return [item for item in plan(desired, observed) if item.holds_secret]

    try:
        await world.executor.rehearse(user.resource.key, user.server, asked(observed))
    except Blocked as error:
        again = await _observe(world, user)
        if [item.text for item in asked(again)] != [item.text for item in asked(observed)]:
            raise Retryable("Retrying", f"{error.message}; trying again, since the server has changed") from None
        raise _rejected(error, is_first=observed.role is None) from None


async def _set_password(world: World, user: User, password: str) -> None:
    """Give the login the password, make it if need be, and log in with it."""

    async def plan_again() -> Sequence[Statement]:
        return plan(user.desired(password), await _observe(world, user))

    try:
        await world.run(user.resource, user.cluster_name, user.server, await plan_again(), plan_again)
    except Blocked as error:
        raise _rejected(error) from None
    if not world.executor.only_plans and user.shut_out(world.now()) is None:
        await verify(user, password)


def _rejected(error: Blocked, *, is_first: bool = False) -> Blocked:
    """The error in the words of who asked for a new password."""
    if error.reason not in _REFUSALS:
        return error
    # The advice about a password that a Secret has already is of no use here.
    refusal = error.message.partition("; a password policy")[0]
    in_force = "no login was made" if is_first else "the old password stays in force"
    return Blocked(
        "PasswordRejected",
        f"{refusal}; {in_force}; raise spec.password.length if it is too short, or have the server's password "
        f"policy take SCRAM verifiers; the next try takes a new password",
    )


async def _observe(world: World, user: User) -> ObservedLogin:
    return await observe_login(world, user.cluster_name, user.server, user.login, user.places)


# ---- the idle login


async def keep_idle(world: World, user: User, logins_observed: Mapping[str, ObservedLogin]) -> User:
    """Keep the login that the Secret does not name in shape, or drop it when its time is over.

    Its password is left alone: who has the old credentials goes on with them. Raises Retryable or Blocked.
    """
    logins = replace(user.logins, active=user.login)
    if logins.idle is None:
        return user
    observed = logins_observed[logins.idle]
    until = instant_of(user.resource.status, "secondLoginUntil")
    is_over = not logins.is_wanted and logins.idle != user.name
    if is_over and (observed.role is None or (until is not None and until <= world.now())):
        dropped = await _drop_second(world, user, logins.idle, existed=observed.role is not None)
        wake_databases(world, user.resource, logins.idle, grant_roles(observed.role))
        return dropped
    if statements := idle_statements(user, logins_observed):
        idle = replace(user, login=logins.idle)

        async def plan_again() -> Sequence[Statement]:
            return plan(idle.desired(), await _observe(world, idle))

        await world.run(user.resource, user.cluster_name, user.server, statements, plan_again)
        left = grant_roles(observed.role) - {place.grant_role for place in user.places}
        wake_databases(world, user.resource, logins.idle, left)
    return user


def idle_statements(user: User, logins_observed: Mapping[str, ObservedLogin]) -> Sequence[Statement]:
    """What makes the login that the Secret does not name as the spec wants it. Pure."""
    idle = replace(user.logins, active=user.login).idle
    observed = None if idle is None else logins_observed[idle]
    if idle is None or observed is None or observed.role is None:
        return ()
    return plan(replace(user, login=idle).desired(), observed)


async def _drop_second(world: World, user: User, second: str, *, existed: bool) -> User:
    await drop_login(world, user.resource, user.cluster_name, user.server, second, user.marker)
    resource = await world.record(user.resource, dict.fromkeys(("secondLogin", "secondLoginUntil", "activeLogin")))
    if not existed:
        return replace(user, resource=resource)
    text = f"Login {second} was dropped: the spec wants one login, {user.name}, which the Secret names"
    await world.store.record_event(resource, EventType.NORMAL, "SecondLoginDropped", text)
    return replace(user, resource=resource)


# ---- what is reported


def rotation_fields(world: World, user: User, password: str) -> dict[str, object]:
    """The status fields after a reconcile in which the user's login came to have the password."""
    status, now, mark = user.resource.status, world.now().replace(microsecond=0), mark_of(world, user, password)
    is_new = status.get("passwordFingerprint") != mark
    updated = now if is_new else instant_of(status, "passwordUpdatedAt")
    logins = replace(user.logins, active=user.login)
    return {
        "passwordFingerprint": mark,
        "passwordUpdatedAt": written(updated),
        "nextRotation": written(next_rotation(user.resource, user.spec, updated, now, world.overdue_spread)),
        "rotationRequest": _request_dealt_with(user, mark),
        "pendingRotation": None,
        "activeLogin": None if logins.second is None else logins.active,
        "secondLogin": logins.second,
        "secondLoginUntil": written(_second_until(user, logins, now)),
    }


def _request_dealt_with(user: User, mark: str) -> str | None:
    status, value = user.resource.status, user.resource.annotations.get(ROTATE)
    if not value:
        return None
    if status.get("passwordFingerprint") is None or user.spec.password_secret_ref is not None:
        # A password that was just made is a new one; one of their own is theirs to replace.
        return value
    pending, known = _pending(user.resource), status.get("rotationRequest")
    return pending.get("request", known) if pending.get("fingerprint") == mark else known


def _second_until(user: User, logins: Logins, now: datetime) -> datetime | None:
    if logins.second is None or logins.is_wanted:
        return None
    known = instant_of(user.resource.status, "secondLoginUntil")
    came_home = user.logins.active != user.name and logins.active == user.name
    return now + GRACE if known is None or came_home else known


async def tell(world: World, before: User, after: Resource) -> Resource:
    """Events and the metric after the report, and the annotation that is done with taken off."""
    pending, record = _pending(before.resource), world.store.record_event
    if pending and pending.get("fingerprint") == after.status.get("passwordFingerprint"):
        world.on_rotation(RotationOutcome.ROTATED)
        await record(after, EventType.NORMAL, "PasswordRotated", _what_is_new(before, after))
    elif _asked_in_vain(before):
        text = "The password comes from spec.passwordSecretRef: write a new one there; dbtether does not replace it"
        await record(after, EventType.WARNING, "RotationRefused", text)
    until = after.status.get("secondLoginUntil")
    if until is not None and until != before.resource.status.get("secondLoginUntil"):
        await record(after, EventType.WARNING, "SecondLoginRetiring", _what_goes(before, after))
    value = after.annotations.get(ROTATE)
    if value == ROTATE_NOW and value == after.status.get("rotationRequest"):
        latest = await world.store.get(after.key)
        if latest is not None and latest.uid == after.uid and latest.annotations.get(ROTATE) == value:
            await world.store.write_annotation(latest, ROTATE, None)
        annotations = {name: text for name, text in after.annotations.items() if name != ROTATE}
        return await world.record(replace(after, annotations=annotations), {"rotationRequest": None})
    return after


def _asked_in_vain(user: User) -> bool:
    had_one = user.resource.status.get("passwordFingerprint") is not None
    return user.spec.password_secret_ref is not None and had_one and new_request(user.resource) is not None


def _what_is_new(user: User, after: Resource) -> str:
    secret = after.status.get("secretName")
    text = f"Login {user.login} has a new password; it is in Secret {secret}"
    idle = replace(user.logins, active=user.login).idle
    if idle is None:
        return text
    until = after.status.get("secondLoginUntil") or after.status.get("nextRotation")
    return f"{text}; login {idle} works with its old one until {until}"


def _what_goes(user: User, after: Resource) -> str:
    until, second = after.status["secondLoginUntil"], after.status["secondLogin"]
    if user.login == user.name:
        return f"The spec wants one login: {second} is dropped at {until}; the Secret names {user.name}"
    return f"The spec wants one login: the Secret names {user.name} again from {until} on, and {second} goes later"


def until_next(world: World, resource: Resource) -> Outcome:
    """When the user is looked at again without anything changing."""
    times = [instant_of(resource.status, name) for name in ("nextRotation", "secondLoginUntil")]
    found = [time for time in times if time is not None]
    if new_request(resource) is not None:
        return Again(0.0)
    if not found:
        return Done()
    # A second at least: what is due and not done yet must not make the loop spin.
    return Again(max((min(found) - world.now()) / timedelta(seconds=1), 1.0))


# ---- inside


def _pending(resource: Resource) -> dict[str, str]:
    found = resource.status.get("pendingRotation")
    return dict(found) if isinstance(found, dict) else {}
