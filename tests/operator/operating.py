"""The operator as a process of its own, with its ServiceAccount's rights, and what a test makes for it to work on."""

import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.kube.kube import Kube
from tests.kube.process import Child, free_port
from tests.servers.server import Login, Server

from dbtether.api.kinds import API_VERSION, KINDS

OWN = "postgres-operator-system"
PROGRAM = str(Path(sys.executable).parent / "dbtether")
NEVER = ("--resync-seconds", "86400")
"""No resync helps: only events do."""


def eventually(check: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Wait until the check holds; a time-out is a failure of the test, not of the machine's speed."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if check():
            return
        time.sleep(0.05)
    pytest.fail(f"never: {what}")


class Operator:
    """One replica; `start` it again after a kill, as the kubelet would."""

    def __init__(
        self,
        kube: Kube,
        folder: Path,
        *options: str,
        name: str = "operator",
        account: str = "dbtether",
        env: dict[str, str] | None = None,
        program: Sequence[str] = (PROGRAM,),
    ) -> None:
        """`program` is a command line that takes the options of `dbtether operator`."""
        self.name = name
        self.log = folder / f"{name}.log"
        self.metrics_port, self.health_port = free_port(), free_port()
        self._kubeconfig = kube.service_account_kubeconfig(OWN, account)
        self._arguments = [
            *program,
            "operator",
            *("--kubeconfig", str(self._kubeconfig)),
            *("--namespace", OWN),
            *("--metrics-address", f"127.0.0.1:{self.metrics_port}"),
            *("--health-address", f"127.0.0.1:{self.health_port}"),
            *options,
        ]
        self._environment = {**os.environ, "POD_NAME": name, **(env or {})}
        self._child: Child | None = None
        self.started_from = 0

    @property
    def child(self) -> Child:
        """The process."""
        assert self._child is not None, "it was not started"
        return self._child

    def start(self) -> None:
        """Start the process, after the end of an earlier one; what it logs is appended."""
        if self._child is not None:
            self._child.stop(signal.SIGKILL)
        self.started_from = self.log.stat().st_size if self.log.exists() else 0
        self._child = Child(self._arguments, self.log, mark=str(self._kubeconfig), env=self._environment)

    def send(self, how: signal.Signals) -> None:
        """Send it a signal."""
        self.child.send(how)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it and wait for its end."""
        if self._child is not None:
            self._child.stop(how)

    def said(self) -> list[dict[str, Any]]:
        """What it logged since its last start, line by line."""
        text = self.log.read_bytes()[self.started_from :].decode()
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]

    def audit(self) -> list[dict[str, Any]]:
        """The statements that it ran since its last start."""
        return [line for line in self.said() if line["logger"] == "dbtether.audit"]

    def works(self) -> bool:
        """Whether it leads and has read everything."""
        return self.metric("dbtether_leader") == 1

    def ask(self, port: int, path: str) -> tuple[int, str]:
        """Status and text of one of its own pages; 0 while nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                return int(answer.status), answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def metrics(self) -> dict[str, float]:
        """All samples, by name with labels."""
        _, text = self.ask(self.metrics_port, "/metrics")
        samples = (line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("dbtether_"))
        return {name: float(value) for name, value in samples}

    def metric(self, name: str) -> float | None:
        """One sample, None when there is none."""
        return self.metrics().get(name)


@contextmanager
def operating(
    kube: Kube,
    folder: Path,
    *options: str,
    name: str = "operator",
    account: str = "dbtether",
    env: dict[str, str] | None = None,
    program: Sequence[str] = (PROGRAM,),
) -> Iterator[Operator]:
    """A running operator, ended at the end; a failure shows the end of its log."""
    operator = Operator(kube, folder, *options, name=name, account=account, env=env, program=program)
    operator.start()
    try:
        yield operator
    except BaseException:
        print(operator.log.read_text()[-4000:])
        raise
    finally:
        operator.stop()


class Ground:
    """A namespace, a server and a Kubernetes for one test, and the names of what it makes there."""

    def __init__(self, kube: Kube, server: Server, unique: str) -> None:
        self.kube = kube
        self.server = server
        self.unique = unique
        self.team = kube.create_namespace()
        self._clusters: list[str] = []

    # -- resources ------------------------------------------------------------------------------------

    def path(self, kind: str, name: str = "", namespace: str | None = None) -> str:
        """Where a resource is in the API; namespaced ones in the test's own namespace when none is given."""
        if kind in KINDS:
            known = KINDS[kind]
            base, plural, namespaced = f"/apis/{API_VERSION}", known.plural, known.namespaced
        elif kind == "Event":
            base, plural, namespaced = "/apis/events.k8s.io/v1", "events", True
        else:
            base, plural, namespaced = "/api/v1", f"{kind.lower()}s", kind != "Namespace"
        scope = f"/namespaces/{namespace or self.team}" if namespaced else ""
        return f"{base}{scope}/{plural}" + (f"/{name}" if name else "")

    def get(self, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        """The resource as it is now."""
        answer = self.kube.request("GET", self.path(kind, name, namespace))
        assert answer.status in (200, 404), answer
        found: dict[str, Any] = answer.body
        return found if answer.status == 200 else None

    def all(self, kind: str, namespace: str | None = None) -> list[dict[str, Any]]:
        """All resources of a kind there."""
        return list(self.kube.request("GET", self.path(kind, "", namespace)).body["items"])

    def create(self, body: dict[str, Any], namespace: str | None = None) -> None:
        """Create a resource."""
        answer = self.kube.request("POST", self.path(body["kind"], "", namespace), body)
        assert answer.status == 201, answer

    def patch(self, kind: str, name: str, body: dict[str, Any], namespace: str | None = None) -> None:
        """Change a resource."""
        path = self.path(kind, name, namespace)
        answer = self.kube.request("PATCH", path, body, content_type="application/merge-patch+json")
        assert answer.status == 200, answer

    def annotate(self, kind: str, name: str, annotation: str, value: str | None) -> None:
        """Set an annotation, or take it away."""
        self.patch(kind, name, {"metadata": {"annotations": {annotation: value}}})

    def delete(self, kind: str, name: str, namespace: str | None = None) -> None:
        """Ask for a deletion; does not wait."""
        answer = self.kube.request("DELETE", self.path(kind, name, namespace))
        assert answer.status in (200, 202), answer

    def status(self, kind: str, name: str) -> dict[str, Any]:
        """The status, empty while there is none."""
        found: dict[str, Any] = (self.get(kind, name) or {}).get("status", {})
        return found

    def phase(self, kind: str, name: str) -> str:
        """The phase, empty while there is none."""
        return str(self.status(kind, name).get("phase", ""))

    def reason(self, kind: str, name: str) -> str:
        """The reason of the Ready condition, empty while there is none."""
        conditions = self.status(kind, name).get("conditions", ())
        return next((str(one["reason"]) for one in conditions if one["type"] == "Ready"), "")

    def until(self, kind: str, name: str, phase: str) -> None:
        """Wait for a phase."""
        with self._explained(kind, name):
            eventually(lambda: self.phase(kind, name) == phase, f"{kind} {name} is {phase}")

    def until_gone(self, kind: str, name: str) -> None:
        """Wait for the end of a deletion."""
        with self._explained(kind, name):
            eventually(lambda: self.get(kind, name) is None, f"{kind} {name} is gone")

    def until_blocked(self, kind: str, name: str, reason: str) -> str:
        """Wait for a reason; gives the message that goes with it."""
        with self._explained(kind, name):
            eventually(lambda: self.reason(kind, name) == reason, f"{kind} {name} says {reason}")
        return str(self.status(kind, name)["message"])

    @contextmanager
    def _explained(self, kind: str, name: str) -> Iterator[None]:
        try:
            yield
        except BaseException:
            print(json.dumps({**(self.get(kind, name) or {}), "metadata": name}, indent=1))
            raise

    # -- what is asked for ----------------------------------------------------------------------------

    def admin_secret(self, name: str, login: Login | None = None) -> dict[str, Any]:
        """A Secret with an administrator's login; that without SUPERUSER when none is given."""
        login = login or self.server.admin
        data = {"username": login.user, "password": login.password}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}

    def cluster(self, name: str, secret: str, server: Server | None = None, **spec: Any) -> dict[str, Any]:
        """A DBCluster that takes its login from a Secret of the operator's namespace."""
        self._clusters.append(name)
        credentials = {} if "credentialsFromEnv" in spec else {"credentialsSecretRef": _ref(secret)}
        where = {"endpoint": "127.0.0.1", "port": (server or self.server).port, "tls": {"mode": "disable"}}
        return _resource("DBCluster", name, {**where, **credentials, **spec})

    def database(self, name: str = "app", cluster: str = "", **spec: Any) -> dict[str, Any]:
        """A Database that goes when it is deleted."""
        wanted = {"databaseName": f"{self.unique}_{name}", "deletionPolicy": "Delete", **spec}
        return _resource("Database", name, {"clusterRef": {"name": cluster or self.unique}, **wanted})

    def user(self, name: str = "reader", database: str = "app", **spec: Any) -> dict[str, Any]:
        """A DatabaseUser that goes when it is deleted."""
        wanted = {"username": f"{self.unique}-{name}", "privileges": "readonly", **spec}
        return _resource("DatabaseUser", name, {"databaseRef": {"name": database}, **wanted})

    def storage(self, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        """A BackupStorage; whoever makes one takes it away."""
        return _resource("BackupStorage", name, spec)

    def create_cluster(self, **spec: Any) -> None:
        """Create a DBCluster named like the test, and its Secret."""
        self.create(self.admin_secret(self.unique), OWN)
        self.create(self.cluster(self.unique, self.unique, **spec))

    def create_everything(self) -> None:
        """Create a DBCluster, a Database and a DatabaseUser, and wait until all is Ready."""
        self.create_cluster()
        self.create(self.database())
        self.create(self.user())
        self.until("DatabaseUser", "reader", "Ready")

    # -- what is there --------------------------------------------------------------------------------

    def credentials(self, user: str = "reader") -> dict[str, str]:
        """What a user's Secret holds, decoded; empty while there is none."""
        raw = self.kube.kubectl(
            *("get", "secret", f"{user}-credentials", "-n", self.team, "--ignore-not-found"),
            *("-o", 'go-template={{range $k, $v := .data}}{{$k}}={{$v | base64decode}}{{"\\n"}}{{end}}'),
        ).stdout
        return dict(line.split("=", 1) for line in raw.splitlines() if "=" in line)

    def can_log_in(self, password: str, user: str = "reader", database: str = "app") -> bool:
        """Whether the server takes this password for the user."""
        dsn = self.server.dsn(f"{self.unique}-{user}", password, f"{self.unique}_{database}")
        try:
            with psycopg.connect(dsn) as connection:
                return connection.execute("SELECT 1").fetchone() == (1,)
        except psycopg.OperationalError:
            return False

    def roles(self) -> list[str]:
        """The test's roles on the server."""
        return self._names("SELECT rolname FROM pg_roles WHERE strpos(rolname, %s) > 0 ORDER BY 1")

    def databases(self) -> list[str]:
        """The test's databases on the server."""
        return self._names("SELECT datname FROM pg_database WHERE strpos(datname, %s) > 0 ORDER BY 1")

    def _names(self, query: str) -> list[str]:
        with self.server.connect() as connection:
            return [str(row[0]) for row in connection.execute(query.encode(), (self.unique,))]

    def clear(self) -> None:
        """Take away what is left, whether an operator runs or not."""
        kinds = [("DatabaseUser", self.all("DatabaseUser")), ("Database", self.all("Database"))]
        names = [(kind, str(one["metadata"]["name"])) for kind, found in kinds for one in found]
        names += [("DBCluster", name) for name in self._clusters]
        for kind, name in names:
            path = self.path(kind, name)
            # The server's objects are dropped right after this, by somebody who knows of no operator.
            annotations = {"dbtether.io/confirm-delete": f"{self.unique}_{name}", "dbtether.io/paused": "true"}
            confirmed = {"metadata": {"annotations": annotations}}
            for method, body in (("PATCH", confirmed), ("DELETE", None), ("PATCH", {"metadata": {"finalizers": []}})):
                self.kube.request(method, path, body, content_type="application/merge-patch+json")
        self.kube.delete_namespace(self.team)


@contextmanager
def standing(kube: Kube, server: Server, unique: str) -> Iterator[Ground]:
    """A ground, cleared at the end."""
    ground = Ground(kube, server, unique)
    try:
        yield ground
    finally:
        with suppress(OSError):
            ground.clear()


def _ref(secret: str) -> dict[str, str]:
    return {"name": secret, "namespace": OWN}


def _resource(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}
