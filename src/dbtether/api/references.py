"""References from one resource to another, and the rules of consent across namespaces."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import Field

from dbtether.api.fields import Choice, LabelValue, Name, Namespace, QualifiedName, SecretKey, listed
from dbtether.api.model import ShapedModel, ShapeRule, SpecModel
from dbtether.api.resource import Key


class Privileges(StrEnum):
    """How far a user may go in a database; each level holds the ones before it."""

    READONLY = "readonly"
    READWRITE = "readwrite"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        """0 for the least."""
        return tuple(Privileges).index(self)


class DeletionPolicy(StrEnum):
    """What happens on the server when the resource is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


class ClusterRef(SpecModel):
    """A DBCluster."""

    name: Name
    """Name of the DBCluster."""


class StorageRef(SpecModel):
    """A BackupStorage."""

    name: Name
    """Name of the BackupStorage."""


class DatabaseRef(SpecModel):
    """A Database, perhaps of another namespace that allows it."""

    name: Name
    """Name of the Database resource."""
    namespace: Namespace | None = None
    """Namespace of the Database; the resource's own when left out."""

    def key(self, own_namespace: str) -> Key:
        """The Database that a resource of this namespace means."""
        return Key("Database", self.namespace or own_namespace, self.name)


class LocalDatabaseRef(SpecModel):
    """A Database whose namespace is settled elsewhere."""

    name: Name
    """Name of the Database resource."""


class SecretRef(SpecModel):
    """A Secret of the platform; cluster-scoped resources name its namespace."""

    name: Name
    """Name of the Secret."""
    namespace: Namespace
    """Namespace of the Secret; the operator reads only those it was told to."""


class CaSecretRef(SecretRef):
    """The Secret that holds a CA certificate."""

    key: SecretKey = "ca.crt"
    """Key of the PEM-encoded certificates in the Secret."""


class SelectorOperator(StrEnum):
    """metav1.LabelSelectorOperator."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


@dataclass(frozen=True, slots=True)
class _ValuesOfOperator:
    """In and NotIn compare with values, the other operators have none (metav1.LabelSelectorRequirement)."""

    def problem(self, fields: Mapping[str, Any]) -> str | None:
        operator, has_values = fields.get("operator"), bool(fields.get("values"))
        if operator in ("In", "NotIn"):
            return None if has_values else f"operator {operator} needs values"
        if operator in ("Exists", "DoesNotExist") and has_values:
            return f"operator {operator} takes no values; remove them"
        return None

    @property
    def cel(self) -> str:
        return "(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)"


class SelectorRequirement(ShapedModel):
    """metav1.LabelSelectorRequirement."""

    rules: ClassVar[tuple[ShapeRule, ...]] = (_ValuesOfOperator(),)

    key: QualifiedName
    """Key of the label."""
    operator: Choice[SelectorOperator]
    """In, NotIn, Exists or DoesNotExist."""
    values: Annotated[tuple[LabelValue, ...], listed(64)] = ()
    """Values for In and NotIn."""

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels meet this requirement."""
        match self.operator:
            case SelectorOperator.IN:
                return labels.get(self.key) in self.values
            case SelectorOperator.NOT_IN:
                return labels.get(self.key) not in self.values
            case SelectorOperator.EXISTS:
                return self.key in labels
            case SelectorOperator.DOES_NOT_EXIST:
                return self.key not in labels


class LabelSelector(SpecModel):
    """metav1.LabelSelector; an empty one selects everything."""

    match_labels: dict[QualifiedName, LabelValue] = Field(default_factory=dict)
    """Labels that must have exactly these values."""
    match_expressions: Annotated[tuple[SelectorRequirement, ...], listed(16)] = ()
    """Further requirements; all must be met."""

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels meet all of it."""
        exact = all(labels.get(key) == value for key, value in self.match_labels.items())
        return exact and all(expression.matches(labels) for expression in self.match_expressions)


def is_listed(namespaces: tuple[str, ...], namespace: str) -> bool:
    """Whether a list of namespaces holds this one, by name or by `*`."""
    return "*" in namespaces or namespace in namespaces


def may_use(
    namespace: str,
    labels: Mapping[str, str],
    allowed: tuple[str, ...] | None,
    selector: LabelSelector | None,
) -> bool:
    """Whether a namespace may use a cluster-scoped resource: listed, or selected; with neither given, all."""
    if allowed is None and selector is None:
        return True
    return (allowed is not None and is_listed(allowed, namespace)) or (
        selector is not None and selector.matches(labels)
    )
