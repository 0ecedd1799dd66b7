"""The webhook's verdicts: the same sentences as the command line's."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from dbtether.controllers.admission import admit
from dbtether.runtime.webhook import AdmissionRequest, Verdict

GOOD = {"clusterRef": {"name": "pg"}, "databaseName": "app"}


def ask(operation: str, new: Any = None, old: Any = None, kind: str = "Database", **metadata: Any) -> Verdict:
    def whole(spec: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        return None if spec is None else {"metadata": {"name": "app", **metadata}, "spec": spec}

    return asyncio.run(admit(AdmissionRequest(operation, kind, "team", "app", whole(new), whole(old))))


def test_a_valid_resource_is_let_in() -> None:
    assert ask("CREATE", GOOD).allowed


def test_an_invalid_field_is_refused_with_its_path() -> None:
    verdict = ask("CREATE", {**GOOD, "connectionLimit": "5"})
    assert not verdict.allowed
    assert verdict.message.startswith("spec.connectionLimit: ")


def test_identity_cannot_change() -> None:
    verdict = ask("UPDATE", {**GOOD, "databaseName": "other"}, GOOD)
    assert not verdict.allowed
    assert "databaseName" in verdict.message


def test_an_unchanged_spec_is_let_through_although_it_is_invalid_today() -> None:
    old = {"clusterRef": {"name": "pg"}, "gone": 1}
    assert ask("UPDATE", old, old).allowed


def test_what_is_on_its_way_out_is_never_held_up() -> None:
    assert ask("UPDATE", {"rubbish": 1}, GOOD, deletionTimestamp="2026-01-01T00:00:00Z").allowed


@pytest.mark.parametrize(("annotation", "allowed"), [(None, False), ("other", False), ("app", True)])
def test_a_protected_database_goes_only_when_its_name_is_confirmed(annotation: str | None, allowed: bool) -> None:
    annotations = {} if annotation is None else {"dbtether.io/confirm-delete": annotation}
    verdict = ask("DELETE", old={**GOOD, "deletionProtection": True}, annotations=annotations)
    assert verdict.allowed is allowed


def test_other_kinds_are_none_of_its_business() -> None:
    assert ask("CREATE", {}, kind="Deployment").allowed
