"""`dbtether get`: tables as `kubectl get` prints them."""

from pathlib import Path

from dbtether.api.kinds import KINDS, Kind, find_kind, nearest_kind
from dbtether.api.resource import Key, Resource
from dbtether.cli import running
from dbtether.cli.exits import Exit, Quit
from dbtether.cli.output import document, emit, item_list, say, tell
from dbtether.cli.tables import resource_table
from dbtether.runtime.local import LocalStore


def get_command(word: str, name: str | None, namespace: str, all_namespaces: bool, state: str, output: str) -> Exit:
    """Print the resources of a kind."""
    kind = kind_of(word)
    if name is not None and all_namespaces:
        raise Quit(Exit.INVALID, "a name and --all-namespaces do not go together; give -n NAMESPACE")
    if name is not None:
        resource = running.run(find_resource(state, key_of(kind, namespace, name)))
        if output != "table":
            emit(document(resource), output)
            return Exit.OK
        found: tuple[Resource, ...] = (resource,)
    else:
        found = running.run(_listed(state, kind, None if all_namespaces or not kind.namespaced else namespace))
    if output != "table":
        emit(item_list(found), output)
    elif found:
        for line in resource_table(kind.kind, found, with_namespace=all_namespaces):
            say(line)
    else:
        tell("No resources found" + ("" if all_namespaces or not kind.namespaced else f" in namespace {namespace}"))
    return Exit.OK


def kind_of(word: str) -> Kind:
    """The kind that a word names. Raises Quit with its nearest neighbour."""
    kind = find_kind(word)
    if kind is not None:
        return kind
    if word.lower() in ("secret", "secrets"):
        raise Quit(Exit.INVALID, "a user's credentials are shown by `dbtether credentials USER`")
    near = nearest_kind(word)
    hint = f"did you mean {near}?" if near else f"kinds are {', '.join(known.plural for known in KINDS.values())}"
    raise Quit(Exit.INVALID, f"{word[:60]!r} is not a kind; {hint}")


def key_of(kind: Kind, namespace: str, name: str) -> Key:
    """The key of a resource that was named on the command line."""
    return Key(kind.kind, namespace if kind.namespaced else "", name)


async def find_resource(state: str, key: Key) -> Resource:
    """The resource. Raises Quit when there is none."""
    with LocalStore.open(Path(state), read_only=True) as store:
        resource = await store.get(key)
    if resource is None:
        raise Quit(Exit.FAILED, f"{key} does not exist")
    return resource


async def _listed(state: str, kind: Kind, namespace: str | None) -> tuple[Resource, ...]:
    with LocalStore.open(Path(state), read_only=True) as store:
        found = await store.list(kind.kind)
    return tuple(resource for resource in found if namespace is None or resource.key.namespace == namespace)
