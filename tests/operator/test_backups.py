"""Backups as Jobs on a real API server: the shipped roles and Pods, a bucket, and all that may go wrong around them."""

import base64
import json
import os
import random
import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.kube.kubelet import Kubelet, node
from tests.operator.backups import DBTETHER, HASTY, BackupGround, shipped_template
from tests.operator.operating import NEVER, OWN, Ground, eventually, operating
from tests.storage.fixtures import Place

pytestmark = pytest.mark.majors(18)


def verified(backups: BackupGround, path: str) -> None:
    """What `dbtether backup verify` says of an object."""
    keys = {name: value.decode() for name, value in (backups.place.data or {}).items()}
    part = backups.place.spec["s3"]
    environment = {**os.environ, **keys, "AWS_ENDPOINT_URL": part["endpoint"], "AWS_REGION": part["region"]}
    bucket, _, key = path.removeprefix("s3://").partition("/")
    ended = subprocess.run(
        [*DBTETHER, "backup", "verify", key, "--from", f"s3://{bucket}"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def nothing_is_left(backups: BackupGround) -> None:
    """Neither a login nor a Secret of a run."""
    eventually(lambda: (backups.secret_names(), backups.run_logins()) == ([], []), "nothing is left of the runs")


def test_a_backup_is_taken_by_a_job_also_when_the_operator_is_killed_meanwhile(
    backups: BackupGround, kubelet: Kubelet, tmp_path: Path
) -> None:
    ground = backups.ground
    with operating(ground.kube, tmp_path, *NEVER, *backups.options) as operator:
        backups.prepare()
        with backups.locked():
            backups.create("nightly")
            status = backups.until_dumping(kubelet, "nightly")
            assert status["jobName"] == f"backup-nightly-{status['runId']}"
            (job,), (pod,) = backups.jobs(), backups.pods()
            (name,) = backups.secret_names()
            secret = ground.get("Secret", name, OWN) or {}
            told = {key: base64.b64decode(value) for key, value in secret["data"].items()}

            operator.stop(signal.SIGKILL)
            process = kubelet.process(status["jobName"])
            operator.start()
            eventually(operator.works, "it works again")
            time.sleep(1)
            assert kubelet.process(status["jobName"]) == process, "the run goes on"
        status = backups.until_over("nightly")
        assert (status["phase"], status["attempts"]) == ("Completed", 1), status
        nothing_is_left(backups)
        # The Job stays for a while, for whoever wants to read its log.
        assert [one["metadata"]["name"] for one in backups.jobs()] == [status["jobName"]]
        columns = ground.kube.kubectl("get", "backups", "-n", ground.team).stdout.splitlines()
        assert columns[0].split() == ["NAME", "DATABASE", "PHASE", "SIZE", "DURATION", "AGE"]
        assert columns[1].split()[:3] == ["nightly", "app", "Completed"]
        logged = operator.log.read_text()

        ground.delete("Backup", "nightly")
        ground.until_gone("Backup", "nightly")
        eventually(lambda: not backups.jobs(), "its Job goes with it")
    entries = backups.entries()
    assert [(key, entry.problem) for key, entry in entries.items()] == [("nightly.sql.gz", None)]
    verified(backups, status["path"])

    labels = {"dbtether.io/backup-name": "nightly", "dbtether.io/backup-namespace": ground.team}
    for one in (job, pod):
        assert labels.items() <= one["metadata"]["labels"].items()
    assert pod["spec"]["serviceAccountName"] == "dbtether-job"
    assert [volume for volume in pod["spec"]["volumes"] if "projected" in volume] == [], "no token is mounted"
    assert told["password"] != ground.server.admin.password.encode()
    for text in (json.dumps(pod).encode(), json.dumps(job).encode(), logged.encode()):
        assert told["password"] not in text
    for text in (*told.values(), json.dumps(pod).encode()):
        assert ground.server.admin.password.encode() not in text


def test_what_happens_to_a_job_from_outside_costs_an_attempt_and_no_more(
    backups: BackupGround, kubelet: Kubelet, tmp_path: Path
) -> None:
    ground = backups.ground
    path = f"/apis/batch/v1/namespaces/{OWN}/jobs"
    with ExitStack() as nodes, operating(ground.kube, tmp_path, *backups.options, program=HASTY):
        backups.prepare()
        with backups.locked():
            names = ["evicted", "deleted", "lost", "last"]
            first: dict[str, dict[str, Any]] = {}
            for name in names[:3]:
                backups.create(name)
                first[name] = backups.until_dumping(kubelet, name)
            kubelet.evict(first["evicted"]["jobName"])
            ground.kube.request("DELETE", f"{path}/{first['deleted']['jobName']}?propagationPolicy=Background")
            for name in ("evicted", "deleted"):
                backups.until_dumping(kubelet, name, 2)
            # A node that is gone: its Pods are asked to go, and nobody there listens.
            kubelet.is_away = True
            other = nodes.enter_context(node(ground.kube, OWN, kubelet.images))
            (lost,) = (pod for pod in backups.pods() if pod["metadata"]["name"].startswith("backup-lost-"))
            gone = ground.path("Pod", lost["metadata"]["name"], OWN)
            ground.kube.request("DELETE", gone, {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 1})
            backups.until_dumping(other, "lost", 2)
            kubelet.is_away = False
            backups.create("last")
            message = ground.until_blocked("Backup", "last", "InLine")
            assert message.startswith("Number 1 in line: 3 backups and restores of DBCluster")
        for name in names:
            status = backups.until_over(name)
            assert status["phase"] == "Completed", status
            if name in first:
                assert {key: status[key] for key in ("runId", "path")} == {
                    key: first[name][key] for key in ("runId", "path")
                }
                assert status["attempts"] == 2
        nothing_is_left(backups)
    entries = backups.entries()
    assert {key: entry.problem for key, entry in entries.items()} == {f"{name}.sql.gz": None for name in names}
    for name in names:
        verified(backups, backups.status(name)["path"])


def test_a_run_ends_when_it_is_cancelled_or_late_or_its_backup_is_deleted(
    backups: BackupGround, kubelet: Kubelet, tmp_path: Path
) -> None:
    ground = backups.ground
    with operating(ground.kube, tmp_path, *NEVER, *backups.options):
        backups.prepare()
        with backups.locked():
            backups.create("cancelled")
            backups.create("late", activeDeadline="4s")
            backups.create("removed")
            for name in ("cancelled", "removed"):
                backups.until_dumping(kubelet, name)
            ground.patch("Backup", "cancelled", {"spec": {"cancel": True}})
            ground.delete("Backup", "removed")
            ground.until_gone("Backup", "removed")
            for name, reason in (("cancelled", "Cancelled"), ("late", "DeadlineExceeded")):
                assert backups.until_over(name)["phase"] == "Failed"
                assert ground.reason("Backup", name) == reason
            nothing_is_left(backups)
            eventually(lambda: not backups.jobs() and not backups.pods(), "no Job and no Pod is left")
    assert backups.entries() == {}


def test_a_job_killed_at_any_point_shows_no_half_object(
    backups: BackupGround, kubelet: Kubelet, tmp_path: Path
) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance, ground = random.Random(seed), backups.ground
    with operating(ground.kube, tmp_path, *backups.options, program=HASTY):
        backups.prepare(rows=200_000)
        backups.create("nightly")
        killed: set[int] = set()
        for _ in range(6):
            eventually(
                lambda: (
                    (kubelet.process(backups.status("nightly").get("jobName", "none")) or -1) not in {-1, *killed}
                    or "completedAt" in backups.status("nightly")
                ),
                "another process",
            )
            job = backups.status("nightly")["jobName"]
            time.sleep(chance.uniform(0, 1.2))
            process = kubelet.process(job)
            if process is None:
                break
            killed.add(process)
            kubelet.kill(job)
            for entry in backups.entries().values():
                assert entry.problem is None, "a dump without a manifest is believed by nobody"
        status = backups.until_over("nightly")
        assert status["phase"] == "Completed", status
        print(f"killed {len(killed)} times, {status['attempts']} attempts")
        nothing_is_left(backups)
    assert len([entry for entry in backups.entries().values() if entry.manifest is not None]) == 1
    verified(backups, status["path"])


def test_a_folder_is_written_by_jobs_that_mount_it_and_read_only_starts_and_ends_none(
    ground: Ground, kubelet: Kubelet, tmp_path: Path
) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    backups = BackupGround(ground, Place({"local": {"path": "backups"}}, None, root=volume))
    root = ("--local-storage-root", str(volume), "--max-concurrent-backups", "1")
    template = shipped_template()
    # As the chart's localStorage has it.
    claim = {"name": "local-storage", "persistentVolumeClaim": {"claimName": "backups"}}
    template["spec"]["volumes"].append(claim)
    template["spec"]["containers"][0]["volumeMounts"].append({"name": "local-storage", "mountPath": str(volume)})
    kubelet.claims["backups"] = volume
    options = (*NEVER, *root, "--job-template", json.dumps(template))
    try:
        with operating(ground.kube, tmp_path, *NEVER, *root, name="untold"):
            backups.prepare()
            backups.create("nightly")
            assert "--job-template" in ground.until_blocked("Backup", "nightly", "JobsNotConfigured")
        with operating(ground.kube, tmp_path, *NEVER, *root, *backups.options, name="without"):
            assert "do not mount" in ground.until_blocked("Backup", "nightly", "LocalStorageNotAllowed")
            nothing_is_left(backups)
        with backups.locked():
            with operating(ground.kube, tmp_path, *options):
                job = backups.until_dumping(kubelet, "nightly")["jobName"]
                backups.create("next")
                assert "1 backups and restores" in ground.until_blocked("Backup", "next", "InLine")
            with operating(ground.kube, tmp_path, *options, "--read-only", name="reading"):
                ground.until_blocked("Backup", "next", "ReadOnlyMode")
                ground.delete("Backup", "nightly")
                eventually(lambda: "end the Job" in backups.status("nightly")["message"], "the deletion waits")
                assert kubelet.process(job) is not None
                assert ([one["metadata"]["name"] for one in backups.jobs()], backups.secret_names()) == ([job], [job])
        with operating(ground.kube, tmp_path, *options, name="again"):
            ground.until_gone("Backup", "nightly")
            assert backups.until_over("next")["phase"] == "Completed"
            nothing_is_left(backups)
        assert backups.entries()["next.sql.gz"].problem is None
    finally:
        backups.clear()
