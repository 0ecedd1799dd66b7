"""The webhook's certificate: mounted by cert-manager, or made by ourselves and shared by all replicas."""

import asyncio
import base64
import logging
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from dbtether.api.resource import Secret
from dbtether.errors import StateError
from dbtether.operator.settings import WebhookSettings
from dbtether.runtime.certificates import bundle_of, make_serving_certificate, must_be_renewed, renew_before
from dbtether.runtime.kube import ApiError, Client, Supervisor
from dbtether.runtime.kube.requests import ApiResource, get, merge_patch
from dbtether.runtime.kube.secrets import SecretApi
from dbtether.runtime.webhook import ReloadingCertificate

logger = logging.getLogger(__name__)

SECRET_NAME = "dbtether-webhook-tls"  # noqa: S105 - the name of a Secret
_CONFIGURATIONS = ApiResource(
    "admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", False
)
_LOOK_AGAIN_SECONDS = 3600.0


@asynccontextmanager
async def webhook_certificate(
    client: Client, namespace: str, settings: WebhookSettings, supervisor: Supervisor, *, stores: bool = True
) -> AsyncIterator[ReloadingCertificate]:
    """A certificate that is kept fresh until the end. Raises StateError when there is none to be had.

    Without `stores` none is written to the cluster: one that is there is used, else one that nobody trusts.
    """
    if settings.certificate_folder is not None:
        folder = settings.certificate_folder
        certificate = _loaded(folder, settings)
        supervisor.start(certificate.watch, name="watch of the webhook's certificate")
        yield certificate
        return
    with tempfile.TemporaryDirectory(prefix="dbtether-webhook-") as made:
        own = _OwnCertificate(client, namespace, settings, Path(made), stores=stores)
        await own.refresh()
        certificate = _loaded(Path(made), settings)
        supervisor.start(certificate.watch, name="watch of the webhook's certificate")
        supervisor.start(own.keep_fresh, name="renewal of the webhook's certificate")
        yield certificate


def _loaded(folder: Path, settings: WebhookSettings) -> ReloadingCertificate:
    try:
        return ReloadingCertificate(folder / "tls.crt", folder / "tls.key", settings.reload_seconds)
    except OSError as error:
        raise StateError(f"the webhook's certificate in {folder} cannot be read: {error.strerror or error}") from None


class _OwnCertificate:
    """A self-made CA in a Secret that all replicas use; its public part goes into the webhook's configuration."""

    def __init__(
        self, client: Client, namespace: str, settings: WebhookSettings, folder: Path, *, stores: bool
    ) -> None:
        self._client = client
        self._secrets = SecretApi(client, lambda _: "")
        self._namespace = namespace
        self._settings = settings
        self._folder = folder
        self._stores = stores

    async def _find_names(self) -> Sequence[str]:
        """The names that the API server may call us by: our Service's, and those of URLs in the configuration."""
        service = f"{self._settings.service}.{self._namespace}.svc"
        urls = [urlsplit(text).hostname for text in _urls(await self._configuration())]
        return tuple(dict.fromkeys((service, f"{service}.cluster.local", *(name for name in urls if name))))

    async def _configuration(self) -> Mapping[str, Any]:
        """The configuration, empty when there is none to be read."""
        name = self._settings.configuration
        try:
            return await self._client.send(get(_CONFIGURATIONS, "", name), dict[str, Any])
        except ApiError as error:
            # Nothing hangs on the webhook (failurePolicy Ignore); the controllers check everything again.
            logger.warning("ValidatingWebhookConfiguration %s cannot be read: %s", name, error)
            return {}

    async def keep_fresh(self) -> None:
        """Look from time to time whether the certificate must be renewed; runs until cancelled."""
        # Several looks fit into the time between the day of renewal and the end.
        seconds = min(_LOOK_AGAIN_SECONDS, renew_before(self._settings.certificate_lifetime).total_seconds() / 4)
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.refresh()
            except StateError as error:
                logger.warning("the webhook's certificate could not be looked after: %s", error)

    async def refresh(self) -> None:
        """Make or renew the Secret, write its files, and tell the API server our CA. Raises StateError."""
        secret = await self._current(await self._find_names())
        if self._stores:
            # Trusted before it is shown.
            await self._publish(secret.data["ca.crt"])
        self._write("tls.crt", secret.data["tls.crt"])
        self._write("tls.key", secret.data["tls.key"])

    async def _current(self, names: Sequence[str]) -> Secret:
        failure: StateError | None = None
        for _ in range(3):
            found = await self._secrets.read(self._namespace, SECRET_NAME)
            complete = found is not None and {"tls.crt", "tls.key", "ca.crt"} <= set(found.data)
            if found is not None and complete and not self._is_due(found, names):
                return found
            if not self._stores:
                logger.warning("Secret %s/%s is left as it is: the operator only reads", self._namespace, SECRET_NAME)
                return found if found is not None and complete else Secret("", "", self._made(None, names))
            try:
                return await self._renewed(found, names)
            except StateError as error:
                # Mostly another replica was faster: its certificate is as good.
                failure = error
        raise StateError(f"the webhook's certificate could not be stored: {failure}")

    async def _renewed(self, found: Secret | None, names: Sequence[str]) -> Secret:
        data = self._made(found, names)
        if found is not None:
            return await self._secrets.replace(replace(found, data=data))
        labels = {"app.kubernetes.io/managed-by": "dbtether"}
        return await self._secrets.create(
            Secret(self._namespace, SECRET_NAME, data, type="kubernetes.io/tls", labels=labels)
        )

    def _made(self, found: Secret | None, names: Sequence[str]) -> dict[str, bytes]:
        now = datetime.now(UTC)
        made = make_serving_certificate(names, now, self._settings.certificate_lifetime)
        earlier = b"" if found is None else found.data.get("ca.crt", b"")
        bundle = bundle_of(made.ca, earlier, now)
        return {"ca.crt": bundle, "tls.crt": made.certificate, "tls.key": made.key}

    def _is_due(self, secret: Secret, names: Sequence[str]) -> bool:
        lifetime = self._settings.certificate_lifetime
        return must_be_renewed(secret.data["tls.crt"], names, datetime.now(UTC), lifetime)

    def _write(self, name: str, content: bytes) -> None:
        # Replaced whole, so that nobody reads half a key.
        temporary = self._folder / f".{name}"
        temporary.touch(mode=0o600)
        temporary.write_bytes(content)
        temporary.replace(self._folder / name)

    async def _publish(self, ca: bytes) -> None:
        """Put the CA into each webhook of the configuration; without one the webhook is not asked at all."""
        name = self._settings.configuration
        bundle = base64.b64encode(ca).decode()
        try:
            found = await self._client.send(get(_CONFIGURATIONS, "", name), dict[str, Any])
            webhooks = found.get("webhooks") or []
            if all(hook["clientConfig"].get("caBundle") == bundle for hook in webhooks):
                return
            for hook in webhooks:
                hook["clientConfig"]["caBundle"] = bundle
            version = found["metadata"]["resourceVersion"]
            body = {"metadata": {"resourceVersion": version}, "webhooks": webhooks}
            await self._client.send_raw(merge_patch(_CONFIGURATIONS, "", name, body))
        except ApiError as error:
            logger.warning("the CA could not be put into ValidatingWebhookConfiguration %s: %s", name, error)
        except (KeyError, TypeError, msgspec.MsgspecError):
            logger.warning("ValidatingWebhookConfiguration %s has a shape that is not known", name)


def _urls(configuration: Mapping[str, Any]) -> list[str]:
    try:
        found = [hook["clientConfig"].get("url") for hook in configuration.get("webhooks") or []]
    except (KeyError, TypeError, AttributeError):
        return []
    return [url for url in found if isinstance(url, str)]
