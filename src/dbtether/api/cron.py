"""The shape of a schedule: five cron fields or one of five names. Pure; when it fires is another module's."""

import re

NAMED_SCHEDULES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    ("day of the week", 0, 7, {name: number for number, name in enumerate(_DAYS)}),
)
_ENTRY = re.compile(r"(\*|[0-9]{1,2}|[A-Za-z]{3})(?:-([0-9]{1,2}|[A-Za-z]{3}))?(?:/([0-9]{1,2}))?")


def five_fields(schedule: str) -> str:
    """The schedule as five fields, the names of NAMED_SCHEDULES spelled out."""
    return NAMED_SCHEDULES.get(schedule, schedule)


def schedule_problem(text: str) -> str | None:
    """What is wrong with a schedule, as the rest of a sentence that starts with it."""
    if text.startswith("@"):
        return None if text in NAMED_SCHEDULES else f"is not one of {', '.join(NAMED_SCHEDULES)}"
    if text.upper().startswith(("TZ=", "CRON_TZ=")):
        return "names a time zone; put it into spec.timeZone"
    parts = text.split()
    if len(parts) != len(_FIELDS):
        return f"has {len(parts)} fields; a schedule has five: minute hour day month weekday"
    sets: list[frozenset[int]] = []
    for part, (what, low, high, names) in zip(parts, _FIELDS, strict=True):
        found = _values(part, low, high, names)
        if found is None:
            return f"has {part!r} as the {what}; allowed are {low}-{high}, * , - / and lists"
        sets.append(found)
    if parts[4] == "*" and not any(day <= _LONGEST[month - 1] for month in sets[3] for day in sets[2]):
        return "never fires: no such day in these months"
    return None


def _values(part: str, low: int, high: int, names: dict[str, int]) -> frozenset[int] | None:
    """The numbers that one field stands for; None when it is malformed or out of range."""
    found: set[int] = set()
    for entry in part.split(","):
        match = _ENTRY.fullmatch(entry)
        if match is None:
            return None
        start_text, end_text, step_text = match.groups()
        step = int(step_text) if step_text else 1
        if start_text == "*":
            start, end = low, high
            if end_text:
                return None
        else:
            start = _number(start_text, names)
            end = _number(end_text, names) if end_text else (high if step_text else start)
        if step < 1 or not low <= start <= end <= high:
            return None
        found.update(range(start, end + 1, step))
    return frozenset(found)


def _number(text: str, names: dict[str, int]) -> int:
    """The number of a field's entry; -1, which no field allows, for a word that is no name."""
    return int(text) if text.isdigit() else names.get(text.lower(), -1)
