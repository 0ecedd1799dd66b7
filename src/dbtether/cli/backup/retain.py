"""`dbtether retention`: which backups of a store stay and which go, and their deletion after a person's word."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dbtether.api.backupschedule import Retention
from dbtether.api.times import time_zone_problem
from dbtether.backup.catalog import Entry, catalog
from dbtether.backup.pruning import Decision, Pruned, Rule, databases_of, decide, prune
from dbtether.backup.retention import DatabaseId, Judged, Policy
from dbtether.backup.words import size_text
from dbtether.cli import running
from dbtether.cli.backup.destinations import Destination, destination
from dbtether.cli.backup.look import installation_key, is_of
from dbtether.cli.exits import Exit, Quit
from dbtether.cli.output import emit, error, note, say, table, tell


@dataclass(frozen=True, slots=True)
class RetentionOptions:
    """What `dbtether retention` was told."""

    place: str
    database: str | None
    schedule: str | None
    policy: Policy
    any_signature: bool
    dry_run: bool
    yes: bool
    state: str
    output: str


@dataclass(frozen=True, slots=True)
class _Judgement:
    """One database's backups, judged by themselves."""

    rule: Rule
    decision: Decision


def checked_policy(counts: Mapping[str, int], time_zone: str) -> Policy:
    """The rules of the options. Raises Quit when they keep nothing, or there is no such time zone."""
    if (problem := time_zone_problem(time_zone)) is not None:
        raise Quit(Exit.INVALID, f"--time-zone {time_zone!r} {problem}")
    rules = Retention.model_validate(counts)
    if rules.keeps_all:
        raise Quit(Exit.INVALID, "say what is to be kept: --keep-last, --keep-daily, --keep-weekly or --keep-monthly")
    return Policy(rules, time_zone)


def retention_command(options: RetentionOptions) -> Exit:
    """Show what stays and what goes; delete what goes unless it is a dry run."""
    if not options.dry_run and not options.yes and not sys.stdin.isatty():
        raise Quit(Exit.INVALID, "give --dry-run to look only, or --yes where nobody can be asked; nothing was deleted")
    place = destination(options.place, "--from")
    entries = running.run(catalog(place.store, place.prefix, installation_key(options.state)))
    judgements = _judged(options, entries)
    _tell_unsigned(options, entries)
    going = [key for judgement in judgements for key in judgement.decision.to_delete]
    refusals = [text for judgement in judgements if (text := judgement.decision.plan.refusal)]
    if options.dry_run:
        _print(options, place, entries, judgements, None)
        return Exit.FAILED if refusals else Exit.CHANGES if going else Exit.OK
    if not options.yes:
        judgements = _asked(options, place, entries, judgements)
    done = running.run(_prune_all(place, judgements))
    _print(options, place, entries, judgements, done)
    is_refused = any(judgement.decision.plan.refusal for judgement in judgements)
    return Exit.FAILED if is_refused or done.failure is not None else Exit.OK


def _judged(options: RetentionOptions, entries: Sequence[Entry]) -> list[_Judgement]:
    now = datetime.now(UTC)
    mine = [entry for entry in entries if options.database is None or is_of(entry, options.database)]
    judgements = []
    for database in databases_of(mine, any_signature=options.any_signature):
        rule = _rule(options, database, None)
        judgements.append(_Judgement(rule, decide(rule, entries, now)))
    return judgements


def _rule(options: RetentionOptions, database: DatabaseId, confirmed: str | None) -> Rule:
    policies = {options.schedule: options.policy}
    return Rule(options.schedule, database, policies, confirmed, any_signature=options.any_signature)


def _tell_unsigned(options: RetentionOptions, entries: Sequence[Entry]) -> None:
    unsigned = [entry for entry in entries if entry.manifest is not None and entry.trust.value != "ours"]
    if unsigned and not options.any_signature:
        note(
            f"{len(unsigned)} backup{'' if len(unsigned) == 1 else 's'} of which the key in {options.state} cannot "
            "tell who wrote them stay as they are; --any-signature judges them as well"
        )


def _asked(
    options: RetentionOptions, place: Destination, entries: Sequence[Entry], judgements: list[_Judgement]
) -> list[_Judgement]:
    """The judgements, each confirmed by somebody who saw the table. Raises Quit when they are not."""
    going = sum(len(one.decision.plan.removed) + len(one.decision.leftovers) for one in judgements)
    if not going:
        return judgements
    for line in _lines(entries, judgements):
        tell(line)
    for judgement in judgements:
        if judgement.decision.plan.refusal is not None:
            note(f"these are more than half of the backups of {_name(judgement.rule.database)}")
    tell(f"Delete {going} backup{'' if going == 1 else 's'} from {place.url(place.prefix)}? [y/N] ")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Quit(Exit.FAILED, "not confirmed; nothing was deleted")
    return [_confirmed(options, entries, judgement) for judgement in judgements]


def _confirmed(options: RetentionOptions, entries: Sequence[Entry], judgement: _Judgement) -> _Judgement:
    """The same judgement, whose number a person has seen and confirmed."""
    rule = _rule(options, judgement.rule.database, str(len(judgement.decision.plan.removed)))
    return _Judgement(rule, decide(rule, entries, datetime.now(UTC)))


async def _prune_all(place: Destination, judgements: Sequence[_Judgement]) -> Pruned:
    deleted: list[str] = []
    for judgement in judgements:
        done = await prune(place.store, place.prefix, judgement.decision)
        deleted += done.deleted
        if done.failure is not None:
            return Pruned(tuple(deleted), done.failure)
    return Pruned(tuple(deleted))


def _print(
    options: RetentionOptions,
    place: Destination,
    entries: Sequence[Entry],
    judgements: Sequence[_Judgement],
    done: Pruned | None,
) -> None:
    if options.output != "table":
        emit(_document(place, judgements, done), options.output)
    elif done is None or options.yes:
        for line in _lines(entries, judgements):
            say(line)
        if not judgements:
            say(f"No backups to judge in {place.url(place.prefix)}")
    for judgement in judgements:
        if judgement.decision.plan.refusal is not None:
            error(f"{_name(judgement.rule.database)}: {judgement.decision.plan.refusal} (without --yes it asks)")
    if done is None:
        return
    if options.output == "table":
        say(f"{len(done.deleted)} backup{'' if len(done.deleted) == 1 else 's'} deleted")
    if done.failure is not None:
        error(f"{done.failure.message}; what is left goes next time")


def _lines(entries: Sequence[Entry], judgements: Sequence[_Judgement]) -> list[Any]:
    sizes = {entry.key: entry.size for entry in entries}
    rows = [
        (word, _name(judgement.rule.database), judged.key, size_text(sizes[judged.key] or 0), ", ".join(judged.reasons))
        for judgement in judgements
        for word, judged in _all(judgement.decision)
    ]
    return table(("", "DATABASE", "KEY", "SIZE", "REASON"), rows) if rows else []


def _all(decision: Decision) -> list[tuple[str, Judged]]:
    leftovers = [Judged(key, ("its object was deleted before",)) for key in decision.leftovers]
    return [
        *(("keep", judged) for judged in decision.plan.kept),
        *(("delete", judged) for judged in (*decision.plan.removed, *leftovers)),
    ]


def _document(place: Destination, judgements: Sequence[_Judgement], done: Pruned | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "url": place.url(place.prefix),
        "databases": [
            {
                "cluster": judgement.rule.database.cluster,
                "database": judgement.rule.database.database,
                "keep": [_judged_document(one) for word, one in _all(judgement.decision) if word == "keep"],
                "delete": [_judged_document(one) for word, one in _all(judgement.decision) if word == "delete"],
                "refusal": judgement.decision.plan.refusal,
            }
            for judgement in judgements
        ],
    }
    if done is not None:
        found["deleted"] = list(done.deleted)
    return found


def _judged_document(judged: Judged) -> dict[str, Any]:
    return {"key": judged.key, "reasons": list(judged.reasons)}


def _name(database: DatabaseId) -> str:
    return f"{database.cluster}/{database.database}"
