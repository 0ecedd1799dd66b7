"""The settings that a Database or a DatabaseUser may set (`ALTER DATABASE ... SET`, `ALTER ROLE ... SET`).

A closed list: a tenant's setting acts in everybody's session, the operator's included. Never in it: `role`
and `session_authorization` (act as somebody else), `session_preload_libraries` and
`local_preload_libraries` (run code), `log_*` (hide from the audit), anything that needs a superuser or a
restart. Meanings follow PostgreSQL's documentation, chapter 20.
"""

import re
from dataclasses import dataclass
from enum import StrEnum


class Form(StrEnum):
    """How a setting's value is written."""

    TIME = "time"
    SIZE = "size"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    NUMBER = "number"
    CHOICE = "choice"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: how it is written, what it does, who may carry it, and since which major it exists."""

    name: str
    form: Form
    meaning: str
    choices: tuple[str, ...] = ()
    since: int = 13
    on_database: bool = True
    on_user: bool = True


_PATTERNS = {
    Form.TIME: (re.compile(r"-1|\d{1,18}(\.\d{1,6})?\s?(us|ms|s|min|h|d)?"), "a time such as 30s or 5min"),
    Form.SIZE: (re.compile(r"-1|\d{1,18}(\.\d{1,6})?\s?(B|kB|MB|GB|TB)?"), "a size such as 64MB"),
    Form.BOOLEAN: (re.compile(r"on|off|true|false"), "on or off"),
    Form.INTEGER: (re.compile(r"-?\d{1,9}"), "a whole number"),
    Form.NUMBER: (re.compile(r"-?\d{1,9}(\.\d{1,9})?"), "a number"),
}
_MAX_TEXT = 256
_ISOLATION = ("read committed", "repeatable read", "serializable", "read uncommitted")

_T, _S, _B, _I, _N = Form.TIME, Form.SIZE, Form.BOOLEAN, Form.INTEGER, Form.NUMBER

_ALL = (
    Setting("statement_timeout", _T, "ends a statement that runs longer"),
    Setting("lock_timeout", _T, "ends a statement that waits longer for a lock"),
    Setting("idle_in_transaction_session_timeout", _T, "ends a session that idles in a transaction"),
    Setting("idle_session_timeout", _T, "ends a session that idles outside a transaction", since=14),
    Setting("transaction_timeout", _T, "ends a transaction that lasts longer", since=17),
    Setting("work_mem", _S, "memory of one sort or hash"),
    Setting("hash_mem_multiplier", _N, "how much more than work_mem a hash may take"),
    Setting("maintenance_work_mem", _S, "memory of CREATE INDEX and VACUUM"),
    Setting("temp_buffers", _S, "memory of a session's temporary tables"),
    Setting("effective_cache_size", _S, "the planner's idea of the cache"),
    Setting("random_page_cost", _N, "the planner's cost of a page read at random"),
    Setting("seq_page_cost", _N, "the planner's cost of a page read in order"),
    Setting("cpu_tuple_cost", _N, "the planner's cost of a row"),
    Setting("effective_io_concurrency", _I, "how many reads are asked for at once"),
    Setting("default_statistics_target", _I, "how finely ANALYZE samples"),
    Setting("from_collapse_limit", _I, "how many FROM items are planned together"),
    Setting("join_collapse_limit", _I, "how many JOINs are planned together"),
    Setting("max_parallel_workers_per_gather", _I, "workers of one parallel step"),
    Setting("max_parallel_maintenance_workers", _I, "workers of one CREATE INDEX"),
    Setting("jit", _B, "compiles long queries"),
    Setting("jit_above_cost", _N, "the cost from which queries are compiled"),
    Setting("enable_seqscan", _B, "lets the planner read whole tables"),
    Setting("enable_nestloop", _B, "lets the planner use nested loops"),
    Setting("enable_partitionwise_join", _B, "joins partition by partition"),
    Setting("enable_partitionwise_aggregate", _B, "aggregates partition by partition"),
    Setting("plan_cache_mode", Form.CHOICE, "how prepared statements are planned",
            ("auto", "force_generic_plan", "force_custom_plan")),
    Setting("TimeZone", Form.TEXT, "the session's time zone"),
    Setting("DateStyle", Form.TEXT, "how dates are shown and read"),
    Setting("IntervalStyle", Form.CHOICE, "how intervals are shown",
            ("postgres", "postgres_verbose", "sql_standard", "iso_8601")),
    Setting("bytea_output", Form.CHOICE, "how bytea is shown", ("hex", "escape")),
    Setting("extra_float_digits", _I, "digits of floating-point output"),
    Setting("lc_monetary", Form.TEXT, "the locale of money"),
    Setting("lc_numeric", Form.TEXT, "the locale of numbers"),
    Setting("lc_time", Form.TEXT, "the locale of dates"),
    Setting("default_text_search_config", Form.TEXT, "the text search configuration"),
    Setting("search_path", Form.TEXT, "the schemas that names are looked up in, comma-separated"),
    Setting("default_transaction_isolation", Form.CHOICE, "the isolation of a transaction", _ISOLATION),
    # Not on a database: dumps and our own sessions would meet it as well, and a user is the one to bind.
    Setting("default_transaction_read_only", _B, "transactions may only read", on_database=False),
    Setting("default_transaction_deferrable", _B, "serializable read-only transactions wait"),
    Setting("synchronous_commit", Form.CHOICE, "what a commit waits for",
            ("on", "off", "local", "remote_write", "remote_apply")),
    Setting("row_security", _B, "off: an error instead of filtered rows"),
    Setting("gin_fuzzy_search_limit", _I, "upper bound of a GIN search"),
    Setting("gin_pending_list_limit", _S, "size of GIN's pending list"),
    Setting("vacuum_cost_delay", _T, "the pause of a manual VACUUM"),
    Setting("tcp_keepalives_idle", _I, "seconds before a keepalive is sent"),
    Setting("tcp_keepalives_interval", _I, "seconds between keepalives"),
    Setting("tcp_keepalives_count", _I, "keepalives lost before the session ends"),
)  # fmt: skip

DATABASE_SETTINGS = {setting.name: setting for setting in _ALL if setting.on_database}
USER_SETTINGS = {setting.name: setting for setting in _ALL if setting.on_user}


def setting_problem(setting: Setting, value: str) -> str | None:
    """What is wrong with a value's form, as the rest of a sentence; the server has the last word."""
    if setting.form is Form.CHOICE:
        if value.lower() in setting.choices:
            return None
        return f"is not one of {', '.join(setting.choices)}"
    if setting.form is Form.TEXT:
        return None if 0 < len(value) <= _MAX_TEXT else f"must have 1 to {_MAX_TEXT} characters"
    pattern, example = _PATTERNS[setting.form]
    return None if pattern.fullmatch(value) else f"is not {example}"
