"""What the operator's tests share."""

from collections.abc import Iterator

import pytest
from tests.kube.kube import Kube
from tests.kube.kubelet import Kubelet, node
from tests.operator.asking import asking
from tests.operator.backups import DBTETHER, BackupGround, image, shipped_template
from tests.operator.operating import OWN, Ground, standing
from tests.servers.server import Server
from tests.storage.fixtures import new_bucket
from tests.storage.servers import S3Server


@pytest.fixture
def ground(installed_kube: Kube, server: Server, unique: str) -> Iterator[Ground]:
    """A namespace, a server, and a Kubernetes with the shipped CRDs, roles and policies, for one test."""
    with standing(installed_kube, server, unique) as made:
        yield made


@pytest.fixture
def port(installed_kube: Kube) -> Iterator[int]:
    """Where the API server asks the webhook."""
    with asking(installed_kube) as found:
        yield found


@pytest.fixture
def backups(ground: Ground, s3: S3Server) -> Iterator[BackupGround]:
    """That ground with a bucket, for a database to back up."""
    made = BackupGround(ground, new_bucket(s3))
    yield made
    made.clear()


@pytest.fixture
def kubelet(ground: Ground) -> Iterator[Kubelet]:
    """A node that runs the Pods of Jobs as processes."""
    with node(ground.kube, OWN, {image(shipped_template()): DBTETHER}) as made:
        yield made
