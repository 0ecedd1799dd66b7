"""The models' rules in the API server's language (CEL), each with the sentence that a person reads.

What CEL cannot tell at a bearable cost (a day that exists, a known time zone, the form of a setting) is told by the
webhook, which runs the models themselves, and by the controllers.
"""

from collections.abc import Callable, Iterable, Mapping
from inspect import getclosurevars
from typing import Any

from dbtether.api import identifiers as ids
from dbtether.api.cron import NAMED_SCHEDULES
from dbtether.api.fields import Rule
from dbtether.api.model import ExactlyOne, Needs, NeedsValue, ShapeRule
from dbtether.api.secret_keys import EXTENDED_KEYS
from dbtether.api.templates import FIELDS, SUFFIXES
from dbtether.crds.cel import TOLD_AROUND, Validation, matches, strings, validation

_HOST_LABEL = "[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DOT_SEGMENT = r"(^|/)\.\.?(/|$)"
_FIELD = rf"\{{\{{ *\.({'|'.join(FIELDS)}) *\}}\}}"
_INSTANT = r"^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,6})?([Zz]|[+-]\d{2}:\d{2})$"
_KEYS = "[self.host, self.port, self.database, self.user, self.password]"

_SENTENCES = {
    "_KeysOfCustom": "template custom needs keys, and keys needs template: custom",
    "_ValuesOfOperator": "operators In and NotIn need values; Exists and DoesNotExist take none",
    "_OptionsOfListedExtensions": "extensionOptions names an extension which is not in extensions",
    "_IcuNeedsItsLocale": "localeProvider icu needs icuLocale",
    "_OneSecretName": (
        "secret.name names one Secret; with secretGeneration perDatabase the names are given by dbtether"
    ),
    "_PathOfStorage": "path needs storageRef, and storageRef goes with path alone",
    "_NothingReplaced": "verifyOnly touches nothing in the target, so that onConflict must be left out",
}
"""What a rule without a sentence of its own says; its model has a better one for each case."""


def shape_rules(rules: Iterable[ShapeRule]) -> list[Validation]:
    """A model's rules about which fields go together."""
    return [validation(rule.cel, _sentence(rule)) for rule in rules]


def _sentence(rule: ShapeRule) -> str:
    match rule:
        case ExactlyOne(names, optional):
            wish = "at most one of {} may be set" if optional else "exactly one of {} must be set"
            return wish.format(", ".join(names))
        case Needs(name, needed, because):
            return f"{name} needs {needed}: {because}"
        case NeedsValue(because=because):
            return because
    return _SENTENCES[type(rule).__name__]


def value_rules(rule: Rule) -> list[Validation]:
    """What a rule about one value adds to the pattern and the bounds of its schema."""
    return [entry for check in _checks(rule.check) for entry in _of_check(check)]


def has_no_entry_twice(rule: Rule) -> bool:
    """Whether a rule about a list wants each entry once."""
    return rule.check.__name__ in ("unique", "_star_alone")


def known_keys(names: Iterable[str]) -> list[Validation]:
    """A map whose keys are of a closed list."""
    sentence = "this setting is not allowed here; the documentation lists them all"
    return [validation(f"self.all(name, name in {strings(names)})", sentence)]


def _checks(check: Callable[..., Any]) -> tuple[Callable[..., Any], ...]:
    """The check itself, and the one that `fields.text` put around it."""
    inner = getclosurevars(check).nonlocals.get("check")
    return (check, inner) if callable(inner) else (check,)


def _of_check(check: Callable[..., Any]) -> list[Validation]:
    if check.__name__ == "in_range":
        bounds = getclosurevars(check).nonlocals
        low, high = bounds["low"], bounds["high"]
        inside = f"duration(self) >= duration('{low}') && duration(self) <= duration('{high}')"
        return [validation(inside, f"is not between {low} and {high}")]
    rules = [validation(rule, sentence) for rule, sentence in _OF_CHECKS.get(check.__name__, ())]
    may_be_secret = check.__name__ in _OF_SECRETS
    if "not the value" in (sentence := str(getclosurevars(check).nonlocals.get("sentence", ""))):
        pattern = getclosurevars(check).nonlocals["compiled"].pattern
        rules, may_be_secret = [validation(matches(f"^{pattern}$"), sentence)], True
    return [{**rule, "fieldPath": TOLD_AROUND} for rule in rules] if may_be_secret else rules


_OF_SECRETS = ("endpoint_problem", "url_problem")
"""What people put here by mistake holds a password, which the API server would repeat in its answer."""

_SHORT = (
    "bytes(self).size() <= 63",
    f"has more than {ids.MAX_IDENTIFIER_BYTES} bytes; PostgreSQL's names have at most {ids.MAX_IDENTIFIER_BYTES}",
)
_NO_BACKSLASH = (r"!self.contains('\\')", "has a backslash; segments are separated by /")
_NO_DOTS = (f"!{matches(_DOT_SEGMENT)}", "has a segment `.` or `..`; give the place itself")
_TEMPLATE = (
    (
        matches(rf"^([^{{}}]|{_FIELD})*$"),
        f"has braces that are no field; known are {', '.join('.' + name for name in FIELDS)}",
    ),
    (f"!{matches(r'^/|/$|//')}", "has an empty segment; segments are separated by one /, none at the ends"),
    _NO_BACKSLASH,
    _NO_DOTS,
)

_IS_FREE_ROLE = (
    f"!(self.lowerAscii() in {strings(ids.RESERVED_ROLES)}) && "
    "!self.lowerAscii().matches('^(pg_|dbtether_|rds|cloudsql|azure_)')"
)
_IS_HOST = (
    f"{matches('://|[=@]|:[0-9]+$')} || isIP(self) || "
    f"({matches(rf'^{_HOST_LABEL}([.]{_HOST_LABEL})*[.]?$')} && !{matches('^[0-9.]+$')})"
)
_FIVE_FIELDS = r"^\s*[0-9A-Za-z*,/-]+(\s+[0-9A-Za-z*,/-]+){4}\s*$"
_IS_SCHEDULE = f"self.startsWith('@') ? self in {strings(NAMED_SCHEDULES)} : {matches(_FIVE_FIELDS)}"
_IS_EACH_ONCE = (
    "self.all(one, self.exists_one(other, other.name == one.name && "
    "(has(other.__namespace__) ? other.__namespace__ : '') == (has(one.__namespace__) ? one.__namespace__ : '')))"
)

_OF_CHECKS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "identifier_problem": (_SHORT,),
    "database_name_problem": (
        (
            f"!(self in {strings(ids.RESERVED_DATABASES)}) && !self.startsWith('azure_')",
            "belongs to PostgreSQL or to a cloud provider; choose another database name",
        ),
    ),
    "username_problem": (
        (
            _IS_FREE_ROLE,
            "belongs to PostgreSQL, to a cloud provider or to dbtether; choose another user name",
        ),
    ),
    "schema_name_problem": (
        _SHORT,
        (
            "!self.startsWith('pg_') && self != 'information_schema'",
            "belongs to PostgreSQL; choose another schema name",
        ),
    ),
    "endpoint_problem": (
        (
            f"!{matches('://|[=@]')}",
            "is a connection string; give the host alone, the port in spec.port and the login in credentialsSecretRef",
        ),
        (
            f"{matches('://|[=@]')} || isIP(self) || !{matches(':[0-9]+$')}",
            "has a port; give the host alone and the port in spec.port",
        ),
        (
            _IS_HOST,
            "is not a host name, an IPv4 or an IPv6 address",
        ),
    ),
    "url_problem": (
        (matches(r"^https?://[^/@\s]\S*$"), "is not a URL that starts with https:// or http://"),
        (f"!{matches('^https?://[^/]*@')}", "holds credentials; put them into the Secret of credentialsSecretRef"),
    ),
    "schedule_problem": (
        (
            _IS_SCHEDULE,
            "is no schedule: five fields (minute hour day month weekday), or one of " + ", ".join(NAMED_SCHEDULES),
        ),
    ),
    "instant_problem": ((matches(_INSTANT), "is not a time with its zone, such as 2030-01-31T12:00:00Z"),),
    "template_problem": _TEMPLATE,
    "filename_problem": (
        *_TEMPLATE,
        (
            matches(rf"[^/]({'|'.join(suffix.replace('.', '[.]') for suffix in SUFFIXES)})$"),
            f"must end with one of {', '.join(SUFFIXES)} after a name: the suffix picks the format",
        ),
    ),
    "_source_path_problem": (
        _NO_BACKSLASH,
        (f"!{matches(_DOT_SEGMENT)}", "has `.` or `..`; give the object's own key"),
        ("!self.endsWith('/')", "names a folder; give the key of one object"),
    ),
    "_folder_problem": (_NO_BACKSLASH, (f"!{matches(r'(^|/)[.][.](/|$)')}", "leaves its folder with `..`")),
    "_prefix_problem": (
        _NO_BACKSLASH,
        (f"!{matches(r'^/|//|(^|/)[.][.]?(/|$)')}", "has an empty segment, `.` or `..`"),
    ),
    "_star_alone": (
        ("!('*' in self) || self.size() == 1", "has * beside other names; * alone means all tables, future ones too"),
    ),
    "_distinct_keys": (
        (f"{_KEYS}.all(key, {_KEYS}.exists_one(other, other == key))", "lists a key twice"),
        (f"!{_KEYS}.exists(key, key in {strings(EXTENDED_KEYS)})", "uses a key which `extended` fills"),
    ),
    "_unique_access": (
        (
            _IS_EACH_ONCE,
            "lists a Database twice",
        ),
    ),
}
"""By the name of the check: rules that hold, and the rest of a sentence that starts with the value."""
