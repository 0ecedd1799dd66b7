"""The blocks of the README, and its manifests with the reader's own server in the place of the one it names."""

import re
from pathlib import Path

import yaml
from tests.kube.plain_manifests import REPOSITORY
from tests.servers.server import Server

README = REPOSITORY / "README.md"
OPERATOR_PAGE = REPOSITORY / "docs" / "operator.md"


def code_blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a language in a page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    """The code blocks of a language in the README."""
    return code_blocks(README, language)


def commands_with(word: str) -> list[str]:
    """The blocks of commands that hold a word, as a reader pastes them."""
    return [block for block in blocks("bash") if word in block]


def tables() -> list[tuple[str, list[str]]]:
    """The commands of the console blocks with what they print, in order."""
    found: list[tuple[str, list[str]]] = []
    for line in "".join(blocks("console")).splitlines():
        if line.startswith("$ "):
            found.append((line.removeprefix("$ "), []))
        elif line:
            found[-1][1].append(line)
    return found


def write_manifests(folder: Path, server: Server) -> None:
    """The README's manifests in `manifests/` of the folder, for this server."""
    target = folder / "manifests"
    target.mkdir()
    for number, block in enumerate(blocks("yaml")):
        body = yaml.safe_load(block)
        if body["kind"] == "Secret":
            body["stringData"]["password"] = server.superuser.password
        elif body["kind"] == "DBCluster":
            body["spec"] |= {"endpoint": server.host, "port": server.port, "tls": {"mode": "disable"}}
        elif body["kind"] == "Database":
            # The servers of these tests come without contrib's uuid-ossp.
            body["spec"]["extensions"].remove("uuid-ossp")
        (target / f"{number}.yaml").write_text(yaml.safe_dump(body))
