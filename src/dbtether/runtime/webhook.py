"""The validating webhook: answers AdmissionReviews over TLS; what it says comes from a pure function.

With failurePolicy Ignore nothing hangs on it: CEL and the controllers check everything again.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

logger = logging.getLogger(__name__)

# What the API server itself accepts for one object (etcd's limit), with room for old and new.
_MAX_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class AdmissionRequest:
    """What somebody wants to do; `old` is None for CREATE, `new` for DELETE."""

    operation: str
    kind: str
    namespace: str
    name: str
    new: Mapping[str, Any] | None
    old: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether it may be done, and what a person should know."""

    allowed: bool
    message: str = ""
    warnings: tuple[str, ...] = field(default=())


Admit = Callable[[AdmissionRequest], Awaitable[Verdict]]


def webhook_application(admit: Admit) -> web.Application:
    """`POST /validate` for AdmissionReview `admission.k8s.io/v1`."""

    async def validate(request: web.Request) -> web.Response:
        try:
            review = msgspec.json.decode(await request.read())
            uid, asked = review["request"]["uid"], _request(review["request"])
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
            return web.Response(status=400, text="the body is not an AdmissionReview of admission.k8s.io/v1")
        return _answer(uid, await admit(asked))

    application = web.Application(client_max_size=_MAX_BYTES)
    application.router.add_post("/validate", validate)
    return application


def _request(values: Mapping[str, Any]) -> AdmissionRequest:
    return AdmissionRequest(
        operation=values["operation"],
        kind=values["kind"]["kind"],
        namespace=values.get("namespace") or "",
        name=values.get("name") or "",
        new=values.get("object"),
        old=values.get("oldObject"),
    )


def _answer(uid: str, verdict: Verdict) -> web.Response:
    response: dict[str, Any] = {"uid": uid, "allowed": verdict.allowed}
    if not verdict.allowed:
        response["status"] = {"code": 422, "reason": "Invalid", "message": verdict.message}
    if verdict.warnings:
        response["warnings"] = list(verdict.warnings)
    body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
    return web.Response(body=msgspec.json.encode(body), content_type="application/json")


class ReloadingCertificate:
    """A TLS context that takes in a renewed certificate from its files without a restart."""

    def __init__(self, certificate: Path, key: Path, every_seconds: float = 10.0) -> None:
        """Raises OSError or ssl.SSLError when the files are not there or do not fit together."""
        self._files = (certificate, key)
        self._every_seconds = every_seconds
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._seen = self._stamps()
        self.context.load_cert_chain(certificate, key)

    async def watch(self) -> None:
        """Load the certificate again whenever its files change; runs until cancelled."""
        while True:
            await asyncio.sleep(self._every_seconds)
            self.reload_if_changed()

    def reload_if_changed(self) -> bool:
        """Whether the files had changed and were taken in; half-written ones wait for the next look."""
        try:
            stamps = self._stamps()
            if stamps == self._seen:
                return False
            self.context.load_cert_chain(*self._files)
        except (OSError, ssl.SSLError) as error:
            logger.warning("the webhook's renewed certificate cannot be used yet: %s", error)
            return False
        self._seen = stamps
        logger.info("the webhook's certificate was renewed")
        return True

    def _stamps(self) -> tuple[tuple[int, int], ...]:
        """What tells another file from the same one; a mounted Secret's are links to a folder that is exchanged."""
        found = [path.stat() for path in self._files]
        return tuple((file.st_mtime_ns, file.st_ino) for file in found)
