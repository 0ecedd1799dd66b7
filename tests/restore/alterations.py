"""Reads `alterations.sql`: one alteration of each thing that a restore could get wrong, and what must be told of it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FILE = Path(__file__).with_suffix(".sql")
_TOLD = re.compile(r"(?:(\d\d): )?(.*)")


@dataclass(frozen=True, slots=True)
class Alteration:
    """What is altered, how, and what is told on which majors."""

    what: str
    sql: str
    since: int
    told: tuple[tuple[int | None, str], ...]

    @property
    def kinds(self) -> frozenset[str]:
        """The first words of what is told."""
        return frozenset(text.split(" ")[0] for _, text in self.told)

    def told_on(self, major: int) -> list[str]:
        """What the comparison must say on a major, each up to its colon."""
        return sorted(text for only, text in self.told if only in (None, major))


def _read() -> Iterator[Alteration]:
    for block in _FILE.read_text(encoding="utf-8").split("\n\n")[1:]:
        lines = block.strip().splitlines()
        comments = [line.removeprefix("--") for line in lines if line.startswith("--")]
        told, since = [], 13
        for comment in comments[1:]:
            if comment.startswith("   "):
                found = _TOLD.fullmatch(comment.strip())
                assert found is not None
                told.append((int(found[1]) if found[1] else None, found[2]))
            else:
                since = int(comment.removeprefix(" since "))
        yield Alteration(comments[0].strip(), "\n".join(lines[len(comments) :]), since, tuple(told))


ALTERATIONS = tuple(_read())
