"""Which names people may give: PostgreSQL's identifiers and Kubernetes' names. Pure, without pydantic.

Every check returns the rest of a sentence that starts with the value ("is empty"), or None.
"""

import re
import unicodedata

MAX_IDENTIFIER_BYTES = 63
"""NAMEDATALEN - 1; PostgreSQL cuts longer names silently (documentation, 4.1.1 Identifiers and Key Words)."""

DATABASE_NAME_PATTERN = r"^[a-z_][a-z0-9_]*$"
EXTENSION_PATTERN = r"^[a-z0-9_-]{1,63}$"
USERNAME_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_.@$-]{0,62}$"
"""Wider than unquoted SQL, because `metadata.name` is the default; without quotes, blanks and colons, which
pg_hba.conf, connection URLs and user lists of poolers read differently."""
LABEL_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
SUBDOMAIN_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
MAX_LABEL = 63
MAX_SUBDOMAIN = 253

_DATABASE_NAME = re.compile(DATABASE_NAME_PATTERN)
_EXTENSION = re.compile(EXTENSION_PATTERN)
_USERNAME = re.compile(USERNAME_PATTERN)
_LABEL = re.compile(LABEL_PATTERN)
_SUBDOMAIN = re.compile(SUBDOMAIN_PATTERN)

RESERVED_DATABASES = frozenset({"postgres", "template0", "template1", "rdsadmin", "cloudsqladmin"})
_RESERVED_DATABASE_PREFIXES = ("azure_",)

RESERVED_ROLES = frozenset(
    {
        "postgres",
        "public",
        "none",
        "current_role",
        "current_user",
        "session_user",
        "azuresu",
        "replication",
        "alloydbadmin",
        "alloydbsuperuser",
    }
)
_RESERVED_ROLE_PREFIXES = ("pg_", "dbtether_", "rds", "cloudsql", "azure_")


def text_problem(text: str) -> str | None:
    """What makes a text unfit for PostgreSQL and for a line of a log: NUL, control characters, no UTF-8."""
    if text.isascii() and text.isprintable():
        return None
    for character in text:
        if character == "\0":
            return "contains a NUL character; remove it"
        category = unicodedata.category(character)
        if category == "Cc":
            return "contains a line break or another control character; remove it"
        if category == "Cs":
            return "is not valid Unicode (half of a surrogate pair); remove it"
    return None


def identifier_problem(text: str) -> str | None:
    """What makes a text unfit as the name of a PostgreSQL object."""
    if not text:
        return "is empty; give a name"
    if (problem := text_problem(text)) is not None:
        return problem
    size = len(text.encode())
    if size > MAX_IDENTIFIER_BYTES:
        return f"has {size} bytes; PostgreSQL's names have at most {MAX_IDENTIFIER_BYTES}"
    return None


def database_name_problem(text: str) -> str | None:
    """What makes a text unfit as the name of a database that we create."""
    if (problem := identifier_problem(text)) is not None:
        return problem
    if _DATABASE_NAME.fullmatch(text) is None:
        return "is not a database name: lower-case letters, digits and _, starting with a letter or _"
    if text in RESERVED_DATABASES or text.startswith(_RESERVED_DATABASE_PREFIXES):
        return "belongs to PostgreSQL or to a cloud provider; choose another database name"
    return None


def username_problem(text: str) -> str | None:
    """What makes a text unfit as the name of a login that we create."""
    if (problem := identifier_problem(text)) is not None:
        return problem
    if _USERNAME.fullmatch(text) is None:
        return "is not a user name: letters, digits and _ . @ $ -, starting with a letter, a digit or _"
    lower = text.lower()
    if lower in RESERVED_ROLES or lower.startswith(_RESERVED_ROLE_PREFIXES):
        return "belongs to PostgreSQL, to a cloud provider or to dbtether; choose another user name"
    return None


def schema_name_problem(text: str) -> str | None:
    """What makes a text unfit as the name of a schema that we create."""
    if (problem := identifier_problem(text)) is not None:
        return problem
    if text.startswith("pg_") or text == "information_schema":
        return "belongs to PostgreSQL; choose another schema name"
    return None


def extension_problem(text: str) -> str | None:
    """What makes a text unfit as an extension's name: a file name on the server, so a closed alphabet."""
    if _EXTENSION.fullmatch(text) is None:
        return "is not an extension name: lower-case letters, digits, _ and -, at most 63"
    return None


def label_problem(text: str) -> str | None:
    """What makes a text unfit as a namespace: a DNS label of RFC 1123."""
    if len(text) > MAX_LABEL or _LABEL.fullmatch(text) is None:
        return "is not a namespace: lower-case letters, digits and -, at most 63, alphanumeric at both ends"
    return None


def namespace_or_any_problem(text: str) -> str | None:
    """As `label_problem`, but `*` stands for all namespaces."""
    if text == "*":
        return None
    problem = label_problem(text)
    return problem and f"{problem}; or * for all"


def name_problem(text: str) -> str | None:
    """What makes a text unfit as `metadata.name`: a DNS subdomain of RFC 1123."""
    if len(text) > MAX_SUBDOMAIN or _SUBDOMAIN.fullmatch(text) is None:
        return "is not a Kubernetes name: lower-case letters, digits, - and ., at most 253, alphanumeric at both ends"
    return None
