"""Small pieces of CEL, the API server's language for rules, and the form of a rule in a schema."""

from collections.abc import Iterable

Validation = dict[str, str]


def quoted(text: str) -> str:
    """A CEL string."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def strings(texts: Iterable[str]) -> str:
    """A CEL list of strings, in a stable order."""
    return f"[{', '.join(quoted(text) for text in sorted(texts))}]"


def matches(pattern: str) -> str:
    """Whether `self` matches a regular expression (RE2)."""
    return f"self.matches({quoted(pattern)})"


TOLD_AROUND = "."
"""As `fieldPath` of a value's own rule: the value may be a secret, so the rule is told from the object around it."""


def validation(rule: str, message: str) -> Validation:
    """An entry of `x-kubernetes-validations`; the API server puts the field's path before the message."""
    return {"rule": rule, "message": message}
