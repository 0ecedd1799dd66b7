"""Running a plan: in order, batch by batch, one transaction each where PostgreSQL allows it.

Apply never plans. What fails is rolled back and reported with the purpose of the statement.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import psycopg
from psycopg import pq, sql

from dbtether.errors import Blocked, DbtetherError, Retryable
from dbtether.postgres.errors import ConnectError, classify, connect_failure
from dbtether.postgres.pool import Connection, Pool
from dbtether.postgres.sharedwriter import Part, SharedWriter
from dbtether.postgres.statement import Batch, Statement, batches, commands

audit = logging.getLogger("dbtether.audit")

Fence = Callable[[], None]
"""Raises when this process must not write any more: another one may have taken its place."""


def no_fence() -> None:
    """For a process that nobody takes the place of."""


# Advisory locks are per database: those of the shared catalogs are all taken in the maintenance database.
_LOCK_CLASS = 0x64627465
_LOCK = sql.SQL("SELECT pg_catalog.pg_advisory_xact_lock({}, {})")
_TRIES = 4
# 01007 no privileges were granted, 01006 no privileges could be revoked: the command says GRANT, yet failed.
_FAILING_WARNINGS = {"01006", "01007"}
_GRANTING = ("GRANT", "REVOKE", "ALTER DEFAULT PRIVILEGES", "DROP OWNED")


async def apply(
    pool: Pool,
    maintenance_database: str,
    statements: Sequence[Statement],
    subject: str,
    shared_writer: SharedWriter,
    fence: Fence = no_fence,
) -> None:
    """Run the statements; `subject` names the resource in the audit log.

    Raises Retryable or Blocked for the first that fails; its batch leaves nothing behind. The fence is asked
    before each batch and before each COMMIT.
    """
    for batch in batches(statements):
        part = Part(batch, subject)
        if batch.transactional and not batch.database:
            await shared_writer.write(part)
        else:
            await run_parts(pool, batch.database or maintenance_database, [part], fence=fence)


async def rehearse(pool: Pool, maintenance_database: str, statements: Sequence[Statement]) -> None:
    """Run what concerns the shared catalogs and roll it back. Raises Retryable or Blocked, as `apply` would."""
    for batch in batches(statements):
        if batch.transactional and not batch.database:
            try:
                async with pool.connection(maintenance_database) as connection:
                    await _run_transaction(connection, batch, no_fence, ending="ROLLBACK")
            except ConnectError as error:
                raise connect_failure(error, _doing(batch.statements[0])) from None


async def run_parts(pool: Pool, database: str, parts: Sequence[Part], *, fence: Fence = no_fence) -> None:
    """Run parts of one kind on one connection, in one transaction where they allow it. All or nothing.

    A lost race on a catalog row is run again at once, a few times. Raises Retryable or Blocked.
    """
    for attempt in range(1, _TRIES + 1):
        try:
            await _run(pool, database, parts, fence)
        except Retryable as error:
            # Only a race on catalog rows is worth an immediate second try; the rest waits its back-off.
            if error.reason != "Retrying" or attempt == _TRIES:
                raise
            await asyncio.sleep(0.02 * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
        else:
            return


async def _run(pool: Pool, database: str, parts: Sequence[Part], fence: Fence) -> None:
    first = parts[0].batch
    started = time.perf_counter()
    try:
        async with pool.connection(database) as connection:
            fence()
            if first.transactional:
                everything = tuple(item for part in parts for item in part.batch.statements)
                await _run_transaction(connection, replace(first, statements=everything), fence)
            else:
                await _run_alone(connection, first, fence)
    except ConnectError as error:
        raise connect_failure(error, f"{_doing(first.statements[0])} in database {database}") from None
    for part in parts:
        _audit(part.batch, part.subject, time.perf_counter() - started)


async def _run_transaction(
    connection: Connection, batch: Batch, fence: Fence, *, ending: Literal["COMMIT", "ROLLBACK"] = "COMMIT"
) -> None:
    refusals: list[str] = []

    def listen(notice: psycopg.errors.Diagnostic) -> None:
        # Read at once: libpq frees the notice when this returns.
        if notice.sqlstate in _FAILING_WARNINGS:
            refusals.append(notice.message_primary or "")

    connection.add_notice_handler(listen)
    sent: list[_Sent] = []
    try:
        await _send(connection, batch, sent)
        if refusals:
            raise _not_granted(refusals[0], sent)
        # Between this and the COMMIT lies less than the server lets a transaction idle.
        fence()
        await connection.execute(ending)
    except psycopg.Error as error:
        failed = next((one.item for one in sent if one.item and one.cursor.statusmessage is None), None)
        raise _refused(error, failed or batch.statements[0]) from None
    finally:
        connection.remove_notice_handler(listen)
        await _roll_back(connection)


@dataclass(frozen=True, slots=True)
class _Sent:
    item: Statement | None
    cursor: psycopg.AsyncCursor[tuple[object, ...]]


async def _send(connection: Connection, batch: Batch, sent: list[_Sent]) -> None:
    """BEGIN, the lock and the statements in one round trip; COMMIT waits for the warnings."""
    failure: psycopg.Error | None = None
    try:
        async with connection.pipeline() as pipeline:
            try:
                await connection.execute("BEGIN")
                await connection.execute(_LOCK.format(_LOCK_CLASS, 2 if batch.database else 1))
                for item, query in commands(batch):
                    sent.append(_Sent(item, await connection.execute(query)))
                await pipeline.sync()
            except psycopg.Error as error:
                failure = error
    except psycopg.Error as error:
        # What comes after the first error only says that the pipeline was aborted.
        failure = failure or error
    if failure is not None:
        raise failure


def _refused(error: psycopg.Error, item: Statement) -> DbtetherError:
    """What the failure means; a password that a policy of the server refuses has no SQLSTATE of its own."""
    found = classify(error, _doing(item))
    if not item.holds_secret or not isinstance(found, Blocked) or found.reason != "StatementRefused":
        return found
    return Blocked(
        "PasswordRejected",
        f"{found.message}; a password policy of the server may be why: put another password into the Secret (for a "
        f"generated one, raise spec.password.length and delete the Secret)",
    )


def _not_granted(warning: str, sent: Sequence[_Sent]) -> Blocked:
    purposes = "; ".join(dict.fromkeys(one.item.purpose for one in sent if one.item and _is_grant(one.item)))
    return Blocked(
        "MissingPrivileges",
        f"The server answered {warning!r} to: {purposes}; the admin lacks the grant option there",
    )


async def _run_alone(connection: Connection, batch: Batch, fence: Fence) -> None:
    item = batch.statements[0]
    try:
        for _, query in commands(batch):
            fence()
            await connection.execute(query)
    except psycopg.Error as error:
        # The session may still be in another role: it must not go back to the pool.
        await connection.close()
        raise classify(error, _doing(item)) from None
    except BaseException:
        await connection.close()
        raise


async def _roll_back(connection: Connection) -> None:
    if connection.closed or connection.info.transaction_status == pq.TransactionStatus.IDLE:
        return
    try:
        await connection.rollback()
    except psycopg.Error:
        await connection.close()


def _audit(batch: Batch, subject: str, seconds: float) -> None:
    for item in batch.statements:
        audit.info(
            "%s: %s",
            subject,
            item.purpose,
            extra={"subject": subject, "database": batch.database, "duration_seconds": round(seconds, 4)},
        )


def _is_grant(item: Statement) -> bool:
    return item.query.as_string(None).lstrip().upper().startswith(_GRANTING)


def _doing(item: Statement) -> str:
    purpose = item.purpose
    return purpose[:1].lower() + purpose[1:]
