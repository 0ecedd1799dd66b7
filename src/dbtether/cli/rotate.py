"""`dbtether rotate`: a new password for one DatabaseUser, now."""

from dataclasses import dataclass
from pathlib import Path

from dbtether.api.kinds import ROTATE, ROTATE_NOW
from dbtether.api.resource import Key, Resource
from dbtether.cli import running
from dbtether.cli.apply import apply_to, report
from dbtether.cli.exits import Exit, Quit
from dbtether.cli.output import error, say, tell
from dbtether.cli.places import Cluster
from dbtether.cli.settling import quiet_logs
from dbtether.runtime.local import LocalStore


@dataclass(frozen=True, slots=True)
class RotateOptions:
    """What `rotate` was asked for."""

    name: str
    namespace: str
    state: str
    wait_seconds: float
    verbose: bool
    cluster: Cluster | None = None
    is_quiet: bool = False


def rotate_command(options: RotateOptions) -> Exit:
    """Replace the password and say where the new one is; in a cluster, have the operator do it."""
    key = Key("DatabaseUser", options.namespace, options.name)
    if options.cluster is not None:
        from dbtether.cli.kube.rotating import ask_for_rotation

        user = running.run(ask_for_rotation(key, options.cluster, options.wait_seconds))
        if user is not None:
            _tell_new(user)
            return Exit.OK
        error(f"{key} is annotated with {ROTATE}={ROTATE_NOW}, but its operator has not replaced the password yet")
        tell(f"dbtether describe databaseuser {key.name} -n {key.namespace} --kube   tells more", style="dim")
        return Exit.TIMED_OUT
    return running.run(_rotate_here(key, options))


async def _rotate_here(key: Key, options: RotateOptions) -> Exit:
    # Opened to read first: a wrong --state must not leave a new directory behind.
    with LocalStore.open(Path(options.state), read_only=True) as store:
        _refuse(key, await store.get(key))
    with LocalStore.open(Path(options.state)) as store:
        before = _refuse(key, await store.get(key))
        asked = await store.write_annotation(before, ROTATE, ROTATE_NOW)
        async with quiet_logs(options.verbose):
            applied = await apply_to(store, frozenset({key}), [], options)
        after = await store.get(key)
        code = report(applied)
        if after is None or after.status.get("passwordFingerprint") == asked.status.get("passwordFingerprint"):
            if code is Exit.OK:
                error(f"{key}: the password was not replaced; `dbtether describe databaseuser {key.name}` tells more")
            return code if code is not Exit.OK else Exit.FAILED
    _tell_new(after)
    return code


def _tell_new(user: Resource) -> None:
    say(f"{user.key}: the new password is in Secret {user.status.get('secretName')}")


def _refuse(key: Key, user: Resource | None) -> Resource:
    """The user. Raises Quit for one whose password is not ours to replace."""
    if user is None:
        raise Quit(Exit.FAILED, f"{key} does not exist")
    if user.spec.get("passwordSecretRef") is not None:
        raise Quit(
            Exit.INVALID, f"{key}: the password comes from spec.passwordSecretRef; write a new one into that Secret"
        )
    if user.status.get("passwordFingerprint") is None:
        raise Quit(Exit.FAILED, f"{key} has no password yet; apply it first")
    return user
