"""Runs the real program in a folder of its own, and looks for secrets in everything that it left."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import yaml
from tests.servers.server import Login, Server

from dbtether.backup.clients import PROGRAMS_VARIABLE

PROGRAM = Path(sys.executable).with_name("dbtether")
Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed for machines."""
        return json.loads(self.out)


@dataclass(slots=True)
class Program:
    """`dbtether` in one folder, with one state directory."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    """Everything that it ever printed."""

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.folder / ".dbtether"

    def run(self, *arguments: str, stdin: str = "") -> Ran:
        """Run a command to its end."""
        ended = subprocess.run(
            [str(PROGRAM), *arguments],
            cwd=self.folder,
            env=self._environment(),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        self.said += [ended.stdout, ended.stderr]
        return Ran(ended.returncode, ended.stdout, ended.stderr)

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start a command and return at once."""
        return subprocess.Popen(
            [str(PROGRAM), *arguments],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def write(self, *bodies: Body, name: str = "all.yaml") -> str:
        """Write a manifest and return its name."""
        (self.folder / name).write_text(yaml.safe_dump_all(bodies, sort_keys=False))
        return name

    def files(self) -> dict[str, bytes]:
        """Every file of the state directory but the lock's."""
        return {
            str(path.relative_to(self.state)): path.read_bytes()
            for path in sorted(self.state.rglob("*"))
            if path.is_file() and path.name != "lock"
        }

    def passwords(self) -> list[str]:
        """Every value under a password's key in the state's Secrets."""
        found = []
        for path in self.state.glob("secrets/*/*.yaml"):
            data = yaml.safe_load(path.read_text())["data"]
            found += [base64.b64decode(value).decode() for key, value in data.items() if "password" in key.lower()]
        return found

    def secret(self, namespace: str, name: str) -> dict[str, str]:
        """The values of a Secret of the state."""
        body = yaml.safe_load((self.state / "secrets" / namespace / f"{name}.yaml").read_text())
        return {key: base64.b64decode(value).decode() for key, value in body["data"].items()}

    def _environment(self) -> dict[str, str]:
        kept = {
            name: os.environ[name]
            for name in ("PATH", "HOME", "LANG", "TMPDIR", PROGRAMS_VARIABLE)
            if name in os.environ
        }
        return {**kept, **self.environment}


def assert_no_secret_told(program: Program, *more: str, log: str = "") -> None:
    """No password stands in an output, in a status, in an Event or in the server's log."""
    places = {"output": "".join(program.said), "server log": log}
    for name, content in program.files().items() if program.state.exists() else ():
        if not name.startswith("secrets/"):
            places[name] = content.decode()
    for password in (*more, *program.passwords()):
        for place, text in places.items():
            assert password not in text, f"a password stands in {place}"


def read_until(stream: IO[str] | None, word: str) -> str:
    """What a running program says until `word` is in it; fails when it ends before that."""
    assert stream is not None
    seen = ""
    while word not in seen:
        line = stream.readline()
        assert line, f"it ended without {word!r}: {seen}"
        seen += line
    return seen


def assert_one_sentence(ran: Ran) -> None:
    """Messages are short lines for people: no traceback, no exception's name."""
    assert "Traceback" not in ran.err
    assert "Error(" not in ran.err
    assert ran.err.strip()


# ---- manifests


def admin_secret(login: Login, name: str = "admin") -> Body:
    """The Secret with an admin's login."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "ops"},
        "stringData": {"username": login.user, "password": login.password},
    }


def cluster(server: Server, name: str = "pg", **spec: Any) -> Body:
    """A DBCluster for a server."""
    body = {
        "endpoint": server.host,
        "port": server.port,
        "tls": {"mode": "disable"},
        "credentialsSecretRef": {"name": "admin", "namespace": "ops"},
        **spec,
    }
    return _body("DBCluster", name, None, body)


def database(name: str, **spec: Any) -> Body:
    """A Database that goes with its resource."""
    return _body("Database", name, "default", {"clusterRef": {"name": "pg"}, "deletionPolicy": "Delete", **spec})


def user(name: str, database_name: str, privileges: str = "readonly", **spec: Any) -> Body:
    """A DatabaseUser of one database."""
    return _body(
        "DatabaseUser", name, "default", {"databaseRef": {"name": database_name}, "privileges": privileges, **spec}
    )


def _body(kind: str, name: str, namespace: str | None, spec: Mapping[str, Any]) -> Body:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": "dbtether.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": dict(spec)}


def names_on(server: Server, part: str) -> tuple[list[str], list[str]]:
    """The databases and roles of a server whose name contains the text."""
    with server.connect() as connection:
        databases = connection.execute(
            "SELECT datname FROM pg_database WHERE strpos(datname, %s) > 0 ORDER BY 1", (part,)
        )
        roles = connection.execute("SELECT rolname FROM pg_roles WHERE strpos(rolname, %s) > 0 ORDER BY 1", (part,))
        return [row[0] for row in databases], [row[0] for row in roles]


def lines(text: str) -> Sequence[str]:
    """The lines that are not blank."""
    return [line for line in text.splitlines() if line.strip()]
