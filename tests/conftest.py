"""What every test may ask for."""

pytest_plugins = ["tests.servers.fixtures", "tests.kube.fixtures", "tests.storage.fixtures"]
