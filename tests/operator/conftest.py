"""What the operator's tests share."""

from collections.abc import Iterator

import pytest
from tests.kube.kube import Kube
from tests.operator.asking import asking
from tests.operator.operating import Ground, standing
from tests.servers.server import Server


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
