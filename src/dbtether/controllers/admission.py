"""What the webhook says to a change: the sentences of validation and immutability, and deletion protection. Pure."""

from collections.abc import Mapping
from typing import Any

from dbtether.api.database import DatabaseSpec, database_name
from dbtether.api.immutable import immutability_errors
from dbtether.api.kinds import CONFIRM_DELETE, KINDS
from dbtether.api.resource import Key
from dbtether.api.validation import check, validate
from dbtether.errors import InvalidSpec
from dbtether.runtime.webhook import AdmissionRequest, Verdict

_ALLOWED = Verdict(allowed=True)


async def admit(request: AdmissionRequest) -> Verdict:
    """The verdict on a request for one of our kinds; others are let through."""
    if request.kind not in KINDS:
        return _ALLOWED
    if request.operation == "DELETE":
        return _deletion(request)
    if request.new is None:
        return _ALLOWED
    # What is on its way out must not be held up by an old spec: finalizers go by an update.
    if _part(request.new, "metadata").get("deletionTimestamp"):
        return _ALLOWED
    return _change(request, _part(request.new, "spec"))


def _change(request: AdmissionRequest, spec: Mapping[str, Any]) -> Verdict:
    key = Key(request.kind, request.namespace, request.name or str(_part(request.new, "metadata").get("name", "")))
    old = None if request.old is None else _part(request.old, "spec")
    if old is not None and old == spec:
        return _ALLOWED
    try:
        validate(KINDS[request.kind].spec, key, spec)
    except InvalidSpec as error:
        return Verdict(allowed=False, message=error.message)
    problems = () if old is None else immutability_errors(key, old, spec)
    return Verdict(allowed=False, message="\n".join(problems)) if problems else _ALLOWED


def _deletion(request: AdmissionRequest) -> Verdict:
    if request.kind != "Database" or request.old is None:
        return _ALLOWED
    metadata = _part(request.old, "metadata")
    key = Key("Database", request.namespace, request.name or str(metadata.get("name", "")))
    spec, problems = check(DatabaseSpec, key, _part(request.old, "spec"))
    if spec is None or problems or not spec.deletion_protection:
        return _ALLOWED
    name = database_name(spec, key.name)
    if _part(metadata, "annotations").get(CONFIRM_DELETE) == name:
        return _ALLOWED
    return Verdict(
        allowed=False,
        message=f"{key} is protected (spec.deletionProtection): annotate it with {CONFIRM_DELETE}={name} to delete it",
    )


def _part(values: Mapping[str, Any] | None, name: str) -> Mapping[str, Any]:
    found = (values or {}).get(name)
    return found if isinstance(found, Mapping) else {}
