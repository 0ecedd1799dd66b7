"""Passwords that an operator replaces: the annotation is all that a person writes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.program import Program
from tests.kube.kube import Kube
from tests.operator.operating import NEVER, Ground, Operator, eventually, operating

pytestmark = pytest.mark.majors(18)

ROTATED = 'dbtether_password_rotations_total{outcome="rotated"}'


@pytest.fixture(scope="module")
def operator(installed_kube: Kube, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    with operating(installed_kube, tmp_path_factory.mktemp("operator"), *NEVER) as running:
        yield running


def annotations(ground: Ground) -> dict[str, Any]:
    found = ground.get("DatabaseUser", "reader")
    assert found is not None
    values: dict[str, Any] = found["metadata"].get("annotations", {})
    return values


def test_an_annotation_replaces_a_password_and_is_taken_off(operator: Operator, ground: Ground) -> None:
    ground.create_everything()
    before, count = ground.credentials(), operator.metric(ROTATED)
    assert count is not None
    ground.annotate("DatabaseUser", "reader", "dbtether.io/rotate", "now")
    eventually(lambda: "dbtether.io/rotate" not in annotations(ground), "the annotation is taken off")
    after = ground.credentials()
    assert after["password"] != before["password"]
    assert ground.can_log_in(after["password"])
    assert not ground.can_log_in(before["password"])
    assert operator.metric(ROTATED) == count + 1
    eventually(
        lambda: any(
            event["reason"] == "PasswordRotated" and event["regarding"]["name"] == "reader"
            for event in ground.all("Event")
        ),
        "the Event is there",
    )
    eventually(lambda: "rotationRequest" not in ground.status("DatabaseUser", "reader"), "the request is forgotten")


@pytest.mark.usefixtures("operator")
def test_the_command_line_asks_the_operator(ground: Ground, tmp_path: Path) -> None:
    ground.create_everything()
    before = ground.credentials()
    program = Program(tmp_path)
    ran = program.run("rotate", "reader", "-n", ground.team, "--kube", "--kubeconfig", str(ground.kube.kubeconfig))
    assert ran.code == 0, ran.err
    assert "the new password is in Secret reader-credentials" in ran.out
    after = ground.credentials()
    assert after["password"] != before["password"]
    assert ground.can_log_in(after["password"])


@pytest.mark.usefixtures("operator")
def test_the_command_line_says_when_the_operator_does_not_do_it(ground: Ground, tmp_path: Path) -> None:
    ground.create_everything()
    ground.annotate("DatabaseUser", "reader", "dbtether.io/paused", "true")
    place = ("--kube", "--kubeconfig", str(ground.kube.kubeconfig))
    ran = Program(tmp_path).run("rotate", "reader", "-n", ground.team, *place, "--wait", "1s")
    assert ran.code == 4
    assert "its operator has not replaced the password yet" in ran.err
