"""What makes a resource's identity, as rules about a change: `api.immutable` in the API server's language.

A rule inside a schema does not see the resource's namespace. So a reference that gains or loses its namespace
passes here, and is judged by the admission policies of the chart, which see it.
"""

from collections.abc import Mapping
from typing import Any

from dbtether.api.backupschedule import MAX_NAME
from dbtether.api.identifiers import RESERVED_DATABASES, RESERVED_ROLES
from dbtether.crds.cel import Validation, strings, validation

_OTHER = "cannot be changed; create another resource instead"
_RESTORE = "cannot be changed: a Restore runs once; create another one"


def put_rules(kind: str, spec: dict[str, Any]) -> None:
    """Put the rules of a kind's identity fields where they belong in its spec's schema."""
    for path, entry in _AT_FIELDS.get(kind, {}).items():
        field = spec
        for name in path.split(".") if path else ():
            field = field["properties"][name]
        # A copy: the same model may be a field of other kinds, where it can change.
        field["x-kubernetes-validations"] = [*field.get("x-kubernetes-validations", ()), entry]


def at_root(kind: str) -> list[Validation]:
    """The rules of a kind that need `metadata.name`, from which other names are derived."""
    return list(_AT_ROOT.get(kind, ()))


_DERIVED = "self.metadata.name.replace('-', '_')"
_SAME = validation("self == oldSelf", _OTHER)
_SAME_RUN = validation("self == oldSelf", _RESTORE)


def _same_reference(name: str, sentence: str) -> Validation:
    """A reference keeps its name, and its namespace as far as both tell it; `name` is a path below self."""
    new, old = f"self{name}", f"oldSelf{name}"
    namespaces = (
        f"(!has({new}.__namespace__) || !has({old}.__namespace__) || {new}.__namespace__ == {old}.__namespace__)"
    )
    return validation(f"{new}.name == {old}.name && {namespaces}", sentence)


def _database_name(object_: str) -> str:
    """The database's name in force."""
    name = f"{object_}.spec.databaseName"
    return f"(has({name}) ? {name} : {object_}.metadata.name.replace('-', '_'))"


def _username(object_: str) -> str:
    name = f"{object_}.spec.username"
    return f"(has({name}) ? {name} : {object_}.metadata.name)"


def _names(spec: str) -> str:
    """The names of the Databases of a user, whichever form they are written in."""
    return (
        f"(has({spec}.databaseRef) ? [{spec}.databaseRef.name] : has({spec}.database) ? [{spec}.database.name] : "
        f"{spec}.databases.map(entry, entry.name))"
    )


_KEPT_DATABASES = {
    "rule": (
        f"has(oldSelf.databases) ? {_names('oldSelf')}.exists(name, name in {_names('self')}) : "
        f"{_names('oldSelf')}.all(name, name in {_names('self')})"
    ),
    "message": "the user's databases cannot be exchanged for others; create another resource instead",
}

_AT_FIELDS: Mapping[str, Mapping[str, Validation]] = {
    "Database": {"clusterRef.name": _SAME},
    "DatabaseUser": {"": _KEPT_DATABASES},
    "Backup": {"databaseRef": _same_reference("", _OTHER), "storageRef.name": _SAME},
    "BackupSchedule": {"databaseRef": _same_reference("", _OTHER), "storageRef.name": _SAME},
    "Restore": {
        "source": validation(
            "has(self.backupRef) == has(oldSelf.backupRef) && has(self.latestFrom) == has(oldSelf.latestFrom) && "
            "(!has(self.backupRef) || (self.backupRef.name == oldSelf.backupRef.name && "
            "(!has(self.backupRef.__namespace__) || !has(oldSelf.backupRef.__namespace__) || "
            "self.backupRef.__namespace__ == oldSelf.backupRef.__namespace__))) && "
            "(!has(self.latestFrom) || (self.latestFrom.databaseRef == oldSelf.latestFrom.databaseRef && "
            "(!has(self.latestFrom.__namespace__) || !has(oldSelf.latestFrom.__namespace__) || "
            "self.latestFrom.__namespace__ == oldSelf.latestFrom.__namespace__))) && "
            "(!has(self.path) || (self.path == oldSelf.path && self.storageRef == oldSelf.storageRef))",
            _RESTORE,
        ),
        "target": _SAME_RUN,
        "onConflict": _SAME_RUN,
        "verifyOnly": _SAME_RUN,
        "ttlAfterCompletion": _SAME_RUN,
        "keepReplacedFor": _SAME_RUN,
    },
}

_AT_ROOT: Mapping[str, tuple[Validation, ...]] = {
    "BackupSchedule": (
        validation(
            f"self.metadata.name.size() <= {MAX_NAME}",
            f"metadata.name is too long; the label of its Backups carries {MAX_NAME} characters at most",
        ),
    ),
    "Database": (
        validation(
            f"has(self.spec.databaseName) || ({_DERIVED}.matches('^[a-z_][a-z0-9_]{{0,62}}$') && "
            f"!({_DERIVED} in {strings(RESERVED_DATABASES)}) && !{_DERIVED}.startsWith('azure_'))",
            "metadata.name gives no name for the database; set spec.databaseName",
        ),
        {
            "rule": f"{_database_name('self')} == {_database_name('oldSelf')}",
            "messageExpression": (
                f"{_database_name('oldSelf')} + ' cannot become ' + {_database_name('self')} + "
                "'; create another resource instead'"
            ),
            "message": _OTHER,
            "fieldPath": ".spec.databaseName",
        },
    ),
    "DatabaseUser": (
        validation(
            "has(self.spec.username) || (self.metadata.name.size() <= 63 && "
            f"!(self.metadata.name in {strings(RESERVED_ROLES)}) && !self.metadata.name.matches('^(rds|cloudsql)'))",
            "metadata.name gives no name for the login; set spec.username",
        ),
        {
            "rule": f"{_username('self')} == {_username('oldSelf')}",
            "messageExpression": (
                f"{_username('oldSelf')} + ' cannot become ' + {_username('self')} + "
                "'; create another resource instead'"
            ),
            "message": _OTHER,
            "fieldPath": ".spec.username",
        },
    ),
}
