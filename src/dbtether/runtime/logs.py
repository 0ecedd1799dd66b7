"""Logs of the operator: one JSON object a line, with the reconcile's key and id where there is one."""

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from dbtether.runtime.wakeups import reconciling

reconcile_id: ContextVar[str | None] = ContextVar("reconcile_id", default=None)
"""The id of the reconcile that runs in this context."""

_FIELDS = ("subject", "database", "duration_seconds")


class JsonFormatter(logging.Formatter):
    """One line of JSON a record: time, level, logger, message, reconcile, and the error with its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        values: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (key := reconciling.get()) is not None:
            values |= {"kind": key.kind, "namespace": key.namespace, "name": key.name}
        if (run := reconcile_id.get()) is not None:
            values["reconcileId"] = run
        for name in _FIELDS:
            if name in record.__dict__:
                values[_camel(name)] = record.__dict__[name]
        if record.exc_info:
            values["error"] = self.formatException(record.exc_info)
        return json.dumps(values, ensure_ascii=False, default=str)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def configure_json_logs(level: int = logging.INFO) -> None:
    """Send all logs to standard error as JSON lines."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # It reports what we handle and report ourselves.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
