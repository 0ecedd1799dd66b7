"""What the operator shows of itself: metrics, probes and logs."""

import re
import signal
from pathlib import Path

import pytest
from tests.operator.operating import NEVER, Ground, eventually, operating

pytestmark = pytest.mark.majors(18)


def test_metrics_probes_and_logs_tell_what_goes_on_and_no_secret(ground: Ground, tmp_path: Path) -> None:
    options = (*NEVER, "--leader-elect", "--log-level", "debug")
    with operating(ground.kube, tmp_path, *options) as operator:
        ground.create_everything()
        ground.create(ground.user("lost", "nowhere"))
        ground.until("DatabaseUser", "lost", "Waiting")
        password = ground.credentials()["password"]
        assert operator.ask(operator.health_port, "/healthz") == (200, "ok")
        assert operator.ask(operator.health_port, "/readyz") == (200, "ok")

        found = operator.metrics()
        assert found["dbtether_leader"] == 1
        assert found['dbtether_reconciles_total{kind="DatabaseUser",outcome="done"}'] >= 1
        assert found['dbtether_reconciles_total{kind="DatabaseUser",outcome="bug"}'] == 0
        assert found['dbtether_reconcile_duration_seconds_count{kind="Database"}'] >= 1
        assert found['dbtether_resources{kind="DatabaseUser",phase="Ready"}'] >= 1
        assert found['dbtether_resources{kind="DatabaseUser",phase="Waiting"}'] >= 1
        assert found[f'dbtether_postgres_connections{{cluster="{ground.unique}"}}'] >= 1
        assert found["dbtether_queue_wait_seconds_count"] >= 3
        names = {"dbtether_queue_depth", "dbtether_queue_in_work", "dbtether_queue_delayed"}
        assert names <= set(found)
        assert any(re.match(r'dbtether_api_requests_total{code="200",verb="PUT"}', name) for name in found)

        ground.delete("DatabaseUser", "lost")
        ground.until_gone("DatabaseUser", "lost")
        eventually(
            lambda: operator.metrics().get('dbtether_resources{kind="DatabaseUser",phase="Waiting"}', 0) == 0,
            "the metrics forget it",
        )
        operator.stop(signal.SIGTERM)
        assert operator.child.returncode == 0

        said = operator.said()
        assert len(said) == len(operator.log.read_text().splitlines())
        created = next(line for line in operator.audit() if "Create login" in line["message"])
        assert (created["kind"], created["namespace"], created["name"]) == ("DatabaseUser", ground.team, "reader")
        assert {"time", "level", "reconcileId", "durationSeconds"} <= set(created)
        assert said[-1]["message"] == "stopped"
        assert [line for line in said if line["level"] == "error"] == []
        log = operator.log.read_text()
        for secret in (password, ground.server.admin.password, "SCRAM-SHA-256$"):
            assert secret not in log


@pytest.mark.parametrize("option", ["--metrics-address", "--health-address"])
def test_an_address_that_is_taken_ends_the_process_with_a_sentence(ground: Ground, tmp_path: Path, option: str) -> None:
    with operating(ground.kube, tmp_path, *NEVER) as first:
        eventually(first.works, "it works")
        taken = f"127.0.0.1:{first.health_port}"
        with operating(ground.kube, tmp_path, *NEVER, option, taken, name="second") as second:
            assert second.child.wait() == 1
            assert "cannot listen" in second.said()[-1]["message"]
