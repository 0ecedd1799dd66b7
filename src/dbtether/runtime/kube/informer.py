"""Keeps a view up to date: lists a collection once, then follows what happens to it.

Kubernetes: "API concepts", "Efficient detection of changes" and "Watch bookmarks".
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Never

import msgspec

from dbtether.api.resource import Resource
from dbtether.errors import StateError
from dbtether.runtime.kube.client import Client
from dbtether.runtime.kube.errors import Gone, Status, Unreachable, api_error, unreachable
from dbtether.runtime.kube.lines import Lines, LineTooLong
from dbtether.runtime.kube.objects import (
    Object,
    ObjectList,
    PartialObject,
    PartialObjectList,
    WatchEvent,
    to_resource,
    version_number,
)
from dbtether.runtime.kube.requests import Collection
from dbtether.runtime.kube.view import View
from dbtether.runtime.queue import Backoff

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class InformerSettings:
    """The numbers of an informer."""

    page: int = 500
    silent_seconds: float = 150.0
    """A healthy server sends a bookmark each minute; a watch without a word for so long is opened anew."""
    silences_until_list: int = 2
    """After a restored etcd a watch can be silent for ever: so many silences in a row, and we list."""
    watch_seconds: int = 300
    """A watch is asked to end by itself after this to twice this, so that connections spread over servers."""
    backoff: Backoff = field(default_factory=lambda: Backoff(first_seconds=0.5, limit_seconds=15.0, jitter=0.5))


_FAILURES_UNTIL_LIST = 4


def as_is(resource: Resource) -> Resource:
    """Keep all of it."""
    return resource


def everything(_: Resource) -> bool:
    """The scope of a collection that has the view for itself."""
    return True


class Informer:
    """Feeds one view from one collection; `run` it as a supervised task."""

    def __init__(
        self,
        client: Client,
        collection: Collection,
        view: View,
        settings: InformerSettings | None = None,
        *,
        trim: Callable[[Resource], Resource] = as_is,
        in_scope: Callable[[Resource], bool] = everything,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`trim` drops what need not be kept; `in_scope` tells which of the view's resources are the collection's."""
        self.collection = collection
        self._client = client
        self._view = view
        self._settings = settings or InformerSettings()
        self._trim = trim
        self._in_scope = in_scope
        self._chance = chance
        self._synced = asyncio.Event()
        self._failures = 0
        self._silences = 0
        self._heard_at = 0.0
        self._version = ""
        self.problem: StateError | None = None
        """What went wrong since the last word from the server; None when all is well."""

    @property
    def has_synced(self) -> bool:
        """Whether a whole list was taken in."""
        return self._synced.is_set()

    async def synced(self) -> None:
        """Wait until a whole list was taken in."""
        await self._synced.wait()

    async def run(self) -> Never:
        """List and watch until cancelled. Whatever the API server does is retried; anything else is a bug."""
        while True:
            try:
                await self._list()
            except StateError as error:
                await self._wait_after(error)
                continue
            self._synced.set()
            await self._follow()

    # -- list -----------------------------------------------------------------------------------------

    async def _list(self) -> None:
        """Take in the whole list. Raises StateError."""
        since = self._view.mark
        try:
            resources, version = await self._pages(self._settings.page)
        except Gone:
            # The continue token is older than what the server keeps: a list in one piece cannot expire.
            logger.info("the list of %s expired between two pages; listing in one piece", self.collection)
            since = self._view.mark
            resources, version = await self._pages(None)
        self._view.listed(resources, version_number(version), since, self._in_scope)
        self._version = version
        self._heard()

    async def _pages(self, limit: int | None) -> tuple[list[Resource], str]:
        resources: list[Resource] = []
        token = ""
        while True:
            request = self.collection.list_page(limit=limit, continue_token=token)
            into: type[ObjectList | PartialObjectList]
            into = PartialObjectList if self.collection.metadata_only else ObjectList
            # What failed shows in `problem` at once; `run` comes back by itself.
            page = await self._client.send(request, into, reads_again=False)
            resources += [self._resource(item) for item in page.items or ()]
            token = page.metadata.continue_
            if not token:
                return resources, page.metadata.resource_version

    # -- watch ----------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Watch, again and again, until only a new list helps."""
        while True:
            version_before, opened = self._version, time.monotonic()
            self._heard_at = opened
            try:
                await self._watch()
            except Gone:
                logger.info("the watch of %s is too old; listing anew", self.collection)
                return
            except Unreachable as error:
                if time.monotonic() - self._heard_at < self._settings.silent_seconds:
                    await self._wait_after(error)
                else:
                    self._silences += 1
            except StateError as error:
                await self._wait_after(error)
            else:
                if self._version == version_before and time.monotonic() - opened < 1:
                    # A server that ends each watch at once, as one that shuts down does.
                    await self._wait_after(unreachable(f"watch {self.collection}", "it ended at once"))
            if self._silences >= self._settings.silences_until_list or self._failures >= _FAILURES_UNTIL_LIST:
                logger.info("the watch of %s does not work; listing anew", self.collection)
                return

    async def _watch(self) -> None:
        """Take in events until the server ends the watch. Raises Gone, or another StateError."""
        seconds = int(self._settings.watch_seconds * (1 + self._chance()))
        request = self.collection.watch(self._version, seconds)
        lines = Lines()
        async with self._client.watch(request, self._settings.silent_seconds) as chunks:
            async for chunk in chunks:
                try:
                    for line in lines.feed(chunk):
                        self._take(line)
                except (msgspec.DecodeError, UnicodeDecodeError, LineTooLong):
                    raise unreachable(request.what, "the watch delivered what is no event") from None

    def _take(self, line: bytes) -> None:
        """One event. Raises ApiError for the server's own."""
        event = msgspec.json.decode(line, type=WatchEvent)
        if event.type == "ERROR":
            raise api_error(msgspec.json.decode(event.object, type=Status), f"watch {self.collection}")
        metadata_only = self.collection.metadata_only or event.type in ("BOOKMARK", "DELETED")
        into: type[Object | PartialObject] = PartialObject if metadata_only else Object
        found = msgspec.json.decode(event.object, type=into)
        if event.type == "DELETED":
            key = self._resource(found).key
            self._view.gone(key, version_number(found.metadata.resource_version))
        elif event.type != "BOOKMARK":
            self._view.seen(self._resource(found))
        self._version = found.metadata.resource_version
        self._heard()

    def _resource(self, found: Object | PartialObject) -> Resource:
        return self._trim(to_resource(self.collection.resource.kind, found))

    # -- failures -------------------------------------------------------------------------------------

    def _heard(self) -> None:
        if self.problem is not None:
            logger.info("%s: the API server answers again", self.collection)
        self.problem = None
        self._failures = 0
        self._silences = 0
        self._heard_at = time.monotonic()

    async def _wait_after(self, error: StateError) -> None:
        """Wait longer after each failure in a row, by chance, so that not all of us come back at once."""
        if str(error) != str(self.problem):
            logger.warning("%s: %s", self.collection, error)
        self.problem = error
        self._failures += 1
        await asyncio.sleep(self._settings.backoff.delay_seconds(self._failures, self._chance()))
