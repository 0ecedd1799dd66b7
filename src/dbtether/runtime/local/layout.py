"""Where what lies in a state directory, and who this installation is.

.gitignore                              keeps the directory out of version control
lock                                    held by the one process that may write
installation                            the id that ownership markers on the servers carry
fingerprint.key                         the key of password fingerprints
events.jsonl                            what happened lately
resources/<Kind>/<namespace>/<name>.yaml    `_cluster` stands for no namespace
secrets/<namespace>/<name>.yaml
jobs/<name>/                            work that goes on in a process of its own
"""

import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from dbtether.api.resource import Key
from dbtether.errors import StateError
from dbtether.runtime.local.files import TEMPORARY_PREFIX, read_file, write_file

CLUSTER_FOLDER = "_cluster"

_INSTALLATION = re.compile(r"[a-z0-9-]{1,40}")
_KIND = re.compile(r"[A-Z][A-Za-z0-9]{0,62}")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
# Kubernetes allows 253; file systems allow 255 bytes with the suffix.
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,248}[a-z0-9])?")
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of a state directory."""

    root: Path

    @property
    def gitignore(self) -> Path:
        """Keeps the directory out of version control."""
        return self.root / ".gitignore"

    @property
    def lock(self) -> Path:
        """Held by the one process that may write."""
        return self.root / "lock"

    @property
    def installation(self) -> Path:
        """The installation id."""
        return self.root / "installation"

    @property
    def fingerprint_key(self) -> Path:
        """The key of password fingerprints, in hexadecimal."""
        return self.root / "fingerprint.key"

    @property
    def events(self) -> Path:
        """The log of Events."""
        return self.root / "events.jsonl"

    @property
    def resources(self) -> Path:
        """The folder of all resources."""
        return self.root / "resources"

    @property
    def secrets(self) -> Path:
        """The folder of all Secrets."""
        return self.root / "secrets"

    @property
    def jobs(self) -> Path:
        """The folder of the work that goes on in processes of its own."""
        return self.root / "jobs"

    def resource(self, key: Key) -> Path:
        """The file of a resource. Raises StateError when the key cannot be a file's name."""
        _check(_KIND, key.kind, "kind", key)
        folder = CLUSTER_FOLDER
        if key.namespace:
            _check(_NAMESPACE, key.namespace, "namespace", key)
            folder = key.namespace
        _check(_NAME, key.name, "name", key)
        return self.resources / key.kind / folder / f"{key.name}.yaml"

    def secret(self, namespace: str, name: str) -> Path:
        """The file of a Secret. Raises StateError when its name cannot be a file's name."""
        key = Key("Secret", namespace, name)
        _check(_NAMESPACE, namespace, "namespace", key)
        _check(_NAME, name, "name", key)
        return self.secrets / namespace / f"{name}.yaml"

    def is_free_or_ours(self) -> bool:
        """Whether the directory is a state directory, or holds nothing but what one may hold."""
        if self.installation.exists():
            return True
        ours = {path.name for path in (self.gitignore, self.lock, self.installation, self.fingerprint_key)}
        ours |= {path.name for path in (self.events, self.resources, self.secrets, self.jobs)}
        return all(entry.name in ours or entry.name.startswith(TEMPORARY_PREFIX) for entry in self.root.iterdir())

    def has_content(self) -> bool:
        """Whether a resource or a Secret was ever stored."""
        return self.resources.exists() or self.secrets.exists()


def check_installation(installation: str) -> None:
    """Raises StateError when the id breaks the rule for installation ids."""
    if not _INSTALLATION.fullmatch(installation):
        raise StateError(
            f"an installation id is 1 to 40 lower-case letters, digits and dashes, which {installation[:60]!r} is not"
        )


def recorded_installation(layout: Layout, given: str | None) -> str | None:
    """The id on record, or None. Raises StateError when it differs from the given one."""
    content = read_file(layout.installation)
    if content is None:
        return None
    recorded = content.decode(errors="replace").strip()
    if not _INSTALLATION.fullmatch(recorded):
        raise StateError(
            f"{layout.installation} does not hold an installation id; put back the id that the "
            "ownership markers on your servers carry"
        )
    if given is not None and given != recorded:
        raise StateError(
            f"the state directory {layout.root} belongs to installation {recorded}, not {given}; "
            f"use --installation {recorded} or another --state"
        )
    return recorded


def establish_installation(layout: Layout, given: str | None) -> str:
    """The id on record, which is made now if there is none."""
    recorded = recorded_installation(layout, given)
    if recorded is not None:
        return recorded
    if given is None and layout.has_content():
        raise StateError(
            f"{layout.installation} is missing although there are resources; name the installation "
            "that the ownership markers on your servers carry with --installation"
        )
    installation = given or secrets.token_hex(4)
    write_file(layout.installation, f"{installation}\n".encode(), durable=True)
    return installation


def recorded_fingerprint_key(layout: Layout) -> bytes | None:
    """The key on record, or None. Raises StateError when the file holds something else."""
    content = read_file(layout.fingerprint_key)
    if content is None:
        return None
    try:
        key = bytes.fromhex(content.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise StateError(
            f"{layout.fingerprint_key} does not hold a key; remove it, and the next apply sets every "
            "password from its Secret again"
        )
    return key


def establish_fingerprint_key(layout: Layout) -> bytes:
    """The key on record, which is made now if there is none."""
    key = recorded_fingerprint_key(layout)
    if key is None:
        key = secrets.token_bytes(_KEY_BYTES)
        write_file(layout.fingerprint_key, f"{key.hex()}\n".encode(), durable=True)
    return key


def _check(pattern: re.Pattern[str], value: str, part: str, key: Key) -> None:
    if not pattern.fullmatch(value) or ".." in value:
        raise StateError(f"the {part} of {key.kind} {key.path[:300]!r} cannot be stored under that name")
