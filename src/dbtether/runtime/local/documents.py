"""Resources and Secrets as Kubernetes YAML, written so that kubectl reads the same values.

Pure: text in, text out. No error of this module holds a value of a Secret.
"""

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import yaml

from dbtether.api.resource import Key, Owner, Resource, Secret
from dbtether.api.times import instant_text
from dbtether.runtime.local.block_yaml import NotWritable, block_yaml

API_VERSION = "dbtether.io/v1alpha1"

# libyaml is ten times as fast; PyYAML is built without it where there is no C compiler.
_FastLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class MalformedDocument(Exception):
    """A file's text is not the document that it should be; the message says what is wrong, without values."""


class _Loader(_FastLoader):  # type: ignore[misc]
    """Loads JSON values only: a date stays the string that Kubernetes takes it for."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _FastLoader.yaml_implicit_resolvers.items()
}


def resource_text(resource: Resource) -> str:
    """The resource as a YAML document. Raises MalformedDocument when a string cannot be written."""
    metadata: dict[str, Any] = {"name": resource.key.name}
    if resource.key.namespace:
        metadata["namespace"] = resource.key.namespace
    metadata |= {
        "uid": resource.uid,
        "generation": resource.generation,
        "resourceVersion": resource.resource_version,
        "creationTimestamp": instant_text(resource.created),
    }
    if resource.deleted:
        metadata["deletionTimestamp"] = instant_text(resource.deleted)
    if resource.finalizers:
        metadata["finalizers"] = list(resource.finalizers)
    _add_labels(metadata, resource.labels, resource.annotations)
    document = {
        "apiVersion": API_VERSION,
        "kind": resource.key.kind,
        "metadata": metadata,
        "spec": resource.spec,
    }
    if resource.status:
        document["status"] = resource.status
    return _dump(document)


def read_resource(key: Key, text: str) -> Resource:
    """The resource that the text holds. Raises MalformedDocument when it is not the one `key` names."""
    document = _load(text)
    if document.get("apiVersion") != API_VERSION:
        raise MalformedDocument(f"apiVersion is not {API_VERSION}")
    metadata = _checked_metadata(key, document)
    deleted = metadata.get("deletionTimestamp")
    generation = metadata.get("generation")
    if not isinstance(generation, int):
        raise MalformedDocument("metadata.generation is not a number")
    finalizers = metadata.get("finalizers", [])
    if not isinstance(finalizers, list) or not all(isinstance(name, str) for name in finalizers):
        raise MalformedDocument("metadata.finalizers is not a list of strings")
    return Resource(
        key=key,
        uid=_string(metadata, "uid"),
        generation=generation,
        resource_version=_version(metadata),
        created=_time(metadata, "creationTimestamp"),
        spec=_mapping(document, "spec"),
        status=_mapping(document, "status"),
        labels=_string_mapping(metadata, "labels"),
        annotations=_string_mapping(metadata, "annotations"),
        finalizers=tuple(finalizers),
        deleted=_time(metadata, "deletionTimestamp") if deleted is not None else None,
    )


def secret_text(secret: Secret) -> str:
    """The Secret as a YAML document with its data in base64."""
    metadata: dict[str, Any] = {
        "name": secret.name,
        "namespace": secret.namespace,
        "uid": secret.uid,
        "resourceVersion": secret.resource_version,
    }
    if secret.owner:
        metadata["ownerReferences"] = [
            {
                "apiVersion": API_VERSION,
                "kind": secret.owner.kind,
                "name": secret.owner.name,
                "uid": secret.owner.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ]
    _add_labels(metadata, secret.labels, secret.annotations)
    return _dump(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": metadata,
            "type": secret.type,
            "data": {name: base64.b64encode(value).decode("ascii") for name, value in secret.data.items()},
        }
    )


def read_secret(key: Key, text: str) -> Secret:
    """The Secret that the text holds. Raises MalformedDocument when it is not the one `key` names.

    Also takes what a person wrote by hand: `stringData`, and metadata without uid and version.
    """
    document = _load(text)
    if document.get("apiVersion") != "v1":
        raise MalformedDocument("apiVersion is not v1")
    metadata = _checked_metadata(key, document)
    data = {name: _decoded(name, value) for name, value in _string_mapping(document, "data").items()}
    data |= {name: value.encode() for name, value in _string_mapping(document, "stringData").items()}
    secret_type = document.get("type", "Opaque")
    if not isinstance(secret_type, str):
        raise MalformedDocument("type is not a string")
    return Secret(
        namespace=key.namespace,
        name=key.name,
        data=data,
        type=secret_type,
        labels=_string_mapping(metadata, "labels"),
        annotations=_string_mapping(metadata, "annotations"),
        owner=_owner(metadata),
        uid=_string(metadata, "uid") if "uid" in metadata else "",
        resource_version=_version(metadata) if "resourceVersion" in metadata else "1",
    )


def _dump(document: Mapping[str, Any]) -> str:
    try:
        return block_yaml(document)
    except NotWritable as error:
        raise MalformedDocument(str(error)) from None


def _load(text: str) -> dict[str, Any]:
    try:
        document = yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader, made above
    except yaml.MarkedYAMLError as error:
        # Only where and what kind of error it is: PyYAML's message quotes the line.
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise MalformedDocument(f"it is not valid YAML (line {line})") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise MalformedDocument("it is not valid YAML") from None
    if not isinstance(document, dict):
        raise MalformedDocument("it is empty" if not text.strip("\0 \n") else "it is not a mapping")
    return document


def _checked_metadata(key: Key, document: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = _mapping(document, "metadata")
    found = (document.get("kind"), metadata.get("namespace") or "", metadata.get("name"))
    if found != (key.kind, key.namespace, key.name):
        raise MalformedDocument(f"kind, namespace and name are not those of {key}")
    return metadata


def _add_labels(metadata: dict[str, Any], labels: Mapping[str, str], annotations: Mapping[str, str]) -> None:
    if labels:
        metadata["labels"] = dict(labels)
    if annotations:
        metadata["annotations"] = dict(annotations)


def _owner(metadata: Mapping[str, Any]) -> Owner | None:
    references = metadata.get("ownerReferences") or []
    if not isinstance(references, list):
        raise MalformedDocument("metadata.ownerReferences is not a list")
    for reference in references:
        if isinstance(reference, dict) and reference.get("controller"):
            return Owner(_string(reference, "kind"), _string(reference, "name"), _string(reference, "uid"))
    return None


def _mapping(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise MalformedDocument(f"{name} is not a mapping")
    return value


def _string_mapping(document: Mapping[str, Any], name: str) -> dict[str, str]:
    values = _mapping(document, name)
    if not all(isinstance(value, str) for value in values.values()):
        raise MalformedDocument(f"{name} holds something that is not a string")
    return values


def _string(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str):
        raise MalformedDocument(f"{name} is not a string")
    return value


def _version(metadata: Mapping[str, Any]) -> str:
    version = _string(metadata, "resourceVersion")
    if not (version.isascii() and version.isdigit()):
        raise MalformedDocument("metadata.resourceVersion is not a number")
    return version


def _decoded(name: str, value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise MalformedDocument(f"data.{name} is not base64") from None


def _time(metadata: Mapping[str, Any], name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(_string(metadata, name))
    except ValueError:
        raise MalformedDocument(f"metadata.{name} is not a time") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
