"""What the operator's tests of backups share: a bucket, a node that runs the shipped Pods, and a database in it."""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import yaml
from tests.kube.kubelet import Kubelet
from tests.kube.plain_manifests import REPOSITORY
from tests.operator.operating import OWN, Ground, eventually
from tests.storage.fixtures import Place

from dbtether.backup.catalog import Entry, catalog

DBTETHER = (sys.executable, "-m", "dbtether.cli.main")
TERMINATED = ("Completed", "Failed")
RUN_LOGINS: LiteralString = """
    SELECT r.rolname::text FROM pg_roles r JOIN pg_auth_members m ON m.member = r.oid
      JOIN pg_roles g ON g.oid = m.roleid
     WHERE starts_with(r.rolname, 'dbtether_run_') AND strpos(g.rolname, %s) > 0 GROUP BY 1"""


def shipped_template() -> dict[str, Any]:
    """What the plain manifests say of the Pods of Jobs."""
    deployment = yaml.safe_load((REPOSITORY / "config" / "manager" / "deployment.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    option = next(argument for argument in container["args"] if argument.startswith("--job-template="))
    found: dict[str, Any] = json.loads(option.partition("=")[2])
    return found


def image(template: dict[str, Any]) -> str:
    """The image that they run."""
    return str(template["spec"]["containers"][0]["image"])


@dataclass(slots=True)
class BackupGround:
    """A ground with a database to back up and a bucket to put it in."""

    ground: Ground
    place: Place

    @property
    def options(self) -> tuple[str, ...]:
        """What the operator must be told of its Jobs: what is shipped, and no more."""
        return ("--job-template", json.dumps(shipped_template()))

    def prepare(self, rows: int = 1000) -> None:
        """Create server, database and storage by an operator that runs, and a table."""
        ground, name = self.ground, self.ground.unique
        spec = dict(self.place.spec)
        if self.place.data is not None:
            keys = {key: value.decode() for key, value in self.place.data.items()}
            secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"{name}-keys"}, "stringData": keys}
            ground.create(secret, OWN)
            spec["credentialsSecretRef"] = {"name": f"{name}-keys", "namespace": OWN}
        ground.create(ground.storage(name, spec))
        ground.create_cluster()
        ground.create(ground.database())
        ground.until("Database", "app", "Ready")
        ground.until("BackupStorage", name, "Ready")
        with self.connected() as connection:
            connection.execute("CREATE TABLE orders (id int, note text)")
            connection.execute(f'ALTER TABLE orders OWNER TO "dbtether_{name}_app_owner"'.encode())
            connection.execute("INSERT INTO orders SELECT n, md5(n::text) FROM generate_series(1, %s) n", (rows,))
            connection.commit()
            ground.annotate("Database", "app", "dbtether.io/reconcile", "after the table")
            # A Database that is looked at later must find nothing to grant on a table that is locked.
            granted: LiteralString = "SELECT has_table_privilege(%s, 'orders', 'SELECT')"
            group = f"dbtether_{name}_app_readonly"
            eventually(lambda: connection.execute(granted, (group,)).fetchone() == (True,), "it may be read")
        time.sleep(0.5)

    @contextmanager
    def connected(self) -> Iterator["psycopg.Connection[Any]"]:
        with self.ground.server.connect(dbname=f"{self.ground.unique}_app") as connection:
            yield connection

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps dumps from getting on."""
        superuser = self.ground.server.superuser
        dsn = self.ground.server.dsn(superuser.user, superuser.password, f"{self.ground.unique}_app")
        with psycopg.connect(dsn) as connection:
            connection.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
            yield
            connection.rollback()

    def create(self, name: str, **spec: Any) -> None:
        """Create a Backup."""
        wanted = {
            "databaseRef": {"name": "app"},
            "storageRef": {"name": self.ground.unique},
            "filenameTemplate": f"{name}.sql.gz",
            **spec,
        }
        body = {"apiVersion": "dbtether.io/v1alpha1", "kind": "Backup", "metadata": {"name": name}, "spec": wanted}
        self.ground.create(body)

    def status(self, name: str) -> dict[str, Any]:
        return self.ground.status("Backup", name)

    def until_dumping(self, kubelet: Kubelet, name: str, attempt: int = 1) -> dict[str, Any]:
        """Wait until a backup's process runs, in that attempt at least."""

        def runs() -> bool:
            status = self.status(name)
            job = status.get("jobName", "none")
            return status.get("attempts", 0) >= attempt and kubelet.process(job) is not None and self.is_connected(name)

        try:
            eventually(runs, f"Backup {name} runs", 30)
        except BaseException:
            print(json.dumps(self.status(name)))
            raise
        return self.status(name)

    def is_connected(self, name: str) -> bool:
        """Whether its pg_dump is at work in the server."""
        with self.ground.server.connect() as connection:
            text = f"dbtether: backup {self.ground.team}/{name}"
            found = connection.execute("SELECT FROM pg_stat_activity WHERE application_name = %s", (text,)).fetchall()
        return len(found) > 0

    def until_over(self, name: str) -> dict[str, Any]:
        """Wait until nothing more is done for it."""
        eventually(lambda: self.status(name).get("phase") in TERMINATED and "completedAt" in self.status(name), name)
        return self.status(name)

    def secret_names(self) -> list[str]:
        """The Secrets of jobs."""
        found = self.ground.all("Secret", OWN)
        return [one["metadata"]["name"] for one in found if one["metadata"]["name"].startswith("backup-")]

    def jobs(self) -> list[dict[str, Any]]:
        """The Jobs that there are for the test."""
        answer = self.ground.kube.request("GET", f"/apis/batch/v1/namespaces/{OWN}/jobs")
        label = "dbtether.io/backup-namespace"
        return [one for one in answer.body["items"] if one["metadata"]["labels"].get(label) == self.ground.team]

    def pods(self) -> list[dict[str, Any]]:
        """Their Pods."""
        found = self.ground.all("Pod", OWN)
        label = "dbtether.io/backup-namespace"
        return [one for one in found if one["metadata"]["labels"].get(label) == self.ground.team]

    def run_logins(self) -> list[str]:
        """The logins of runs that are left on the server."""
        with self.ground.server.connect() as connection:
            return [row[0] for row in connection.execute(RUN_LOGINS, (self.ground.unique,))]

    def entries(self) -> dict[str, Entry]:
        """The backups in the bucket, by the last part of their keys."""
        found = asyncio.run(catalog(self.place.open(), "", None))
        return {entry.key.rpartition("/")[2]: entry for entry in found}

    def clear(self) -> None:
        """Take away what is left."""
        ground = self.ground
        # The schedules first: what would make Backups anew.
        schedules = [("BackupSchedule", one["metadata"]["name"]) for one in ground.all("BackupSchedule")]
        for kind, name in [*schedules, *(("Backup", one["metadata"]["name"]) for one in ground.all("Backup"))]:
            with suppress(AssertionError):
                ground.patch(kind, name, {"metadata": {"finalizers": []}})
            ground.kube.request("DELETE", ground.path(kind, name))
        storage = ground.path("BackupStorage", ground.unique)
        released: dict[str, Any] = {"metadata": {"finalizers": []}}
        ground.kube.request("DELETE", storage)
        ground.kube.request("PATCH", storage, released, content_type="application/merge-patch+json")
        for job in self.jobs():
            path = f"/apis/batch/v1/namespaces/{OWN}/jobs/{job['metadata']['name']}?propagationPolicy=Background"
            ground.kube.request("DELETE", path)


HASTY = (sys.executable, str(Path(__file__).with_name("hasty.py")))
"""An operator with little patience."""
