"""What stops a restore before it changes anything, and a swap before it closes anything. Pure."""

from collections.abc import Callable

from dbtether.errors import Blocked
from dbtether.postgres.databases.drop import ObservedDatabaseDrop, foreign_session
from dbtether.postgres.databases.guards import (
    NEED_PRELOAD,
    admin_lacks_createdb,
    admin_lacks_membership,
    owner_lacks_group,
    server_is_read_only,
)
from dbtether.postgres.databases.model import DesiredDatabase, ObservedDatabase
from dbtether.postgres.guards import Verdict, first_blocked, quoted
from dbtether.postgres.restores.model import (
    DesiredStaging,
    DesiredSwap,
    ObservedSwap,
    RestoreTarget,
    replaced_in,
    staging_in,
)
from dbtether.postgres.restores.plan import staging_database
from dbtether.postgres.server.cures import attribute, grant_of_owner
from dbtether.postgres.server.guards import read_only_server

StagingGuard = Callable[[DesiredStaging, ObservedDatabase], Verdict]
SwapGuard = Callable[[DesiredSwap, ObservedSwap], Verdict]

_SHOWN = 3

# ---- what is in the target


def target_not_empty(database: str, target: RestoreTarget) -> Verdict:
    """With `fail`, nothing is restored beside or over what is there."""
    if target.objects == 0:
        return None
    return Blocked(
        "TargetNotEmpty",
        f"Database {database} has {_counted(target.objects, 'object')} ({_listed(target.examples, target.objects)}): "
        f"drop them, or give spec.onConflict: overwrite replaces them, drop replaces the database and keeps the old "
        f"one for a while",
    )


def objects_not_droppable(database: str, admins: str, target: RestoreTarget) -> Verdict:
    """With `overwrite`, all or nothing: what the admins' group may not drop would be left under the new data."""
    if target.undroppable_count == 0:
        return None
    return Blocked(
        "MissingPrivileges",
        f"Database {database} has {_counted(target.undroppable_count, 'object')} that {admins} may not drop "
        f"({_listed(target.undroppable, target.undroppable_count)}): have their owner or a DBA drop them or give them "
        f"to {quoted(admins)}, or use spec.onConflict drop",
    )


def too_many_locks(database: str, dropped: int, made: int, target: RestoreTarget) -> Verdict:
    """What one transaction drops and makes stays locked until its end, in a table of fixed size."""
    if dropped + made <= target.lock_capacity:
        return None
    return Blocked(
        "TooManyObjects",
        f"A restore into database {database} in one transaction takes about {dropped + made} locks, and the server has "
        f"room for {target.lock_capacity}: have max_locks_per_transaction raised and the server restarted, or use "
        f"spec.onConflict drop, which needs no such room",
    )


# ---- the staging database


def staging_not_ours(desired: DesiredStaging, observed: ObservedDatabase) -> Verdict:
    """A database of that name that the run did not make."""
    database = observed.database
    if database is None:
        return None
    told = staging_in(database.name, database.comment)
    is_unfinished = database.comment is None and not database.allows_connections
    is_ours = is_unfinished or (told is not None and told.run_id == desired.run_id)
    if database.owner == desired.target.roles.owner and is_ours:
        return None
    return Blocked(
        "DatabaseNotOurs",
        f"Database {database.name} exists already (owner {database.owner}) and was not made for this run: drop or "
        f"rename it",
    )


def locale_not_known(desired: DesiredStaging, observed: ObservedDatabase) -> Verdict:
    """ICU came with 15, the server's own locales with 17: data that is sorted so has nowhere to go before."""
    since = {"icu": 15, "builtin": 17}.get(desired.locale.provider, 0)
    if observed.database is not None or observed.server.major >= since:
        return None
    return Blocked(
        "LocaleNotAvailable",
        f"The backup's database sorts by locale provider {desired.locale.provider}, which PostgreSQL has since "
        f"{since}, and the server is {observed.server.version}: restore with spec.onConflict fail or "
        f"overwrite, which keep the Database's own locale, or to a newer server",
    )


def extension_not_available(desired: DesiredStaging, observed: ObservedDatabase) -> Verdict:
    """The server has no files for it."""
    return missing_extension(staging_database(desired, observed.server), observed)


def missing_extension(wanted: DesiredDatabase, observed: ObservedDatabase) -> Verdict:
    """An extension that the dump needs and that cannot be had: a load would fail in the middle.

    For a load into the Database itself as well, with all extensions in `wanted` that it shall have then.
    """
    if observed.inside is None:
        return None
    installed = {extension.name for extension in observed.inside.extensions}
    available = {extension.name: extension for extension in observed.inside.available}
    for extension in wanted.extensions:
        if extension.name in installed:
            continue
        found = available.get(extension.name)
        if found is None:
            return Blocked(
                "ExtensionNotAvailable",
                f"The backup needs extension {extension.name}, which is not available on this server: have its package "
                f"installed there, or restore to a server that has it",
            )
        is_allowed = extension.name in wanted.allowed_extensions
        if not found.trusted and not is_allowed:
            return Blocked(
                "ExtensionNotAllowed",
                f"The backup needs extension {extension.name}, which is not a trusted one (it runs with the admin's "
                f"power): ask for it in the DBCluster's spec.allowedExtensions",
            )
        if observed.server.lacks_preloaded(extension.name) and extension.name in NEED_PRELOAD:
            return Blocked(
                "ExtensionNeedsPreload",
                f"The backup needs extension {extension.name}, which works only when the server loads it at start: "
                f"have {extension.name} added to shared_preload_libraries and the server restarted",
            )
    return None


STAGING_GUARDS: tuple[StagingGuard, ...] = (staging_not_ours, locale_not_known, extension_not_available)


def staging_blocked(desired: DesiredStaging, observed: ObservedDatabase) -> Verdict:
    """The first thing that stops the staging database from being made, or None."""
    wanted = staging_database(desired, observed.server)
    shared = (server_is_read_only, admin_lacks_createdb, admin_lacks_membership, owner_lacks_group)
    return first_blocked(shared, wanted, observed) or first_blocked(STAGING_GUARDS, desired, observed)


# ---- the swap


def swap_on_read_only_server(_: DesiredSwap, observed: ObservedSwap) -> Verdict:
    """Nothing can be changed there."""
    return read_only_server(observed.server)


def target_is_the_maintenance_database(desired: DesiredSwap, observed: ObservedSwap) -> Verdict:
    """The swap works from within it; closed, not even the admin would come back."""
    if desired.database != observed.maintenance_database:
        return None
    return Blocked(
        "DatabaseInUse",
        f"Database {desired.database} is the one that the DBCluster connects to (spec.database), and cannot be "
        f"renamed: name another there, or use spec.onConflict overwrite",
    )


def target_not_ours(desired: DesiredSwap, observed: ObservedSwap) -> Verdict:
    """Only a database of this resource gives way."""
    target = observed.target
    if target is None:
        return Blocked(
            "DatabaseNotFound",
            f"Database {desired.database} is not on the server any more: its Database resource makes it anew when it "
            f"is reconciled; then try again",
        )
    if target.owner in {desired.roles.owner, *desired.known_owners}:
        return None
    return Blocked(
        "DatabaseNotOurs",
        f"Database {desired.database} belongs to {target.owner} now, who is not this Database's owner: nothing was "
        f"swapped; give it back with ALTER DATABASE {quoted(desired.database)} OWNER TO {quoted(desired.roles.owner)}",
    )


def incoming_missing(desired: DesiredSwap, observed: ObservedSwap) -> Verdict:
    """A staging database that somebody dropped, or a replaced one whose time is over."""
    if observed.incoming is not None:
        return None
    return Blocked(
        "DatabaseNotFound",
        f"Database {desired.incoming}, which was to take the place of {desired.database}, is not on the server: it was "
        f"dropped, or its time is over; {desired.database} stays as it is",
    )


def incoming_not_ours(desired: DesiredSwap, observed: ObservedSwap) -> Verdict:
    """The name alone does not make it this resource's."""
    incoming = observed.incoming
    if incoming is None:
        return None
    told = staging_in(incoming.name, incoming.comment) or replaced_in(incoming.name, incoming.comment)
    if incoming.owner in {desired.roles.owner, *desired.known_owners} and told and told.marker == desired.marker:
        return None
    return Blocked(
        "DatabaseNotOurs",
        f"Database {desired.incoming} was not made for this Database (owner {incoming.owner}): nothing was swapped",
    )


def name_taken(desired: DesiredSwap, observed: ObservedSwap) -> Verdict:
    """The target could not be kept under its name."""
    if observed.outgoing is None or observed.incoming is None:
        return None
    return Blocked(
        "DatabaseNotOurs",
        f"Database {desired.outgoing} exists already, so {desired.database} cannot be kept under that name: drop or "
        f"rename it",
    )


def target_closed_by_somebody(desired: DesiredSwap, observed: ObservedSwap) -> Verdict:
    """A swap opens the name at its end: what a person has closed stays closed."""
    target = observed.target
    if target is None or target.allows_connections or observed.is_swapping:
        return None
    return Blocked(
        "DatabaseClosed",
        f"Database {desired.database} does not allow connections, and no swap has closed it: when that is no longer "
        f"wanted, run ALTER DATABASE {quoted(desired.database)} WITH ALLOW_CONNECTIONS true",
    )


def owner_out_of_reach(desired: DesiredSwap, observed: ObservedSwap) -> Verdict:
    """RENAME asks for the rights of both owners, and for CREATEDB."""
    server = observed.server
    if server.is_superuser or observed.target is None:
        return None
    if not server.can_create_databases:
        return Blocked(
            "MissingPrivileges",
            f"The admin cannot rename database {desired.database}: a DBA must run "
            f"{attribute(server.admin, 'CREATEDB')}",
        )
    owner = observed.roles.get(desired.roles.owner)
    can_act = owner is not None and any(
        edge.member == server.admin and (edge.admin_option or not server.memberships_have_options)
        for edge in owner.members
    )
    if can_act:
        return None
    return Blocked(
        "MissingPrivileges",
        f"The admin {server.admin} has no rights on role {desired.roles.owner}: a DBA must run "
        f"{grant_of_owner(desired.roles.owner, server.admin)}",
    )


def somebody_stays(desired: DesiredSwap, observed: ObservedSwap) -> Verdict:
    """Sessions that the admin may not end."""
    for database in (observed.target, observed.incoming):
        if database is not None:
            looked = ObservedDatabaseDrop(
                observed.server, database, observed.roles, observed.sessions.get(database.name, ())
            )
            if (found := foreign_session(database.name, looked)) is not None:
                return found
    return None


def transaction_is_prepared(desired: DesiredSwap, observed: ObservedSwap) -> Verdict:
    """It counts as a session, and only whoever prepared it, or a superuser, can end it."""
    for name, found in sorted(observed.obstacles.items()):
        if found.prepared:
            return Blocked(
                "DatabaseInUse",
                f"Database {name} has a prepared transaction ({_listed(found.prepared, len(found.prepared))}), and "
                f"cannot be renamed until it ends: COMMIT PREPARED or ROLLBACK PREPARED it there",
            )
    return None


def slot_streams_it(desired: DesiredSwap, observed: ObservedSwap) -> Verdict:
    """A logical slot belongs to the database that gives way: what reads it would see nothing of the new one."""
    found = observed.obstacles.get(desired.database)
    if found is None or not found.slots:
        return None
    return Blocked(
        "DatabaseInUse",
        f"Logical replication slot {_listed(found.slots, len(found.slots))} reads database {desired.database}, and "
        f"would stay with the replaced one: drop it (SELECT pg_drop_replication_slot(...)) and make it anew "
        f"afterwards, or use spec.onConflict overwrite",
    )


def subscription_fills_it(desired: DesiredSwap, observed: ObservedSwap) -> Verdict:
    """It belongs to the database that gives way, and its worker comes back into it."""
    found = observed.obstacles.get(desired.database)
    if found is None or not found.subscriptions:
        return None
    return Blocked(
        "DatabaseInUse",
        f"Subscription {_listed(found.subscriptions, len(found.subscriptions))} fills database {desired.database}, and "
        f"would stay with the replaced one: drop it there and make it anew afterwards",
    )


SWAP_GUARDS: tuple[SwapGuard, ...] = (
    swap_on_read_only_server,
    target_is_the_maintenance_database,
    target_not_ours,
    incoming_missing,
    incoming_not_ours,
    name_taken,
    target_closed_by_somebody,
    owner_out_of_reach,
    transaction_is_prepared,
    slot_streams_it,
    subscription_fills_it,
    somebody_stays,
)


def swap_blocked(desired: DesiredSwap, observed: ObservedSwap) -> Verdict:
    """The first thing that stops the swap, or None; nothing stops one that is done."""
    return None if observed.is_done else first_blocked(SWAP_GUARDS, desired, observed)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _listed(names: tuple[str, ...], count: int) -> str:
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} and {count - _SHOWN} more" if count > _SHOWN else shown
