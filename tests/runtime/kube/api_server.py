"""An API server in the test's own process, small and obedient: `intercept` makes it nasty.

It keeps any object at any path, with versions, conflicts, paging, watches with bookmarks, the status
subresource, finalizers and preconditions as a real one has them.
"""

import asyncio
import json
import ssl
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from dbtether.runtime.kube.connection import Connection
from dbtether.runtime.kube.requests import ApiResource

Object = dict[str, Any]
Intercept = Callable[[web.Request], Awaitable[web.StreamResponse | None]]

DATABASES = ApiResource("dbtether.io/v1alpha1", "Database", "databases", True)


@dataclass(frozen=True)
class Seen:
    """A request that came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]


@dataclass(frozen=True)
class _Place:
    """What a path names."""

    plural: str
    namespace: str
    name: str
    subresource: str


@dataclass
class ApiServer:
    """The objects, their history, and what was asked."""

    version: int = 100
    objects: dict[str, dict[tuple[str, str], Object]] = field(default_factory=dict)
    history: list[tuple[int, str, str, Object]] = field(default_factory=list)
    compacted: int = 0
    requests: list[Seen] = field(default_factory=list)
    intercept: Intercept | None = None
    bookmark_seconds: float = 60.0
    url: str = ""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _open: set[asyncio.Transport] = field(default_factory=set)

    @property
    def connection(self) -> Connection:
        """How to talk to it."""
        return Connection(self.url, source="the test")

    def seen(self, method: str = "GET", *, watch: bool = False) -> list[Seen]:
        """The requests of a method, watches or others."""
        return [one for one in self.requests if one.method == method and ("watch" in one.query) == watch]

    # -- what people do -------------------------------------------------------------------------------

    def put(self, plural: str, namespace: str, name: str, **parts: Any) -> Object:
        """Create or change an object; `metadata` is merged."""
        found = self.objects.setdefault(plural, {})
        old = found.get((namespace, name))
        new: Object = json.loads(json.dumps(old)) if old else {}
        metadata = new.setdefault("metadata", {"name": name, "uid": str(uuid.uuid4())})
        if namespace:
            metadata["namespace"] = namespace
        metadata.setdefault("creationTimestamp", "2026-01-02T03:04:05Z")
        metadata.update(parts.pop("metadata", {}))
        metadata.setdefault("managedFields", [{"manager": "x" * 100}])
        if old is None or parts.get("spec", old.get("spec")) != old.get("spec"):
            metadata["generation"] = metadata.get("generation", 0) + 1
        new.update(parts)
        return self._store("MODIFIED" if old else "ADDED", plural, new)

    def remove(self, plural: str, namespace: str, name: str) -> None:
        """Delete an object, whatever its finalizers."""
        old = self.objects[plural].pop((namespace, name))
        self._remember("DELETED", plural, old)

    def compact(self) -> None:
        """Forget the history, as etcd does after five minutes."""
        self.compacted = self.version

    def cut_watches(self) -> None:
        """Break every watch that is open, in the middle of whatever it says."""
        for transport in tuple(self._open):
            transport.abort()

    def _store(self, type_: str, plural: str, new: Object) -> Object:
        self.objects.setdefault(plural, {})[_key(new)] = new
        return self._remember(type_, plural, new)

    def _remember(self, type_: str, plural: str, changed: Object) -> Object:
        self.version += 1
        changed = json.loads(json.dumps(changed))
        changed["metadata"]["resourceVersion"] = str(self.version)
        if type_ != "DELETED":
            self.objects[plural][_key(changed)] = changed
        self.history.append((self.version, type_, plural, changed))
        self._changed.set()
        self._changed = asyncio.Event()
        return changed

    # -- requests -------------------------------------------------------------------------------------

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        self.requests.append(Seen(request.method, request.path, dict(request.query), dict(request.headers)))
        if self.intercept is not None:
            response = await self.intercept(request)
            if response is not None:
                return response
        place = _place(request.path)
        if request.method == "GET" and "watch" in request.query:
            return await self._watch(request, place)
        if request.method == "GET" and not place.name:
            return self._list(request, place)
        body = await request.json() if request.body_exists else {}
        match request.method:
            case "GET":
                found = self._find(place)
                return web.json_response(found) if found else status(404, "NotFound")
            case "POST":
                return self._create(place, body)
            case "PUT":
                return self._update(place, body, body)
            case "PATCH":
                return self._patch(request, place, body)
            case "DELETE":
                return self._delete(place, body.get("preconditions", {}))
        return status(405, "MethodNotAllowed")

    def _find(self, place: _Place) -> Object | None:
        return self.objects.get(place.plural, {}).get((place.namespace, place.name))

    def _selected(self, request: web.Request, place: _Place) -> Callable[[Object], bool]:
        selector = request.query.get("labelSelector", "")
        only = request.query.get("fieldSelector", "").removeprefix("metadata.name=")

        def matches(found: Object) -> bool:
            metadata = found["metadata"]
            if only and metadata["name"] != only:
                return False
            if place.namespace and metadata.get("namespace") != place.namespace:
                return False
            name, negated, value = selector.replace("!=", "=!").partition("=")
            if not name:
                return True
            if value.startswith("!"):
                return bool(metadata.get("labels", {}).get(name) != value[1:])
            return bool(metadata.get("labels", {}).get(name) == value) and bool(negated)

        return matches

    def _list(self, request: web.Request, place: _Place) -> web.Response:
        matches = self._selected(request, place)
        found = [one for _, one in sorted(self.objects.get(place.plural, {}).items()) if matches(one)]
        version, start = self.version, 0
        if token := request.query.get("continue"):
            version, start = (int(part) for part in token.split("-"))
            if version < self.compacted:
                return status(410, "Expired", "The provided continue parameter is too old")
        metadata: Object = {"resourceVersion": str(version)}
        end = start + int(request.query.get("limit", 10**9))
        if end < len(found):
            metadata["continue"] = f"{version}-{end}"
        return web.json_response({"metadata": metadata, "items": found[start:end]})

    async def _watch(self, request: web.Request, place: _Place) -> web.StreamResponse:
        matches = self._selected(request, place)
        version = int(request.query["resourceVersion"])
        response = web.StreamResponse()
        await response.prepare(request)
        transport = request.transport
        assert transport
        self._open.add(transport)
        try:
            if version < self.compacted:
                await response.write(_line("ERROR", _status(410, "Expired")))
                return response
            while True:
                since, version = version, self.version
                for at, type_, plural, changed in tuple(self.history):
                    if at > since and plural == place.plural and matches(changed):
                        await response.write(_line(type_, changed))
                if version < self.version:
                    continue
                changed_event = self._changed
                try:
                    async with asyncio.timeout(self.bookmark_seconds):
                        await changed_event.wait()
                except TimeoutError:
                    await response.write(_line("BOOKMARK", {"metadata": {"resourceVersion": str(self.version)}}))
        finally:
            self._open.discard(transport)

    def _create(self, place: _Place, body: Object) -> web.Response:
        name = body["metadata"]["name"]
        if (place.namespace, name) in self.objects.get(place.plural, {}):
            return status(409, "AlreadyExists", f"{place.plural} {name!r} already exists")
        body.pop("status", None)
        metadata = {**body.pop("metadata"), "resourceVersion": None}
        return web.json_response(self.put(place.plural, place.namespace, name, metadata=metadata, **body), status=201)

    def _update(self, place: _Place, asked: Object, new: Object) -> web.Response:
        old = self._find(place)
        if old is None:
            return status(404, "NotFound")
        conditions = {part: asked["metadata"].get(part) for part in ("uid", "resourceVersion")}
        if any(value and value != old["metadata"][part] for part, value in conditions.items()):
            return status(409, "Conflict", "the object has been modified")
        if place.subresource == "status":
            new = {**old, "status": new.get("status")}
        if _content(new) == _content(old):
            return web.json_response(old)
        if old["metadata"].get("deletionTimestamp") and not new["metadata"].get("finalizers"):
            self.remove(place.plural, place.namespace, place.name)
            return web.json_response(old)
        parts = {name: value for name, value in new.items() if name != "metadata"}
        metadata = {**new["metadata"], "uid": old["metadata"]["uid"]}
        return web.json_response(self.put(place.plural, place.namespace, place.name, metadata=metadata, **parts))

    def _patch(self, request: web.Request, place: _Place, body: Object) -> web.Response:
        old = self._find(place)
        if old is None and "apply-patch" in request.headers["Content-Type"]:
            return self._create(place, {**body, "metadata": {**body.get("metadata", {}), "name": place.name}})
        if old is None:
            return status(404, "NotFound")
        return self._update(place, {"metadata": body.get("metadata", {})}, _merged(old, body))

    def _delete(self, place: _Place, preconditions: Object) -> web.Response:
        old = self._find(place)
        if old is None:
            return status(404, "NotFound")
        if any(old["metadata"][part] != value for part, value in preconditions.items()):
            return status(409, "Conflict", "the precondition failed")
        if old["metadata"].get("finalizers"):
            metadata = {"deletionTimestamp": "2026-01-02T03:04:06Z"}
            return web.json_response(self.put(place.plural, place.namespace, place.name, metadata=metadata))
        self.remove(place.plural, place.namespace, place.name)
        return web.json_response(_status(200, ""))


@asynccontextmanager
async def running(server: ApiServer, tls: ssl.SSLContext | None = None) -> AsyncIterator[ApiServer]:
    """Serve on a free port of this machine."""
    application = web.Application(client_max_size=10**8)
    application.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", int(server.url.rpartition(":")[2] or 0), ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    server.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    try:
        yield server
    finally:
        server.cut_watches()
        await runner.cleanup()


def status(code: int, reason: str, message: str = "", headers: dict[str, str] | None = None) -> web.Response:
    """An answer with a Status."""
    return web.json_response(_status(code, reason, message), status=code, headers=headers)


def watch_line(type_: str, found: Object) -> bytes:
    """One event as a watch sends it."""
    return _line(type_, found)


def _status(code: int, reason: str, message: str = "") -> Object:
    return {"kind": "Status", "apiVersion": "v1", "code": code, "reason": reason, "message": message}


def _line(type_: str, found: Object) -> bytes:
    return json.dumps({"type": type_, "object": found}).encode() + b"\n"


def _place(path: str) -> _Place:
    parts = path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 2:
        namespace, parts = parts[1], parts[2:]
    plural, name, subresource = (*parts, "", "")[:3]
    return _Place(plural, namespace, name, subresource)


def _key(found: Object) -> tuple[str, str]:
    return (found["metadata"].get("namespace", ""), found["metadata"]["name"])


def _content(found: Object) -> Object:
    volatile = ("resourceVersion", "generation", "managedFields")
    metadata = {name: value for name, value in found["metadata"].items() if name not in volatile and value}
    return {**found, "metadata": metadata, "apiVersion": "", "kind": ""}


def _merged(old: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(old) if isinstance(old, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name), value)
    return merged
