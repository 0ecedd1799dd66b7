"""The tables of docs/crds that come from the code: `python -m tests.cli.docs` writes them anew."""

import re
from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from dbtether.api.kinds import KINDS
from dbtether.api.reasons import EXPLANATIONS, Reason

FOLDER = Path(__file__).parents[2] / "docs" / "crds"

REASONS: dict[str, tuple[Reason, ...]] = {
    "DBCluster": (
        Reason.CONNECTED,
        Reason.CONNECTION_FAILED,
        Reason.AUTHENTICATION_FAILED,
        Reason.TLS_FAILED,
        Reason.TOO_MANY_CONNECTIONS,
        Reason.SERVER_READ_ONLY,
        Reason.SERVER_CHANGED,
        Reason.MISSING_PRIVILEGES,
        Reason.SECRET_NOT_FOUND,
        Reason.SECRET_INVALID,
        Reason.IN_USE,
        Reason.INVALID_SPEC,
    ),
    "Database": (
        Reason.READY,
        Reason.CLUSTER_NOT_FOUND,
        Reason.CLUSTER_NOT_CONNECTED,
        Reason.DATABASE_NOT_OURS,
        Reason.DATABASE_CONFLICT,
        Reason.ADOPTION_NOT_ALLOWED,
        Reason.ADOPTION_PLANNED,
        Reason.OTHER_INSTALLATION,
        Reason.RELEASED,
        Reason.REFERENCE_NOT_ALLOWED,
        Reason.EXTENSION_NOT_AVAILABLE,
        Reason.DATABASE_RENAMED,
        Reason.EXTENSION_NOT_ALLOWED,
        Reason.EXTENSION_NEEDS_PRELOAD,
        Reason.IMMUTABLE_DATABASE_PROPERTY,
        Reason.TEMPLATE_IN_USE,
        Reason.SERVER_READ_ONLY,
        Reason.MISSING_PRIVILEGES,
        Reason.DRIFT_DETECTED,
        Reason.DELETION_PROTECTED,
        Reason.RESTORE_UNDONE,
        Reason.RESTORE_EXPIRED,
        Reason.REPLACED_DATABASE_DROPPED,
        Reason.UNSUPPORTED_FIELD,
        Reason.INVALID_SPEC,
    ),
    "DatabaseUser": (
        Reason.READY,
        Reason.PAUSED,
        Reason.DATABASE_NOT_FOUND,
        Reason.DATABASE_NOT_READY,
        Reason.CLUSTER_NOT_CONNECTED,
        Reason.CLUSTERS_DIFFER,
        Reason.PRIVILEGES_TOO_HIGH,
        Reason.ROLE_NOT_OURS,
        Reason.ROLE_CONFLICT,
        Reason.ADOPTION_NOT_ALLOWED,
        Reason.OTHER_INSTALLATION,
        Reason.RELEASED,
        Reason.SECRET_CONFLICT,
        Reason.SECRET_REFUSED,
        Reason.SECRET_NOT_FOUND,
        Reason.SECRET_INVALID,
        Reason.LOGIN_FAILED,
        Reason.PASSWORD_REJECTED,
        Reason.SERVER_READ_ONLY,
        Reason.ROLE_HAS_DEPENDENTS,
        Reason.MISSING_PRIVILEGES,
        Reason.GRANTS_NOT_READY,
        Reason.GRANTS_INCOMPLETE,
        Reason.TOO_MANY_GRANTS,
        Reason.DRIFT_DETECTED,
        Reason.UNSUPPORTED_FIELD,
        Reason.IMMUTABLE_FIELD,
        Reason.INVALID_SPEC,
    ),
    "BackupStorage": (
        Reason.READY,
        Reason.BUCKET_NOT_FOUND,
        Reason.STORAGE_ACCESS_DENIED,
        Reason.STORAGE_CREDENTIALS_REFUSED,
        Reason.CLOUD_IDENTITY_FAILED,
        Reason.WRONG_REGION,
        Reason.STORAGE_UNREACHABLE,
        Reason.STORAGE_BUSY,
        Reason.STORAGE_FULL,
        Reason.CLOCK_SKEW,
        Reason.STORAGE_REFUSED,
        Reason.DELETE_REFUSED,
        Reason.LOCAL_STORAGE_NOT_ALLOWED,
        Reason.REFERENCE_NOT_ALLOWED,
        Reason.SECRET_NOT_FOUND,
        Reason.SECRET_INVALID,
        Reason.INVALID_SPEC,
    ),
    "Backup": (
        Reason.COMPLETED,
        Reason.RUNNING,
        Reason.IN_LINE,
        Reason.DATABASE_NOT_FOUND,
        Reason.DATABASE_NOT_READY,
        Reason.CLUSTER_NOT_FOUND,
        Reason.CLUSTER_NOT_CONNECTED,
        Reason.STORAGE_NOT_FOUND,
        Reason.STORAGE_NOT_READY,
        Reason.BACKUP_NOT_ALLOWED,
        Reason.CLIENT_NOT_FOUND,
        Reason.JOB_REFUSED,
        Reason.JOBS_NOT_CONFIGURED,
        Reason.LOCAL_STORAGE_NOT_ALLOWED,
        Reason.BACKUP_FAILED,
        Reason.DEADLINE_EXCEEDED,
        Reason.CANCELLED,
        Reason.STORAGE_ACCESS_DENIED,
        Reason.STORAGE_UNREACHABLE,
        Reason.STORAGE_FULL,
        Reason.IMMUTABLE_FIELD,
        Reason.INVALID_SPEC,
    ),
    "BackupSchedule": (
        Reason.READY,
        Reason.DATABASE_NOT_FOUND,
        Reason.DATABASE_NOT_READY,
        Reason.STORAGE_NOT_FOUND,
        Reason.STORAGE_NOT_READY,
        Reason.BACKUP_OVERDUE,
        Reason.BACKUP_MISSED,
        Reason.BACKUP_SKIPPED,
        Reason.VERIFIED,
        Reason.NOT_VERIFIED,
        Reason.VERIFICATION_FAILED,
        Reason.VERIFICATION_SKIPPED,
        Reason.RETENTION_INCOMPLETE,
        Reason.PRUNE_NOT_CONFIRMED,
        Reason.BACKUPS_CHANGED,
        Reason.READ_ONLY_MODE,
        Reason.IMMUTABLE_FIELD,
        Reason.INVALID_SPEC,
    ),
    "Restore": (
        Reason.COMPLETED,
        Reason.VERIFIED,
        Reason.ALREADY_RESTORED,
        Reason.RUNNING,
        Reason.IN_LINE,
        Reason.DATABASE_NOT_FOUND,
        Reason.DATABASE_NOT_READY,
        Reason.DELETION_PROTECTED,
        Reason.BACKUP_NOT_FOUND,
        Reason.BACKUP_NOT_READY,
        Reason.SOURCE_NOT_ALLOWED,
        Reason.SOURCE_DAMAGED,
        Reason.DUMP_REFUSED,
        Reason.OBJECT_NOT_FOUND,
        Reason.STORAGE_NOT_FOUND,
        Reason.STORAGE_NOT_READY,
        Reason.TARGET_NOT_EMPTY,
        Reason.MISSING_PRIVILEGES,
        Reason.TOO_MANY_OBJECTS,
        Reason.ROLE_NOT_FOUND,
        Reason.EXTENSION_NOT_AVAILABLE,
        Reason.EXTENSION_NOT_ALLOWED,
        Reason.CLIENT_NOT_FOUND,
        Reason.RESTORE_FAILED,
        Reason.CANCELLED,
        Reason.IMMUTABLE_FIELD,
        Reason.INVALID_SPEC,
    ),
}


def page(kind: str) -> Path:
    """The page of a kind."""
    return FOLDER / f"{kind.lower()}.md"


def with_tables(kind: str, text: str) -> str:
    """The page with its tables as the code has them."""
    text = _replaced(text, "fields", _table(("field", "default", "meaning"), _fields(kind)))
    return _replaced(text, "reasons", _table(("reason", "meaning", "next step"), _reasons(kind)))


def _replaced(text: str, name: str, table: str) -> str:
    begin, end = f"<!-- {name}: written by tests/cli/docs.py -->", f"<!-- end of {name} -->"
    return re.sub(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: f"{begin}\n{table}\n{end}", text, flags=re.DOTALL)


def _table(headers: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _reasons(kind: str) -> Iterator[Sequence[str]]:
    for reason in REASONS[kind]:
        explanation = EXPLANATIONS[reason]
        yield f"`{reason.value}`", explanation.meaning, explanation.next_step


def _fields(kind: str) -> Iterator[Sequence[str]]:
    for path, field in _walk(KINDS[kind].spec, ""):
        yield f"`{path}`", _default(field), _escaped(field.description or "")


def _walk(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        inner = _model_in(field.annotation)
        path = f"{prefix}{field.alias or name}"
        yield path, field
        if inner is not None:
            mark = {tuple: "[]", dict: ".<name>"}.get(_container(field.annotation), "")
            yield from _walk(inner, f"{path}{mark}.")


def _parts(annotation: Any) -> list[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _parts(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return [part for argument in get_args(annotation) for part in _parts(argument)]
    return [annotation]


def _container(annotation: Any) -> Any:
    return next((get_origin(part) for part in _parts(annotation) if get_origin(part) in (tuple, dict)), None)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    for part in _parts(annotation):
        if isinstance(part, type) and issubclass(part, BaseModel):
            return part
        if get_origin(part) in (tuple, dict):
            found = _model_in(get_args(part)[0 if get_origin(part) is tuple else 1])
            if found is not None:
                return found
    return None


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    if default is PydanticUndefined or default is None or default == () or default == {}:
        return ""
    if isinstance(default, BaseModel):
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default.value if isinstance(default, Enum) else default}`"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    for known in REASONS:
        page(known).write_text(with_tables(known, page(known).read_text()))
