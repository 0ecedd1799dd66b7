"""Requests to an API server as data. Pure: nothing here is sent.

Kubernetes: "API concepts" describes the paths, the verbs and their parameters.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import quote

import msgspec

FIELD_MANAGER = "dbtether"

_JSON = "application/json"
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class Method(StrEnum):
    """The methods that an API server knows."""

    GET = "GET"
    POST = "POST"
    PUT = "PUT"
    PATCH = "PATCH"
    DELETE = "DELETE"


@dataclass(frozen=True, slots=True)
class ApiResource:
    """One resource type of the API: where its objects lie."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The path of an object, of a subresource, or of a collection (no name; no namespace for all)."""
        root = "/api/" if "/" not in self.api_version else "/apis/"
        parts = [root + self.api_version]
        if namespace and self.namespaced:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        parts += [quote(part, safe="") for part in (name, subresource) if part]
        return "/".join(parts)


SECRETS = ApiResource("v1", "Secret", "secrets", True)
NAMESPACES = ApiResource("v1", "Namespace", "namespaces", False)
EVENTS = ApiResource("events.k8s.io/v1", "Event", "events", True)
LEASES = ApiResource("coordination.k8s.io/v1", "Lease", "leases", True)
JOBS = ApiResource("batch/v1", "Job", "jobs", True)
PODS = ApiResource("v1", "Pod", "pods", True)


@dataclass(frozen=True, slots=True)
class Request:
    """One request; its body is not in its repr, since it may hold a Secret."""

    method: Method
    path: str
    resource: str
    """The plural, for metrics and messages."""
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = field(default=None, repr=False)
    content_type: str = _JSON
    accept: str = _JSON

    @property
    def verb(self) -> str:
        """The method, or WATCH."""
        return "WATCH" if ("watch", "1") in self.query else self.method.value

    @property
    def what(self) -> str:
        """The request in the words of an error message."""
        return f"{self.verb} {self.path}"


@dataclass(frozen=True, slots=True)
class Collection:
    """Objects that one list or watch covers."""

    resource: ApiResource
    namespace: str = ""
    """Empty for all namespaces."""
    label_selector: str = ""
    field_selector: str = ""
    metadata_only: bool = False
    """Ask for PartialObjectMetadata: the server leaves out everything but the metadata."""

    def __str__(self) -> str:
        where = f" of namespace {self.namespace}" if self.namespace else ""
        which = f" with {self.label_selector or self.field_selector}" if self._selectors else ""
        return f"{self.resource.plural}{where}{which}"

    @property
    def _selectors(self) -> tuple[tuple[str, str], ...]:
        pairs = (("labelSelector", self.label_selector), ("fieldSelector", self.field_selector))
        return tuple((name, value) for name, value in pairs if value)

    def list_page(self, *, limit: int | None, continue_token: str = "") -> Request:
        """One page of the list; no limit gives all of it.

        No resourceVersion: the answer is at least as new as anything written before ("Semantics for
        get and list"), which the cache relies on.
        """
        query = [*self._selectors]
        if limit is not None:
            query.append(("limit", str(limit)))
        if continue_token:
            query.append(("continue", continue_token))
        accept = f"{_METADATA_LIST},{_JSON};q=0.1" if self.metadata_only else _JSON
        path = self.resource.path(self.namespace)
        return Request(Method.GET, path, self.resource.plural, tuple(query), accept=accept)

    def watch(self, resource_version: str, timeout_seconds: int) -> Request:
        """What happens to the objects after that version ("Efficient detection of changes")."""
        query = (
            *self._selectors,
            ("watch", "1"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", resource_version),
            ("timeoutSeconds", str(timeout_seconds)),
        )
        accept = f"{_METADATA},{_JSON};q=0.1" if self.metadata_only else _JSON
        return Request(Method.GET, self.resource.path(self.namespace), self.resource.plural, query, accept=accept)


def get(resource: ApiResource, namespace: str, name: str, *, metadata_only: bool = False) -> Request:
    """Read one object, as new as it is now."""
    accept = f"{_METADATA},{_JSON};q=0.1" if metadata_only else _JSON
    return Request(Method.GET, resource.path(namespace, name), resource.plural, accept=accept)


def create(resource: ApiResource, namespace: str, body: Mapping[str, Any]) -> Request:
    """Create an object."""
    return _write(Method.POST, resource, resource.path(namespace), body)


def replace(
    resource: ApiResource, namespace: str, name: str, body: Mapping[str, Any], *, subresource: str = ""
) -> Request:
    """Replace an object or a subresource; refused unless it still has the version and uid in the body."""
    return _write(Method.PUT, resource, resource.path(namespace, name, subresource), body)


def merge_patch(
    resource: ApiResource, namespace: str, name: str, body: Mapping[str, Any], *, subresource: str = ""
) -> Request:
    """Change parts of an object (RFC 7386); refused unless it has the version in the body, if there is one."""
    path = resource.path(namespace, name, subresource)
    return _write(Method.PATCH, resource, path, body, content_type="application/merge-patch+json")


def apply(
    resource: ApiResource, namespace: str, name: str, body: Mapping[str, Any], *, manager: str = FIELD_MANAGER
) -> Request:
    """Create or change an object by server-side apply ("Server-Side Apply"); takes fields over by force."""
    full = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
    return Request(
        Method.PATCH,
        resource.path(namespace, name),
        resource.plural,
        (("fieldManager", manager), ("force", "true")),
        msgspec.json.encode(full),
        # JSON is YAML.
        content_type="application/apply-patch+yaml",
    )


def delete(
    resource: ApiResource,
    namespace: str,
    name: str,
    *,
    uid: str = "",
    resource_version: str = "",
    propagation: str = "",
) -> Request:
    """Delete an object; refused unless it still has this uid and version, as far as they are given.

    `propagation` says what becomes of what it owns ("Garbage Collection"); else its kind's own way is taken.
    """
    conditions = {"uid": uid, "resourceVersion": resource_version}
    options: dict[str, Any] = {
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "preconditions": {name: value for name, value in conditions.items() if value},
    }
    if propagation:
        options["propagationPolicy"] = propagation
    return Request(Method.DELETE, resource.path(namespace, name), resource.plural, (), msgspec.json.encode(options))


def last_log_line(namespace: str, pod: str, container: str, *, limit_bytes: int) -> Request:
    """The end of what a container has printed; the API server asks the Pod's node for it."""
    query = (("container", container), ("tailLines", "1"), ("limitBytes", str(limit_bytes)))
    # A text, whatever is asked for.
    return Request(Method.GET, PODS.path(namespace, pod, "log"), "pods/log", query, accept="*/*")


def _write(
    method: Method, resource: ApiResource, path: str, body: Mapping[str, Any], *, content_type: str = _JSON
) -> Request:
    full = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
    query = (("fieldManager", FIELD_MANAGER),)
    return Request(method, path, resource.plural, query, msgspec.json.encode(full), content_type=content_type)
