"""Reads back, from a server's own log, which statements it was sent."""

import re
from dataclasses import dataclass

# The unit separator stands in no name and no statement that a test sends.
LOG_LINE_PREFIX = "\x1f%p\x1f%u\x1f%d\x1f%a\x1f"

_RECORD = re.compile(r"^\x1f(\d+)\x1f(.*?)\x1f(.*?)\x1f(.*?)\x1fLOG: {2}(?:statement|execute [^:]*): (.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class LoggedStatement:
    """One statement as the server logged it, parameters as $1, $2, ..."""

    text: str
    user: str
    database: str
    application_name: str


def logged_statements(log: str) -> list[LoggedStatement]:
    """Return the statements in a piece of log, in their order, however they were sent."""
    statements = []
    for record in re.split(r"^(?=\x1f\d+\x1f)", log, flags=re.MULTILINE):
        found = _RECORD.match(record)
        if found:
            # The server indents what follows a newline inside a message by a tab.
            text = found[5].rstrip("\n").replace("\n\t", "\n")
            statements.append(LoggedStatement(text, found[2], found[3], found[4]))
    return statements
