"""A BackupStorage on a real API server: the operator's own rights suffice, and its Secret wakes it."""

from pathlib import Path

import pytest
from tests.operator.operating import NEVER, OWN, Ground, operating
from tests.storage.fixtures import new_bucket
from tests.storage.servers import S3Server

pytestmark = pytest.mark.majors(18)


def test_a_storage_becomes_ready_once_its_secret_is_there(ground: Ground, s3: S3Server, tmp_path: Path) -> None:
    place, name = new_bucket(s3), ground.unique
    spec = {**place.spec, "credentialsSecretRef": {"name": name, "namespace": OWN}}
    root = tmp_path / "volume"
    root.mkdir()
    with operating(ground.kube, tmp_path, *NEVER, "--local-storage-root", str(root)) as operator:
        ground.create(ground.storage(name, spec))
        ground.until_blocked("BackupStorage", name, "SecretNotFound")
        keys = {key: value.decode() for key, value in (place.data or {}).items()}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": keys}
        ground.create(secret, OWN)
        ground.until("BackupStorage", name, "Ready")
        assert ground.status("BackupStorage", name)["provider"] == "s3"
        row = ground.kube.kubectl("get", "bs", name, "--no-headers").stdout.split()
        assert row[:3] == [name, "s3", "Ready"]

        ground.create(ground.storage(f"{name}-disk", {"local": {"path": str(root / "backups")}}))
        ground.until("BackupStorage", f"{name}-disk", "Ready")
        ground.create(ground.storage(f"{name}-root", {"local": {"path": "/etc"}}))
        ground.until_blocked("BackupStorage", f"{name}-root", "LocalStorageNotAllowed")

        stolen = {**spec, "credentialsSecretRef": {"name": "x", "namespace": ground.team}}
        ground.create(ground.storage(f"{name}-thief", stolen))
        ground.until_blocked("BackupStorage", f"{name}-thief", "ReferenceNotAllowed")
        for one in (name, f"{name}-disk", f"{name}-root", f"{name}-thief"):
            ground.delete("BackupStorage", one)
            ground.until_gone("BackupStorage", one)
        assert keys["AWS_SECRET_ACCESS_KEY"] not in operator.log.read_text()
