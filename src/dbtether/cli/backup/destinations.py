"""What `--to` and `--from` name: a folder, or a bucket with the keys that the environment has."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dbtether.api.backupstorage import BackupStorageSpec
from dbtether.api.resource import Key
from dbtether.api.validation import check
from dbtether.cli.exits import Exit, Quit
from dbtether.storage.folder import Folder
from dbtether.storage.opening import open_store
from dbtether.storage.store import ObjectStore

_AWS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_AZURE = ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID")
_FORMS = "a folder, s3://BUCKET[/PREFIX], gs://BUCKET[/PREFIX] or azure://ACCOUNT/CONTAINER[/PREFIX]"


@dataclass(frozen=True, slots=True)
class Destination:
    """A store, and the folder in it that everything is under."""

    store: ObjectStore
    prefix: str

    def key(self, name: str) -> str:
        """The key of something under the prefix."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def url(self, key: str) -> str:
        """Where an object is, for people."""
        return f"{self.store.url}/{key}"


def destination(
    text: str, option: str, *, make: bool = False, environment: Mapping[str, str] = os.environ
) -> Destination:
    """The place that the text names; a folder is made where `make` says so. Raises Quit."""
    if (folder := local_path(text)) is not None:
        return Destination(_folder(folder, option, make=make), "")
    bucket = bucket_of(text, option, environment)
    return Destination(_store(bucket.spec, bucket.data, f"{option} {text!r}"), bucket.path)


def local_path(text: str) -> Path | None:
    """The path on this machine that the text names; None when it names a bucket."""
    if "://" not in text:
        return Path(text)
    parts = urlsplit(text)
    return Path(parts.path) if parts.scheme == "file" else None


@dataclass(frozen=True, slots=True, repr=False)
class NamedBucket:
    """A bucket as a BackupStorage's spec, and a path in it. Its repr shows nothing."""

    spec: dict[str, Any]
    data: dict[str, bytes] | None
    """The keys that the environment has."""
    path: str


def bucket_of(text: str, option: str, environment: Mapping[str, str] = os.environ) -> NamedBucket:
    """The bucket that a URL names. Raises Quit."""
    parts = urlsplit(text)
    path = parts.path.strip("/")
    match parts.scheme:
        case "s3":
            return NamedBucket(_s3(parts.netloc, environment), _data(environment, _AWS), path)
        case "gs":
            return NamedBucket({"gcs": {"bucket": parts.netloc}}, None, path)
        case "azure":
            container, _, prefix = path.partition("/")
            spec = {"azure": {"storageAccount": parts.netloc, "container": container}}
            return NamedBucket(spec, _data(environment, _AZURE), prefix)
        case _:
            raise Quit(Exit.INVALID, f"{option} {text!r}: give {_FORMS}")


def _folder(path: Path, option: str, *, make: bool) -> ObjectStore:
    if make:
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Quit(Exit.FAILED, f"{option}: the folder {path} cannot be made: {error.strerror}") from None
    if not path.is_dir():
        raise Quit(Exit.FAILED, f"{option}: there is no folder {path}")
    return Folder(path.resolve(), "")


def _s3(bucket: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """The names of AWS's own tools (AWS SDKs and Tools Reference Guide, "Environment variables")."""
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1"
    part: dict[str, Any] = {"bucket": bucket, "region": region}
    if endpoint := environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL"):
        part |= {"endpoint": endpoint, "forcePathStyle": True}
    return {"s3": part}


def _data(environment: Mapping[str, str], names: tuple[str, ...]) -> dict[str, bytes] | None:
    """The keys that the environment has, as a Secret would hold them; None leaves it to the workload's identity."""
    found = {name: environment[name].encode() for name in names if environment.get(name)}
    return found if names[0] in found or "AZURE_CLIENT_SECRET" in found else None


def _store(values: dict[str, Any], data: dict[str, bytes] | None, where: str) -> ObjectStore:
    spec, problems = check(BackupStorageSpec, Key("BackupStorage", "", "storage"), values)
    if spec is None:
        raise Quit(Exit.INVALID, f"{where}: {problems[0].sentence}; give {_FORMS}")
    return open_store(spec, data, None)
