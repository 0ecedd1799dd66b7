"""The silence while nothing changes."""

import re
from pathlib import Path
from typing import Any

import pytest
from tests.operator.operating import OWN, Ground, eventually, operating

pytestmark = pytest.mark.majors(18)


def test_nothing_is_written_while_nothing_changes(ground: Ground, tmp_path: Path) -> None:
    with operating(ground.kube, tmp_path, "--resync-seconds", "1") as operator:
        ground.create_everything()

        def versions() -> dict[str, Any]:
            kinds = ("DBCluster", "Database", "DatabaseUser", "Secret", "Event")
            found = [one for kind in kinds for one in ground.all(kind)] + ground.all("Secret", OWN)
            return {one["metadata"]["uid"]: one["metadata"]["resourceVersion"] for one in found}

        def writes() -> dict[str, float]:
            samples = operator.metrics().items()
            found = {name: value for name, value in samples if name.startswith("dbtether_api_requests_total")}
            return {name: value for name, value in found.items() if not re.search('verb="(GET|WATCH)"', name)}

        def resyncs() -> float:
            return operator.metrics()['dbtether_reconciles_total{kind="DatabaseUser",outcome="done"}']

        # Events are written a moment after what they tell of.
        seen = resyncs()
        eventually(lambda: resyncs() >= seen + 2, "two resyncs")
        before, written, mark, seen = versions(), writes(), ground.server.mark(), resyncs()
        eventually(lambda: resyncs() >= seen + 4, "four resyncs")
        assert versions() == before
        assert writes() == written
        sent = "\n".join(ground.server.statements_since(mark)).upper()
        assert [word for word in ("ALTER ", "CREATE ", "DROP ", "GRANT ", "REVOKE ") if word in sent] == []
