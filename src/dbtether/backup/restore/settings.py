"""Which SET of a dump runs: what changes the meaning of its statements, and nothing else. Pure."""

import re

_SET = re.compile(rb"SET\s+([A-Za-z_][A-Za-z0-9_.]*)\s*(?:=|\s+TO\b)\s*(.+)\Z", re.DOTALL | re.IGNORECASE)
_ENCODING = re.compile(rb"SET\s+client_encoding\s*(?:=|TO)\s*'([A-Za-z0-9_-]+)'\Z", re.IGNORECASE)
_CONFORMING = re.compile(rb"SET\s+standard_conforming_strings\s*(?:=|TO)\s*(?:on|off)\Z", re.IGNORECASE)
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]")
# What the scanner reads as ASCII must be ASCII to the server too: in SJIS, BIG5, GBK, UHC, GB18030 and JOHAB the
# second byte of a character can be a backslash. No server has one of those as its own encoding.
_ENCODINGS = re.compile(
    r"utf8|unicode|sqlascii|euc(?:jp|cn|kr|tw|jis2004)|muleinternal|koi8[ru]?|abc|alt|tcvn(?:5712)?|vscii|win"
    r"|latin[0-9]+|iso8859[0-9]+|win(?:dows)?(?:866|874|125[0-8])"
)
_RUN = frozenset(
    {
        "search_path",
        "check_function_bodies",
        "xmloption",
        "client_min_messages",
        "row_security",
        "default_table_access_method",
        "datestyle",
        "intervalstyle",
        "timezone",
        "bytea_output",
        "extra_float_digits",
    }
)
_IDENTITY = frozenset({"role", "session_authorization"})
_TIME_OUTS = frozenset(
    {
        "statement_timeout",
        "lock_timeout",
        "idle_in_transaction_session_timeout",
        "idle_session_timeout",
        "transaction_timeout",
    }
)


def judge_setting(head: bytes, text: bytes) -> tuple[str | None, str | None]:
    """Why a SET is refused, and under which name it is left out; both None for what is to be run."""
    found = _SET.match(head)
    if found is None:
        return "pg_dump does not write such a SET", None
    name = found[1].decode().lower()
    if name in _IDENTITY:
        return "a dump may not choose as whom it is restored", None
    if name.startswith("transaction_") and name not in _TIME_OUTS:
        return "it would change the restore's own transaction", None
    if name == "client_encoding":
        return (None, None) if _is_safe_encoding(text) else ("no server has this encoding as its own", None)
    if name == "standard_conforming_strings":
        return (None, None) if _CONFORMING.match(text) else ("pg_dump writes it as on or off", None)
    if name in _RUN:
        return None, None
    return None, "SET of time-outs" if name in _TIME_OUTS else "SET of other settings"


def _is_safe_encoding(text: bytes) -> bool:
    found = _ENCODING.match(text)
    return found is not None and _ENCODINGS.fullmatch(_NOT_IN_NAMES.sub("", found[1].decode().lower())) is not None
