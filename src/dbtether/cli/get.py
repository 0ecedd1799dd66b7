"""`dbtether get`: tables as `kubectl get` prints them."""

from dbtether.api.kinds import KINDS, Kind, find_kind, nearest_kind
from dbtether.api.resource import Key, Resource
from dbtether.cli import running
from dbtether.cli.exits import Exit, Quit
from dbtether.cli.output import document, emit, item_list, say, tell
from dbtether.cli.places import Place, found, opened
from dbtether.cli.tables import resource_table


def get_command(word: str, name: str | None, namespace: str, all_namespaces: bool, place: Place, output: str) -> Exit:
    """Print the resources of a kind."""
    kind = kind_of(word)
    if name is not None and all_namespaces:
        raise Quit(Exit.INVALID, "a name and --all-namespaces do not go together; give -n NAMESPACE")
    if name is not None:
        resource = running.run(_one(place, key_of(kind, namespace, name)))
        if output != "table":
            emit(document(resource), output)
            return Exit.OK
        listed: tuple[Resource, ...] = (resource,)
    else:
        listed = running.run(_listed(place, kind, None if all_namespaces or not kind.namespaced else namespace))
    if output != "table":
        emit(item_list(listed), output)
    elif listed:
        for line in resource_table(kind.kind, listed, with_namespace=all_namespaces):
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


async def _one(place: Place, key: Key) -> Resource:
    async with opened(place) as reader:
        return await found(reader, key)


async def _listed(place: Place, kind: Kind, namespace: str | None) -> tuple[Resource, ...]:
    async with opened(place) as reader:
        return await reader.list(kind.kind, namespace)
