"""Reads a cluster as the person who runs the command may: requests that read, and no watch.

Every refusal by RBAC becomes one sentence that names the right that is missing.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import msgspec

from dbtether.api.resource import Key, Resource, Secret
from dbtether.cli.exits import Exit, Quit
from dbtether.cli.output import note
from dbtether.cli.places import Cluster
from dbtether.runtime.events import Event
from dbtether.runtime.kube import Client, ClientSettings, KubeconfigError, find_connection
from dbtether.runtime.kube.errors import ApiError, Forbidden, NotFound, Unauthorized
from dbtether.runtime.kube.event_recorder import REPORTING_CONTROLLER
from dbtether.runtime.kube.objects import NEVER, Object, ObjectList, PartialObject, SecretObject, to_resource, to_secret
from dbtether.runtime.kube.requests import EVENTS, NAMESPACES, SECRETS, ApiResource, Collection, Request, get
from dbtether.runtime.kube.secret_watches import MANAGED_BY, MANAGED_BY_US
from dbtether.runtime.kube.store import our_resources
from dbtether.runtime.store import EventType

Objects = list[Object]

_PAGE = 500
# A person waits at the terminal; the operator's patience would look like a hang.
_SETTINGS = ClientSettings(timeout_seconds=15.0, attempt_seconds=10.0)


@asynccontextmanager
async def connected(cluster: Cluster) -> AsyncIterator["ClusterReader"]:
    """A reader of the cluster. Raises Quit when there is no way to one."""
    path = None if cluster.kubeconfig is None else Path(cluster.kubeconfig)
    try:
        connection = find_connection(context=cluster.context, kubeconfig=path)
    except KubeconfigError as error:
        raise Quit(Exit.INVALID, str(error)) from None
    async with Client(connection, _SETTINGS) as client:
        yield ClusterReader(client)


class ClusterReader:
    """Reads resources, Secrets and Events of a cluster."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._resources = our_resources()

    @property
    def title(self) -> str:
        """The cluster in words."""
        return f"Cluster {self.client.connection.server}, {self.client.connection.source}"

    async def get(self, key: Key) -> Resource | None:
        """The resource as it is now. Raises Quit where RBAC refuses."""
        api = self._resources[key.kind]
        try:
            answer = await self.client.send(get(api, key.namespace, key.name), Object)
        except NotFound as error:
            # For a missing object the Status names it; for a missing kind it names nothing.
            if error.status.details is None or not error.status.details.name:
                raise _not_installed() from None
            return None
        except (Forbidden, Unauthorized) as error:
            raise refusal(error, "get", api, key.namespace) from None
        return to_resource(key.kind, answer)

    async def list(self, kind: str, namespace: str | None = None) -> tuple[Resource, ...]:
        """The resources of a kind, sorted by key. Raises Quit where RBAC refuses."""
        api = self._resources[kind]
        objects = await self._all(Collection(api, namespace or ""))
        return tuple(sorted((to_resource(kind, item) for item in objects), key=lambda resource: resource.key))

    async def namespaces(self) -> dict[str, dict[str, str]]:
        """The labels of every namespace. Raises Quit where RBAC refuses."""
        found = await self._all(Collection(NAMESPACES))
        return {item.metadata.name: item.metadata.labels or {} for item in found}

    async def has_namespace(self, name: str) -> bool:
        """Whether there is that namespace. Raises Quit where RBAC refuses."""
        return await self._metadata(NAMESPACES, "", name) is not None

    async def events(self, resource: Resource) -> tuple[Event, ...]:
        """What happened to the resource, oldest first; a note where RBAC keeps it back."""
        namespace = resource.key.namespace or "default"
        collection = Collection(EVENTS, namespace, field_selector=f"regarding.uid={resource.uid}")
        try:
            page = await self.client.send(collection.list_page(limit=None), _EventList)
        except Forbidden:
            note(f"you may not list events.events.k8s.io in namespace {namespace}, so none are shown")
            return ()
        found = [_event(resource.key, item) for item in page.items or ()]
        return tuple(sorted(found, key=lambda event: event.last))

    async def all_events(self) -> tuple[Event, ...]:
        """What the operator told of all its resources, oldest first. Raises Quit where RBAC refuses."""
        collection = Collection(EVENTS, field_selector=f"reportingController={REPORTING_CONTROLLER}")
        try:
            page = await self.client.send(collection.list_page(limit=None), _EventList)
        except Forbidden as error:
            raise refusal(error, "list", EVENTS, "") from None
        found = [_event(Key(i.regarding.kind, i.regarding.namespace, i.regarding.name), i) for i in page.items or ()]
        return tuple(sorted(found, key=lambda event: event.last))

    async def secret(self, namespace: str, name: str) -> Secret | None:
        """The Secret as it is now. Raises Forbidden."""
        try:
            return to_secret(await self.client.send(get(SECRETS, namespace, name), SecretObject))
        except NotFound:
            return None
        except ApiError as error:
            raise error.without_message() from None

    async def secret_names(self) -> tuple[Key, ...]:
        """The Secrets that the operator made. Raises Quit where RBAC refuses."""
        ours = Collection(SECRETS, label_selector=f"{MANAGED_BY}={MANAGED_BY_US}", metadata_only=True)
        return tuple(sorted(Key("Secret", i.metadata.namespace, i.metadata.name) for i in await self._all(ours)))

    async def installation(self, given: str | None) -> str:
        """The id in the markers: the given one, else the cluster's own as the operator makes it."""
        if given is not None:
            return given
        found = await self._metadata(NAMESPACES, "", "kube-system")
        if found is None:
            raise Quit(Exit.STATE, "the cluster has no namespace kube-system; give --installation")
        return found.metadata.uid.split("-")[0]

    async def version(self) -> str:
        """The API server's version."""
        request = Request(method=get(NAMESPACES, "", "x").method, path="/version", resource="version")
        return (await self.client.send(request, _Version)).git_version

    async def _metadata(self, api: ApiResource, namespace: str, name: str) -> PartialObject | None:
        try:
            return await self.client.send(get(api, namespace, name, metadata_only=True), PartialObject)
        except NotFound:
            return None
        except (Forbidden, Unauthorized) as error:
            raise refusal(error, "get", api, namespace) from None

    async def _all(self, collection: Collection) -> Objects:
        found: Objects = []
        token = ""
        while True:
            try:
                page = await self.client.send(collection.list_page(limit=_PAGE, continue_token=token), ObjectList)
            except NotFound:
                raise _not_installed() from None
            except (Forbidden, Unauthorized) as error:
                raise refusal(error, "list", collection.resource, collection.namespace) from None
            found += page.items or ()
            token = page.metadata.continue_
            if not token:
                return found


def refusal(error: ApiError, verb: str, api: ApiResource, namespace: str) -> Quit:
    """The end of a command that RBAC stopped."""
    if isinstance(error, Unauthorized):
        return Quit(Exit.STATE, "the cluster does not accept your credentials: log in again (401 Unauthorized)")
    group = api.api_version.partition("/")[0] if "/" in api.api_version else ""
    what = f"{api.plural}.{group}" if group else api.plural
    scope = f"in namespace {namespace}" if namespace else "in the whole cluster"
    hint = "; with -n NAMESPACE one namespace is enough" if verb == "list" and not namespace and api.namespaced else ""
    return Quit(Exit.STATE, f"RBAC does not let you {verb} {what} {scope}{hint}")


def _not_installed() -> Quit:
    return Quit(Exit.STATE, "the cluster does not know dbtether's kinds: install the CRDs first")


class _Version(msgspec.Struct, rename="camel"):
    git_version: str = ""


class _Series(msgspec.Struct, rename="camel"):
    count: int = 0
    last_observed_time: datetime | None = None


class _Regarding(msgspec.Struct):
    kind: str = ""
    namespace: str = ""
    name: str = ""


class _EventObject(msgspec.Struct, rename="camel"):
    type: str = "Normal"
    reason: str = ""
    note: str = ""
    event_time: datetime | None = None
    series: _Series | None = None
    regarding: _Regarding = msgspec.field(default_factory=_Regarding)
    deprecated_count: int = 0
    deprecated_first_timestamp: datetime | None = None
    deprecated_last_timestamp: datetime | None = None


class _EventList(msgspec.Struct):
    items: list[_EventObject] | None = None


def _event(key: Key, item: _EventObject) -> Event:
    first = item.event_time or item.deprecated_first_timestamp or NEVER
    series = item.series or _Series()
    return Event(
        key=key,
        type=EventType.WARNING if item.type == "Warning" else EventType.NORMAL,
        reason=item.reason,
        message=item.note,
        first=first,
        last=series.last_observed_time or item.deprecated_last_timestamp or first,
        count=series.count or item.deprecated_count or 1,
    )
