"""Resources as the store keeps them: light, frozen, not yet validated.

A controller validates `spec` with the kind's pydantic model when it reconciles; thousands of
resources that nobody looks at stay plain.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """The identity of a resource; `namespace` is empty for cluster-scoped kinds."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.path}"

    @property
    def path(self) -> str:
        """`namespace/name`, or the bare name of a cluster-scoped resource."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True)
class Owner:
    """The controller's owner reference of a Secret or a child resource."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource of our API as stored; `spec` and `status` are plain JSON values.

    `generation` grows with each change of the spec, `resource_version` with every write.
    """

    key: Key
    uid: str
    generation: int
    resource_version: str
    created: datetime
    spec: Mapping[str, Any]
    status: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    finalizers: tuple[str, ...] = ()
    deleted: datetime | None = None
    """When deletion was asked for; the resource goes once its finalizers are gone."""


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A Kubernetes Secret; `data` is decoded. Its repr never shows a value."""

    namespace: str
    name: str
    data: Mapping[str, bytes]
    type: str = "Opaque"
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    owner: Owner | None = None
    uid: str = ""
    resource_version: str = ""
    """Empty for a Secret that does not exist yet."""

    def __repr__(self) -> str:
        return f"Secret({self.namespace}/{self.name}, keys={sorted(self.data)})"
