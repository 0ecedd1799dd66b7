"""Opens the buckets of clouds: from a BackupStorage's spec and a Secret's data to a `Bucket`.

Without credentials obstore asks the workload's identity: for S3 the variables of IRSA, ECS and EKS Pod Identity,
then the instance's metadata; for Google the metadata server (Workload Identity) or the file that
GOOGLE_APPLICATION_CREDENTIALS names; for Azure the federated token of Workload Identity, then Managed Identity.
"""

import atexit
import ipaddress
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from obstore.store import AzureStore, GCSStore, S3Store

from dbtether.api.backupstorage import S3, Azure, Gcs
from dbtether.errors import Blocked
from dbtether.storage.bucket import Bucket, Clients
from dbtether.storage.credentials import azure_keys, gcs_key, s3_keys

if TYPE_CHECKING:
    from obstore.store import (
        AzureAccessKey,
        AzureConfig,
        AzureCredentialProvider,
        ClientConfig,
        GCSConfig,
        RetryConfig,
        S3Config,
        S3Credential,
        S3CredentialProvider,
    )


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a store may take."""

    connect_seconds: float = 5.0
    call_seconds: float = 30.0
    """One attempt of a small request."""
    stall_seconds: float = 300.0
    """How long a transfer may stand still, or one part may take."""
    retries: int = 5
    retry_seconds: float = 60.0
    """After that no attempt is begun any more."""


DEFAULT_LIMITS = Limits()

# A thread of obstore's that gives a result back lets go of it a moment later; when Python's end comes in between,
# the process aborts (seen with obstore 0.12 on Python 3.11 in half of all runs that end right after an error).
# Sleeping lets those threads have the interpreter once more.
atexit.register(time.sleep, 0.1)

_DAY = timedelta(days=1)


def open_s3(spec: S3, data: Mapping[str, bytes] | None, limits: Limits = DEFAULT_LIMITS) -> Bucket:
    """The bucket. Raises Blocked when the Secret's data does not fit."""
    # An address takes no bucket before it; the AWS SDKs do the same.
    by_path = spec.force_path_style or (spec.endpoint is not None and _is_address(spec.endpoint))
    config: S3Config = {
        "region": spec.region,
        # One by one is what every store that speaks S3 knows.
        "disable_bulk_delete": True,
        # A custom endpoint with virtual hosts must name the bucket itself (obstore puts no bucket before a host).
        "virtual_hosted_style_request": not by_path,
    }
    if spec.endpoint is not None:
        config["endpoint"] = spec.endpoint if by_path else _with_bucket(spec.endpoint, spec.bucket)
    if spec.kms_key_id is not None:
        config["server_side_encryption"] = "aws:kms"
        config["sse_kms_key_id"] = spec.kms_key_id
    provider: S3CredentialProvider | None = None
    if data is not None:
        keys = s3_keys(data)

        def given() -> "S3Credential":
            return {
                "access_key_id": str(keys["access_key_id"]),
                "secret_access_key": str(keys["secret_access_key"]),
                "token": keys["token"],
                "expires_at": None,
            }

        # As a provider, not as settings: the environment's session token must not mix with the Secret's keys.
        provider = given
    calls, transfers = _clients(spec.endpoint, limits)
    retry = _retry(limits)
    clients = Clients(
        *(
            S3Store(spec.bucket, config=config, client_options=each, retry_config=retry, credential_provider=provider)
            for each in (calls, transfers)
        )
    )
    return Bucket(f"s3://{spec.bucket}", clients, has_keys=data is not None, takes_tags=True)


def open_gcs(spec: Gcs, data: Mapping[str, bytes] | None, limits: Limits = DEFAULT_LIMITS) -> Bucket:
    """The bucket. Raises Blocked when the Secret's data does not fit."""
    config: GCSConfig = {}
    if spec.endpoint is not None:
        config["base_url"] = spec.endpoint
    if data is not None:
        config["service_account_key"] = gcs_key(data)
    calls, transfers = _clients(spec.endpoint, limits)
    retry = _retry(limits)
    try:
        clients = Clients(
            *(
                GCSStore(spec.bucket, config=config, client_options=each, retry_config=retry)
                for each in (calls, transfers)
            )
        )
    except Exception:
        # What is wrong with a key can only be said by quoting it.
        raise Blocked("SecretInvalid", "the service account's key cannot be used: make a new one") from None
    return Bucket(f"gs://{spec.bucket}", clients, has_keys=data is not None)


def open_azure(spec: Azure, data: Mapping[str, bytes] | None, limits: Limits = DEFAULT_LIMITS) -> Bucket:
    """The container. Raises Blocked when the Secret's data does not fit."""
    config: AzureConfig = {"account_name": spec.storage_account}
    if spec.endpoint is not None:
        config["endpoint"] = spec.endpoint
    provider: AzureCredentialProvider | None = None
    if data is not None:
        keys = azure_keys(data)
        if "account_key" in keys:

            def given() -> "AzureAccessKey":
                return {"access_key": keys["account_key"], "expires_at": None}

            provider = given
        else:
            config["client_id"] = keys["client_id"]
            config["client_secret"] = keys["client_secret"]
            config["tenant_id"] = keys["tenant_id"]
    calls, transfers = _clients(spec.endpoint, limits)
    retry = _retry(limits)
    clients = Clients(
        *(
            AzureStore(
                spec.container, config=config, client_options=each, retry_config=retry, credential_provider=provider
            )
            for each in (calls, transfers)
        )
    )
    return Bucket(f"azure://{spec.storage_account}/{spec.container}", clients, has_keys=data is not None)


def _is_address(endpoint: str) -> bool:
    try:
        ipaddress.ip_address(urlsplit(endpoint).hostname or "")
    except ValueError:
        return False
    return True


def _with_bucket(endpoint: str, bucket: str) -> str:
    parts = urlsplit(endpoint)
    if parts.netloc.startswith(f"{bucket}."):
        return endpoint
    return parts._replace(netloc=f"{bucket}.{parts.netloc}").geturl()


def _clients(endpoint: str | None, limits: Limits) -> "tuple[ClientConfig, ClientConfig]":
    common: ClientConfig = {
        "allow_http": endpoint is not None and endpoint.startswith("http://"),
        "connect_timeout": timedelta(seconds=limits.connect_seconds),
    }
    calls: ClientConfig = {**common, "timeout": timedelta(seconds=limits.call_seconds)}
    stall = timedelta(seconds=limits.stall_seconds)
    # A download of any size is one request: it has no end of its own, only a longest standstill.
    transfers: ClientConfig = {**common, "timeout": _DAY, "read_timeout": stall}
    return calls, transfers


def _retry(limits: Limits) -> "RetryConfig":
    return {
        "max_retries": limits.retries,
        "retry_timeout": timedelta(seconds=limits.retry_seconds),
        "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=10), "base": 2},
    }
