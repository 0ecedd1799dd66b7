"""A stand-in for a node: runs the Pods of jobs as child processes, and can fail them in the ways that nodes do.

It binds each of their Pods to its own Node, makes folders of their volumes, and runs the container's arguments with
the program that stands for its image; mount paths in arguments and variables become those folders. It writes the
Pod's status from the process and its termination message, ends what is being deleted within its grace, and serves
the log to the API server as a kubelet does. Scheduler, isolation, probes and restarts are left out.
"""

import base64
import contextlib
import os
import secrets
import shutil
import signal
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.kube.kube import Kube
from tests.kube.process import HOST, Child

_SELECTOR = "labelSelector=app.kubernetes.io%2Fcomponent%3Djob"
_POLL_SECONDS = 0.1
_MESSAGE_BYTES = 4096
_RESULT = "/dev/termination-log"
# What a program finds in an image anyway.
_PASSED_ON = ("PATH", "HOME", "LD_LIBRARY_PATH", "DBTETHER_PG_PROGRAMS", "PYTHONPATH")


@dataclass(slots=True)
class _Running:
    """A Pod's container as a process."""

    folder: Path
    result: Path
    child: Child
    started: str
    grace_seconds: float
    kill_at: float | None = None

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def kill(self, how: signal.Signals) -> None:
        """Signal all that is in the container."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, how)


class Kubelet:
    """One node, of one namespace's jobs; `images` says what stands for an image."""

    def __init__(self, kube: Kube, namespace: str, images: Mapping[str, Sequence[str]]) -> None:
        self.images = dict(images)
        self.claims: dict[str, Path] = {}
        """The folder that stands for a PersistentVolumeClaim."""
        self.is_away = False
        """A node that nobody hears of any more: its processes go on, and nothing is told of them."""
        self.name = f"node-{secrets.token_hex(4)}"
        self._kube = kube
        self._pods = f"/api/v1/namespaces/{namespace}/pods"
        self._secrets = f"/api/v1/namespaces/{namespace}/secrets"
        self._folder = Path(tempfile.mkdtemp(prefix="dbtether-kubelet-"))
        self._running: dict[str, _Running] = {}
        self._lock = threading.RLock()
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name=self.name)
        self._server = _log_server(self, kube)
        self.failure: BaseException | None = None

    def start(self) -> None:
        """Register the node and begin."""
        self._kube.request("POST", "/api/v1/nodes", {"metadata": {"name": self.name}})
        status = {
            "addresses": [{"type": "InternalIP", "address": HOST}, {"type": "Hostname", "address": HOST}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._server.server_port}},
            "conditions": [{"type": "Ready", "status": "True", "reason": "Test", "message": "stands in"}],
        }
        self._merge(f"/api/v1/nodes/{self.name}/status", {"status": status})
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self._thread.start()

    def stop(self) -> None:
        """End everything that runs, and take the node away."""
        self._has_ended.set()
        self._thread.join()
        self._server.shutdown()
        self._server.server_close()
        for running in self._running.values():
            running.kill(signal.SIGKILL)
            running.child.stop(signal.SIGKILL)
        self._kube.request("DELETE", f"/api/v1/nodes/{self.name}")
        shutil.rmtree(self._folder, ignore_errors=True)

    # -- what a test does to it ------------------------------------------------------------------------

    def process(self, job: str) -> int | None:
        """The process id of a job's container, while it runs."""
        with self._lock:
            for name, running in self._running.items():
                if name.startswith(f"{job}-") and running.child.returncode is None:
                    return running.child.pid
        return None

    def folder(self, job: str) -> Path:
        """The folder of a job's Pod that runs here."""
        return next(running.folder for name, running in self._running.items() if name.startswith(f"{job}-"))

    def kill(self, job: str) -> None:
        """Kill the container with all that is in it, as the kernel does when memory is short."""
        with self._lock:
            for name, running in self._running.items():
                if name.startswith(f"{job}-"):
                    running.kill(signal.SIGKILL)

    def evict(self, job: str) -> None:
        """End the job's Pod as a node does that is short of memory."""
        with self._lock:
            name = next(name for name in self._running if name.startswith(f"{job}-"))
            running = self._running.pop(name)
            running.kill(signal.SIGKILL)
            running.child.stop(signal.SIGKILL)
            message = "The node was low on resource: memory."
            self._status(name, "Failed", _terminated(running, ""), reason="Evicted", message=message)

    # -- its own work ---------------------------------------------------------------------------------

    def _work(self) -> None:
        while not self._has_ended.wait(_POLL_SECONDS):
            if self.is_away:
                continue
            try:
                for pod in self._kube.request("GET", f"{self._pods}?{_SELECTOR}").body["items"]:
                    with self._lock:
                        self._look_at(pod)
            except Exception as error:
                # The API server may be away for a while; what stays shows in the tests.
                self.failure = error

    def _look_at(self, pod: dict[str, Any]) -> None:
        name, node = pod["metadata"]["name"], pod["spec"].get("nodeName")
        if node is None and "deletionTimestamp" not in pod["metadata"]:
            target = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": {"name": self.name}}
            self._kube.request("POST", f"{self._pods}/{name}/binding", target)
        elif node == self.name:
            running = self._running.get(name)
            if running is not None:
                self._follow(pod, running)
            elif "deletionTimestamp" in pod["metadata"]:
                self._let_go(pod)
            elif pod["status"].get("phase") == "Pending":
                self._begin(pod)

    def _begin(self, pod: dict[str, Any]) -> None:
        name, container = pod["metadata"]["name"], pod["spec"]["containers"][0]
        program = self.images.get(container["image"])
        if program is None:
            message = f'Back-off pulling image "{container["image"]}"'
            self._status(name, "Pending", {"waiting": {"reason": "ImagePullBackOff", "message": message}})
            return
        folder = self._folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        mounts = self._mounts(pod, folder)
        if mounts is None:
            self._status(name, "Pending", {"waiting": {"reason": "ContainerCreating"}})
            return
        result = folder / "termination-log"
        result.touch()
        mounts[_RESULT] = result
        arguments = [*program, *(_moved(argument, mounts) for argument in container.get("args", ()))]
        variables = {one["name"]: _moved(one.get("value", ""), mounts) for one in container.get("env", ())}
        base = {variable: os.environ[variable] for variable in _PASSED_ON if variable in os.environ}
        tmp = {"TMPDIR": str(mounts["/tmp"])} if "/tmp" in mounts else {}
        child = Child(arguments, folder / "log", mark=str(folder), env={**base, **tmp, **variables})
        grace = float(pod["spec"].get("terminationGracePeriodSeconds", 30))
        self._running[name] = running = _Running(folder, result, child, _now(), grace)
        self._status(name, "Running", {"running": {"startedAt": running.started}})

    def _mounts(self, pod: dict[str, Any], folder: Path) -> dict[str, Path] | None:
        """A folder for each mount path; None while a Secret is missing."""
        volumes: dict[str, Path] = {}
        for volume in pod["spec"].get("volumes", ()):
            place = folder / "volumes" / volume["name"]
            place.mkdir(parents=True)
            if "secret" in volume:
                answer = self._kube.request("GET", f"{self._secrets}/{volume['secret']['secretName']}")
                if answer.status != 200:
                    return None
                for key, value in answer.body.get("data", {}).items():
                    file = place / key
                    file.write_bytes(base64.b64decode(value))
                    file.chmod(volume["secret"]["defaultMode"])
            elif "persistentVolumeClaim" in volume:
                place = self.claims[volume["persistentVolumeClaim"]["claimName"]]
            volumes[volume["name"]] = place
        mounts = pod["spec"]["containers"][0].get("volumeMounts", ())
        return {mount["mountPath"]: volumes[mount["name"]] for mount in mounts}

    def _follow(self, pod: dict[str, Any], running: _Running) -> None:
        name = pod["metadata"]["name"]
        if running.child.returncode is not None:
            # What it started itself ends with its container.
            running.kill(signal.SIGKILL)
            running.child.stop()
            message = running.result.read_bytes()[:_MESSAGE_BYTES].decode(errors="replace")
            ended = _terminated(running, message)
            self._status(name, "Succeeded" if running.child.returncode == 0 else "Failed", ended)
            del self._running[name]
        elif "deletionTimestamp" in pod["metadata"]:
            if running.kill_at is None:
                seconds = pod["metadata"].get("deletionGracePeriodSeconds", running.grace_seconds)
                running.kill_at = time.monotonic() + float(seconds)
                running.child.send(signal.SIGTERM)
            elif time.monotonic() >= running.kill_at:
                running.kill(signal.SIGKILL)

    def _let_go(self, pod: dict[str, Any]) -> None:
        """Nothing of it runs: it may go."""
        name = pod["metadata"]["name"]
        if pod["status"].get("phase") == "Pending":
            self._merge(f"{self._pods}/{name}/status", {"status": {"phase": "Failed"}})
        now = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}
        self._kube.request("DELETE", f"{self._pods}/{name}", now)

    def _status(self, name: str, phase: str, state: dict[str, Any], **more: str) -> None:
        container = {
            "name": "job",
            "state": state,
            "ready": "running" in state,
            "restartCount": 0,
            "image": "stand-in",
            "imageID": "stand-in",
        }
        self._merge(
            f"{self._pods}/{name}/status", {"status": {"phase": phase, "containerStatuses": [container], **more}}
        )

    def _merge(self, path: str, body: dict[str, Any]) -> None:
        self._kube.request("PATCH", path, body, content_type="application/merge-patch+json")

    def logs(self) -> str:
        """What all its Pods have printed, for a test that failed."""
        found = sorted(self._folder.glob("*/log"))
        return "\n".join(f"{log.parent.name}:\n{log.read_text(errors='replace')[-2000:]}" for log in found)

    def log_of(self, pod: str) -> bytes | None:
        """What a Pod of this node has printed; it is kept after its end."""
        path = self._folder / pod / "log"
        return path.read_bytes() if not self.is_away and path.is_file() else None


@contextmanager
def node(kube: Kube, namespace: str, images: Mapping[str, Sequence[str]]) -> Iterator[Kubelet]:
    """A node for the jobs of a namespace."""
    kubelet = Kubelet(kube, namespace, images)
    kubelet.start()
    try:
        yield kubelet
    except BaseException:
        print(f"the kubelet's last failure: {kubelet.failure!r}")
        print(kubelet.logs())
        raise
    finally:
        kubelet.stop()


def _terminated(running: _Running, message: str) -> dict[str, Any]:
    code = running.child.returncode
    # A shell's numbers, as container runtimes have them.
    code = 137 if code is None else 128 - code if code < 0 else code
    ended = {"exitCode": code, "reason": "Completed" if code == 0 else "Error", "message": message}
    return {"terminated": {**ended, "startedAt": running.started, "finishedAt": _now()}}


def _moved(text: str, mounts: Mapping[str, Path]) -> str:
    """The text with the path of a mount, where it begins with one, replaced by where that really is."""
    for path in sorted(mounts, key=len, reverse=True):
        if text == path or text.startswith(f"{path}/"):
            return f"{mounts[path]}{text.removeprefix(path)}"
    return text


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _log_server(kubelet: Kubelet, kube: Kube) -> ThreadingHTTPServer:
    """Serves `/containerLogs/<namespace>/<pod>/<container>`, as the API server asks for it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            parts = url.path.split("/")
            log = kubelet.log_of(parts[3]) if len(parts) == 5 and parts[1] == "containerLogs" else None
            if log is None:
                self.send_error(404)
                return
            tail = parse_qs(url.query).get("tailLines")
            body = b"".join(log.splitlines(keepends=True)[-int(tail[0]) :]) if tail else log
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            del format, args

    server = ThreadingHTTPServer((HOST, 0), Handler)
    server.daemon_threads = True
    pair = kube.plane.authority.server("kubelet")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return server
