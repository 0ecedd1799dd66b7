"""Two replicas: one writes, the other takes over when the first is gone, stopped, or says goodbye; never both."""

import signal
import time
from datetime import datetime
from pathlib import Path

import pytest
from tests.operator.operating import NEVER, OWN, Ground, Operator, eventually, operating

pytestmark = pytest.mark.majors(18)

_LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{OWN}/leases/dbtether"
_OPTIONS = ("--leader-elect", *NEVER)


def holder(ground: Ground) -> str:
    answer = ground.kube.request("GET", _LEASE)
    return str(answer.body["spec"].get("holderIdentity", "")) if answer.status == 200 else ""


def times(operator: Operator) -> list[datetime]:
    return [datetime.fromisoformat(line["time"]) for line in operator.audit()]


def ask_for_a_change(ground: Ground, limit: int) -> None:
    ground.patch("DatabaseUser", "reader", {"spec": {"connectionLimit": limit}})


def until_changed(ground: Ground, limit: int) -> None:
    def is_changed() -> bool:
        query = "SELECT rolconnlimit FROM pg_roles WHERE rolname = %s"
        with ground.server.connect() as connection:
            return connection.execute(query, (f"{ground.unique}-reader",)).fetchone() == (limit,)

    eventually(is_changed, f"the connection limit is {limit}", 90)


def sessions(ground: Ground) -> list[str]:
    """What the sessions of operators do that are in a transaction which changes something."""
    query = (
        "SELECT coalesce(nullif(wait_event_type, 'Client'), state) FROM pg_stat_activity "
        "WHERE application_name LIKE 'dbtether:%' AND backend_xid IS NOT NULL"
    )
    with ground.server.connect() as connection:
        return [str(row[0]) for row in connection.execute(query)]


def test_there_are_never_two_writers(ground: Ground, tmp_path: Path) -> None:
    with (
        operating(ground.kube, tmp_path, *_OPTIONS, name="first") as first,
        operating(ground.kube, tmp_path, *_OPTIONS, name="second") as second,
    ):
        eventually(lambda: first.works() or second.works(), "one of them leads")
        leader, other = (first, second) if first.works() else (second, first)
        eventually(lambda: other.ask(other.health_port, "/readyz") == (200, "ok"), "the other one waits, and is ready")
        ground.create_everything()

        # Stopped in the middle of a transaction, and woken when the other one has long taken over.
        with ground.server.connect() as somebody:
            somebody.execute("BEGIN")
            somebody.execute(f'ALTER ROLE "{ground.unique}-reader" CONNECTION LIMIT 5'.encode())
            ask_for_a_change(ground, 10)
            eventually(lambda: "Lock" in sessions(ground), "the leader waits within a transaction")
            leader.send(signal.SIGSTOP)
            somebody.execute("ROLLBACK")
        open_since = time.monotonic()
        eventually(lambda: not sessions(ground), "the server has ended it")
        print(f"SIGSTOP: the open transaction was ended after {time.monotonic() - open_since:.1f} s")
        ask_for_a_change(ground, 20)
        until_changed(ground, 20)
        leader.send(signal.SIGCONT)
        for limit in range(21, 30):
            ask_for_a_change(ground, limit)
            time.sleep(0.05)
        assert leader.child.wait() == 1
        until_changed(ground, 29)
        assert sum("connection limit" in line["message"] for line in leader.audit()) == 0
        assert max(times(leader)) < min(times(other))
        print(f"SIGSTOP: {(min(times(other)) - max(times(leader))).total_seconds():.1f} s without a writer")
        assert not [line for line in leader.said() if line["level"] == "error" and "lease" not in line["message"]]
        assert holder(ground).startswith(other.name)

        # Killed.
        leader.start()
        eventually(lambda: leader.ask(leader.health_port, "/healthz") == (200, "ok"), "the first one is back")
        other.stop(signal.SIGKILL)
        ask_for_a_change(ground, 30)
        until_changed(ground, 30)
        assert max(times(other)) < min(times(leader))
        print(f"SIGKILL: {(min(times(leader)) - max(times(other))).total_seconds():.1f} s without a writer")

        # Asked to end: the Lease is free before the process is gone, and nobody waits for its end.
        other.start()
        eventually(lambda: other.ask(other.health_port, "/healthz") == (200, "ok"), "the other one is back")
        leader.stop(signal.SIGTERM)
        assert leader.child.returncode == 0
        assert not holder(ground).startswith(leader.name)
        ask_for_a_change(ground, 31)
        until_changed(ground, 31)
        assert max(times(leader)) < min(times(other))
        assert [line for line in other.said() if "this replica leads now" in line["message"]]
        ground.delete("DatabaseUser", "reader")
        ground.until_gone("DatabaseUser", "reader")
