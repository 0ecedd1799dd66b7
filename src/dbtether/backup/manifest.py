"""The manifest of a backup: written last and never over another, so that its presence says "complete".

It lies beside its object, as `<key>.manifest.json`, and holds what a restore must know that the dump does not
say. Its body's SHA-256 finds damage; the HMAC tells whether this installation wrote it, since what anybody can
put into a bucket is not to be trusted. Pure.
"""

import hashlib
import hmac
import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError
from pydantic.alias_generators import to_camel

from dbtether.backup.formats import DumpFormat
from dbtether.errors import DbtetherError

SCHEMA_VERSION = 1
MANIFEST_SUFFIX = ".manifest.json"
MAX_MANIFEST_BYTES = 32 * 1024 * 1024
"""A database of 100,000 tables needs 10 MB."""


class ManifestInvalid(DbtetherError):
    """A manifest that is damaged, or none; the message says where and why."""


class Trust(StrEnum):
    """Who wrote a manifest."""

    OURS = "ours"
    UNKNOWN = "unknown"
    """Another installation, or anybody who may write to the bucket."""


def manifest_key(key: str) -> str:
    """Where an object's manifest is."""
    return f"{key}{MANIFEST_SUFFIX}"


def object_key(key: str) -> str | None:
    """The object that a manifest's key is about; None for what is no manifest's key."""
    return key.removesuffix(MANIFEST_SUFFIX) if key.endswith(MANIFEST_SUFFIX) else None


def _instant(value: object) -> object:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def _instant_text(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


Instant = Annotated[datetime, BeforeValidator(_instant), PlainSerializer(_instant_text)]


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="ignore",
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=True,
        serialize_by_alias=True,
    )


class Content(_Part):
    """A stream of bytes by its size and its SHA-256 in hexadecimal."""

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Origin(_Part):
    """The resource that a backup was made for."""

    namespace: str
    name: str
    uid: str = ""
    spec_hash: str = ""
    schedule: str | None = None


class Collation(_Part):
    """How the database sorts (pg_database)."""

    provider: str
    collate: str
    ctype: str
    icu_locale: str | None = None
    version: str | None = None


class Grant(_Part):
    """One privilege on the database; `grantee` is empty for PUBLIC."""

    grantee: str
    privilege: str
    grantable: bool


class Extension(_Part):
    """An extension of the database."""

    name: str
    version: str
    schema_name: str


class Source(_Part):
    """The database as it was, beside what is in the dump."""

    cluster: str
    namespace: str
    """Of its Database resource."""
    resource: str
    """Name of its Database resource."""
    database: str
    """Its name in PostgreSQL."""
    server_version: str
    server_identity: str = ""
    encoding: str
    collation: Collation
    owner: str
    connection_limit: int
    size_bytes: int
    grants: tuple[Grant, ...] = ()
    settings: tuple[str, ...] = ()
    """`name=value` items of ALTER DATABASE ... SET."""
    role_settings: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Those of ALTER ROLE ... IN DATABASE ... SET, by role."""
    extensions: tuple[Extension, ...] = ()


class Manifest(_Part):
    """Everything that is known of one complete backup."""

    schema_version: int = SCHEMA_VERSION
    run_id: str
    installation: str
    origin: Origin
    source: Source
    key: str
    format: DumpFormat
    stored: Content
    """The object."""
    plain: Content
    """What is in it, unpacked."""
    started_at: Instant
    snapshot_at: Instant
    """The dump shows the database as it was at this time, or a moment later."""
    finished_at: Instant
    client_version: str
    """Of pg_dump."""
    tool_version: str
    """Of dbtether."""
    tables: dict[str, int] | None = None
    """Rows by table; None in the custom format, which does not show them."""

    @property
    def is_whole(self) -> bool:
        """Whether its times and its key make sense together."""
        return self.started_at <= self.finished_at and self.key.endswith(self.format.value)


def run_key(installation_key: bytes, run_id: str) -> bytes:
    """The key that one run signs with: who gets hold of it can sign nothing of any other run."""
    return hmac.digest(installation_key, f"dbtether backup run {run_id}".encode(), "sha256")


def write_manifest(manifest: Manifest, key: bytes) -> bytes:
    """The manifest's bytes, signed with the key of its run."""
    body = manifest.model_dump(mode="json", exclude_none=True)
    text = _canonical(body)
    envelope = {
        "body": body,
        "sha256": hashlib.sha256(text).hexdigest(),
        "hmac": hmac.digest(key, text, "sha256").hex(),
    }
    return json.dumps(envelope, indent=1, sort_keys=True).encode() + b"\n"


def read_manifest(content: bytes, where: str, installation_key: bytes | None = None) -> tuple[Manifest, Trust]:
    """The manifest, and whether this installation wrote it; `where` names it in errors.

    Raises ManifestInvalid for what is damaged, of a newer form, or no manifest.
    """
    envelope = _parsed(content, where)
    body, digest, signature = (envelope.get(name) for name in ("body", "sha256", "hmac"))
    if not isinstance(body, dict) or not isinstance(digest, str):
        raise ManifestInvalid(f"{where}: no manifest of dbtether")
    text = _canonical(body)
    if hashlib.sha256(text).hexdigest() != digest:
        raise ManifestInvalid(f"{where}: the manifest is damaged (its checksum is wrong)")
    version = body.get("schemaVersion")
    if version != SCHEMA_VERSION:
        raise ManifestInvalid(
            f"{where}: a manifest of form {version}; this dbtether knows {SCHEMA_VERSION}: upgrade it"
        )
    try:
        manifest = Manifest.model_validate_json(text)
    except (ValidationError, ValueError) as error:
        raise ManifestInvalid(f"{where}: the manifest is not complete: {_first_problem(error)}") from None
    is_ours = False
    if installation_key is not None and isinstance(signature, str):
        wanted = hmac.digest(run_key(installation_key, manifest.run_id), text, "sha256").hex()
        is_ours = hmac.compare_digest(wanted, signature.encode("ascii", "replace").decode())
    return manifest, Trust.OURS if is_ours else Trust.UNKNOWN


def _canonical(body: dict[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def _parsed(content: bytes, where: str) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise ManifestInvalid(f"{where}: the manifest is cut off or damaged (not JSON)") from None
    if not isinstance(found, dict):
        raise ManifestInvalid(f"{where}: no manifest of dbtether")
    return found


def _first_problem(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
