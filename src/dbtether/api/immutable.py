"""Which fields make a resource's identity and may not change. Pure; works on specs as written.

A field that is added with the value of the default in force is no change: GitOps tools and exports do so.
"""

from collections.abc import Callable, Mapping
from typing import Any

from dbtether.api.field_paths import shown
from dbtether.api.resource import Key

Spec = Mapping[str, Any]
_Effective = Callable[[Spec, Key], Any]

_RESTORE_DEFAULTS = {
    "onConflict": "fail",
    "verifyOnly": False,
    "ttlAfterCompletion": "1h",
    "keepReplacedFor": "24h",
}
_RESTORE_MUTABLE = ("cancel",)
"""A restore that runs can be ended; everything else of it stays as it was started."""


def immutability_errors(key: Key, old: Spec, new: Spec) -> tuple[str, ...]:
    """A sentence for each identity field that differs between two specs of one resource."""
    if key.kind == "Restore":
        return _restore_errors(key, old, new)
    sentences: list[str] = []
    for path, effective in _IDENTITY.get(key.kind, {}).items():
        before, after = effective(old, key), effective(new, key)
        if before != after:
            change = f"{_text(before)} cannot become {_text(after)}"
            sentences.append(f"spec.{path}: {change}; create another resource instead ({key})")
    if key.kind == "DatabaseUser":
        sentences.extend(_target_errors(key, old, new))
    return tuple(sentences)


def _text(value: Any) -> str:
    return "nothing" if value is None else shown((), value)


def _at(spec: Spec, *names: str) -> Any:
    value: Any = spec
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _database_name(spec: Spec, key: Key) -> Any:
    return _at(spec, "databaseName") or key.name.replace("-", "_")


def _username(spec: Spec, key: Key) -> Any:
    return _at(spec, "username") or key.name


def _cluster(spec: Spec, _: Key) -> Any:
    return _at(spec, "clusterRef", "name")


def _storage(spec: Spec, _: Key) -> Any:
    return _at(spec, "storageRef", "name")


def _database_ref(spec: Spec, key: Key) -> Any:
    return _reference(_at(spec, "databaseRef"), key)


def _reference(value: Any, key: Key) -> str | None:
    """`namespace/name` of a reference; None for something that is no reference."""
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        return None
    return f"{value.get('namespace') or key.namespace}/{value['name']}"


_IDENTITY: Mapping[str, Mapping[str, _Effective]] = {
    "Database": {"clusterRef.name": _cluster, "databaseName": _database_name},
    "DatabaseUser": {"username": _username},
    "Backup": {"databaseRef": _database_ref, "storageRef.name": _storage},
    "BackupSchedule": {"databaseRef": _database_ref, "storageRef.name": _storage},
}


def _target_errors(key: Key, old: Spec, new: Spec) -> list[str]:
    """A user of one database stays in it; it may get more, and a list may grow and shrink."""
    before, after = _targets(old, key), _targets(new, key)
    single = _at(old, "databases") is None
    if not before or not after or before == after:
        return []
    kept = before <= after if single else bool(before & after)
    if kept:
        return []
    field = next((name for name in ("databaseRef", "database") if _at(new, name) is not None), "databases")
    change = f"{', '.join(sorted(before)[:3])} cannot be exchanged for {', '.join(sorted(after)[:3])}"
    return [f"spec.{field}: {change}; create another resource instead ({key})"]


def _targets(spec: Spec, key: Key) -> set[str]:
    listed = _at(spec, "databases")
    entries = [_at(spec, "databaseRef"), _at(spec, "database"), *(listed if isinstance(listed, list) else [])]
    return {name for entry in entries if (name := _reference(entry, key)) is not None}


def _restore_errors(key: Key, old: Spec, new: Spec) -> tuple[str, ...]:
    before, after = _restore(old, key), _restore(new, key)
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    sentence = "cannot be changed: a Restore runs once; create another one"
    return tuple(f"spec.{name}: {sentence} ({key})" for name in changed)


def _restore(spec: Spec, key: Key) -> dict[str, Any]:
    """The spec with its defaults in force, without what may change."""
    fields = {name: value for name, value in spec.items() if name not in _RESTORE_MUTABLE and value is not None}
    filled = {**_RESTORE_DEFAULTS, **fields}
    source = spec.get("source")
    if isinstance(source, Mapping):
        filled["source"] = {
            name: {"namespace": key.namespace, **_present(part)}
            if name in ("backupRef", "latestFrom") and isinstance(part, Mapping)
            else part
            for name, part in _present(source).items()
        }
    return filled


def _present(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
