"""`dbtether delete`: deletes resources, waits until they are gone, and says what stays on the server."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dbtether.api.references import DeletionPolicy
from dbtether.api.resource import Key, Resource, Secret
from dbtether.cli import running
from dbtether.cli.apply import Applied, apply_to, report
from dbtether.cli.exits import Exit, Quit
from dbtether.cli.get import key_of, kind_of
from dbtether.cli.output import note, say
from dbtether.cli.settling import quiet_logs
from dbtether.cli.wanted import Wanted, read_wanted
from dbtether.runtime.local import LocalStore
from dbtether.runtime.records import FROM_MANIFEST_LABEL, RecordStore


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """What `delete` was asked for."""

    target: tuple[str, ...]
    files: tuple[str, ...]
    state: str
    installation: str | None
    namespace: str
    wait_seconds: float
    verbose: bool
    is_quiet: bool = False
    """Whether changes of phase are left untold where there is no terminal."""


def delete_command(options: DeleteOptions) -> Exit:
    """Delete and tell what became of each resource."""
    if bool(options.target) == bool(options.files):
        raise Quit(Exit.INVALID, "give either -f FILE, or KIND and NAME")
    if options.files:
        wanted = read_wanted(options.files, options.namespace)
        keys = [document.key for document in wanted.resources]
    else:
        wanted = Wanted()
        if len(options.target) < 2:
            raise Quit(Exit.INVALID, f"{options.target[0]}: give the name as well: dbtether delete KIND NAME")
        kind = kind_of(options.target[0])
        keys = [key_of(kind, options.namespace, name) for name in options.target[1:]]
    return running.run(delete_wanted(options, wanted, keys, say))


async def delete_wanted(options: DeleteOptions, wanted: Wanted, keys: list[Key], tell: Callable[[str], object]) -> Exit:
    """Delete the resources, then the manifests' Secrets; `tell` takes a line for each that is gone."""
    # Opened to read first: a wrong --state must not leave a new directory behind.
    LocalStore.open(Path(options.state), options.installation, read_only=True).close()
    with LocalStore.open(Path(options.state), options.installation) as store:
        found = [resource for key in keys if (resource := await store.get(key)) is not None]
        missing = [key for key in keys if key not in {resource.key for resource in found}]
        if missing and not options.files:
            raise Quit(Exit.FAILED, *(f"{key} does not exist" for key in missing))
        for key in missing:
            note(f"{key} is not in the state; nothing to delete")
        async with quiet_logs(options.verbose):
            doomed = [resource.key for resource in found]
            applied = await apply_to(store, frozenset(doomed), doomed, options)
        remaining = {resource.key for resource in applied.remaining}
        for resource in sorted(found, key=lambda resource: resource.key):
            if resource.key not in remaining:
                tell(f"{resource.key} deleted{_what_stays(resource)}")
        await _delete_secrets(store, wanted, tell)
    return report(Applied((), applied.remaining, applied.others, applied.settled))


def _what_stays(resource: Resource) -> str:
    policy = resource.spec.get("deletionPolicy")
    if resource.key.kind == "Database" and policy != DeletionPolicy.DELETE:
        return f"; database {resource.status.get('databaseName') or ''} stays on the server (deletionPolicy: Retain)"
    if resource.key.kind == "DatabaseUser" and policy == DeletionPolicy.RETAIN:
        return "; its login and its Secret stay (deletionPolicy: Retain)"
    return ""


async def _delete_secrets(store: RecordStore, wanted: Wanted, tell: Callable[[str], object]) -> None:
    """Delete the manifests' own Secrets, unless somebody still needs one."""
    for document in wanted.secrets:
        secret = await store.get_secret(document.key.namespace, document.key.name)
        if secret is None or secret.labels.get(FROM_MANIFEST_LABEL) != "true":
            continue
        if (user := await _user_of(store, secret)) is not None:
            note(f"{document.key} stays: {user} refers to it")
            continue
        await store.delete_secret(secret)
        tell(f"{document.key} deleted")


async def _user_of(store: RecordStore, secret: Secret) -> Key | None:
    from dbtether.controllers.references import references_of_cluster, references_of_storage, references_of_user

    target = Key("Secret", secret.namespace, secret.name)
    kinds = (
        ("DBCluster", references_of_cluster),
        ("DatabaseUser", references_of_user),
        ("BackupStorage", references_of_storage),
    )
    for kind, references in kinds:
        for resource in await store.list(kind):
            if target in references(resource):
                return resource.key
    return None
