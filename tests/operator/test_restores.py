"""A Restore as two Jobs on a real API server, with the shipped roles and Pods."""

from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from tests.kube.kubelet import Kubelet
from tests.operator.backups import BackupGround
from tests.operator.operating import NEVER, eventually, operating

pytestmark = pytest.mark.majors(18)


def test_a_backup_comes_back_by_jobs_and_the_replaced_database_by_an_annotation(
    backups: BackupGround, kubelet: Kubelet, tmp_path: Path
) -> None:
    ground = backups.ground
    with operating(ground.kube, tmp_path, *NEVER, *backups.options):
        backups.prepare()
        backups.create("nightly")
        ground.until("Backup", "nightly", "Completed")
        with backups.connected() as connection:
            connection.execute("DELETE FROM orders WHERE id > 10")
        ground.create(
            {
                "apiVersion": "dbtether.io/v1alpha1",
                "kind": "Restore",
                "metadata": {"name": "back"},
                "spec": {
                    "source": {"backupRef": {"name": "nightly"}},
                    "target": {"databaseRef": {"name": "app"}},
                    "onConflict": "drop",
                },
            }
        )
        ground.until("Restore", "back", "Completed")
        status = ground.status("Restore", "back")
        assert (status["tables"], status["rows"], status["way"]) == (1, 1000, "staging")
        assert counted(backups) == 1000
        eventually(lambda: (backups.secret_names(), backups.run_logins()) == ([], []), "nothing is left of the runs")

        ground.annotate("Database", "app", "dbtether.io/undo-restore", status["runId"])
        eventually(lambda: counted(backups) == 10, "the old database is back")


def counted(backups: BackupGround) -> int:
    """How many orders there are; none to be seen while the databases change places."""
    with suppress(psycopg.OperationalError), backups.connected() as connection:
        found = connection.execute("SELECT count(*) FROM orders").fetchone()
        return -1 if found is None else int(found[0])
    return -1
