"""The statements that turn observed access control lists into the groups' privileges. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from psycopg import sql

from dbtether.postgres.grants.acl import PUBLIC, Acl
from dbtether.postgres.grants.model import ObjectKind
from dbtether.postgres.statement import Statement, identifiers, statement

_PRIVILEGES: Mapping[str, sql.SQL] = {
    "CONNECT": sql.SQL("CONNECT"),
    "TEMPORARY": sql.SQL("TEMPORARY"),
    "CREATE": sql.SQL("CREATE"),
    "USAGE": sql.SQL("USAGE"),
    "SELECT": sql.SQL("SELECT"),
    "INSERT": sql.SQL("INSERT"),
    "UPDATE": sql.SQL("UPDATE"),
    "DELETE": sql.SQL("DELETE"),
    "TRUNCATE": sql.SQL("TRUNCATE"),
    "REFERENCES": sql.SQL("REFERENCES"),
    "TRIGGER": sql.SQL("TRIGGER"),
    "MAINTAIN": sql.SQL("MAINTAIN"),
    "EXECUTE": sql.SQL("EXECUTE"),
}
_KINDS: Mapping[ObjectKind, sql.SQL] = {
    ObjectKind.DATABASE: sql.SQL("DATABASE"),
    ObjectKind.SCHEMA: sql.SQL("SCHEMA"),
    ObjectKind.TABLE: sql.SQL("TABLE"),
    ObjectKind.SEQUENCE: sql.SQL("SEQUENCE"),
}
_DEFAULT_KINDS: Mapping[ObjectKind, sql.SQL] = {
    ObjectKind.SCHEMA: sql.SQL("SCHEMAS"),
    ObjectKind.TABLE: sql.SQL("TABLES"),
    ObjectKind.SEQUENCE: sql.SQL("SEQUENCES"),
    ObjectKind.LARGE_OBJECT: sql.SQL("LARGE OBJECTS"),
}
# A statement for thousands of tables stays readable and its locks few.
_OBJECTS_PER_STATEMENT = 200


def privilege_differences(
    wanted: Mapping[str, frozenset[str]], observed: Acl, owner: str
) -> tuple[dict[str, frozenset[str]], dict[str, frozenset[str]]]:
    """What to grant and what to revoke, by grantee, so that the grantees of `wanted` have exactly that.

    Other grantees are left alone. Only what the owner granted is revoked: REVOKE by the owner does nothing
    to another grantor's grant (PostgreSQL documentation, REVOKE, "Notes").
    """
    grant: dict[str, frozenset[str]] = {}
    revoke: dict[str, frozenset[str]] = {}
    for grantee in sorted(wanted):
        has = {item.privilege for item in observed if item.grantee == grantee}
        revocable = {item.privilege for item in observed if item.grantee == grantee and item.grantor == owner}
        if missing := wanted[grantee] - has:
            grant[grantee] = frozenset(missing)
        if extra := revocable - wanted[grantee]:
            revoke[grantee] = frozenset(extra)
    return grant, revoke


def surplus_grant_options(wanted: Mapping[str, frozenset[str]], observed: Acl, owner: str) -> dict[str, frozenset[str]]:
    """The wanted privileges that a grantee could pass on: nobody but the owner shall."""
    found: dict[str, set[str]] = {}
    for item in observed:
        if item.grantable and item.grantor == owner and item.privilege in wanted.get(item.grantee, ()):
            found.setdefault(item.grantee, set()).add(item.privilege)
    return {grantee: frozenset(found[grantee]) for grantee in sorted(found)}


def object_grants(
    kind: ObjectKind,
    database: str,
    names: Sequence[tuple[str, ...]],
    wanted: Mapping[str, frozenset[str]],
    observed: Acl,
    owner: str,
    *,
    as_role: str | None,
    run_in: str | None = None,
) -> Iterator[Statement]:
    """GRANT and REVOKE for objects that share owner and access control list.

    `names` are qualified names; `run_in` is the database the statements run in, by default `database`.
    """
    grant, revoke = privilege_differences(wanted, observed, owner)
    options = surplus_grant_options(wanted, observed, owner)
    place = database if run_in is None else run_in
    for chunk in _chunks(names):
        objects = sql.SQL(", ").join(sql.Identifier(*name) for name in chunk)
        label = _label(kind, chunk)
        for verb, template, changes in (
            ("Revoke", "REVOKE {privileges} ON {kind} {objects} FROM {grantee}{cascade}", revoke),
            (
                "Revoke the right to grant",
                "REVOKE GRANT OPTION FOR {privileges} ON {kind} {objects} FROM {grantee} CASCADE",
                options,
            ),
            ("Grant", "GRANT {privileges} ON {kind} {objects} TO {grantee}", grant),
        ):
            for privileges, grantees in _by_privileges(changes):
                listed = ", ".join(sorted(privileges))
                preposition = "to" if verb == "Grant" else "from"
                yield statement(
                    f"{verb} {listed} on {label} {preposition} {_people(grantees)}",
                    place,
                    template,
                    as_role=as_role,
                    privileges=_privileges(privileges),
                    kind=_KINDS[kind],
                    objects=objects,
                    grantee=_grantees(grantees),
                    cascade=_cascade(observed, grantees),
                )


def default_grants(
    kind: ObjectKind,
    database: str,
    creator: str,
    wanted: Mapping[str, frozenset[str]],
    observed: Acl,
    *,
    as_role: str | None,
    schema: str | None = None,
) -> Iterator[Statement]:
    """ALTER DEFAULT PRIVILEGES of one creator, in one schema or (None) in all of them."""
    grant, revoke = privilege_differences(wanted, observed, creator)
    options = surplus_grant_options(wanted, observed, creator)
    objects = _DEFAULT_KINDS[kind].as_string(None).lower()
    in_schema: sql.Composable = sql.SQL("")
    where = ""
    if schema is not None:
        in_schema = sql.SQL(" IN SCHEMA {}").format(sql.Identifier(schema))
        where = f" in schema {schema}"
    for what, preposition, template, changes in (
        (
            "Take the right to grant",
            "from",
            (
                "ALTER DEFAULT PRIVILEGES FOR ROLE {creator}{in_schema} "
                "REVOKE GRANT OPTION FOR {privileges} ON {kind} FROM {grantee} CASCADE"
            ),
            options,
        ),
        (
            "Take",
            "from",
            "ALTER DEFAULT PRIVILEGES FOR ROLE {creator}{in_schema} REVOKE {privileges} ON {kind} FROM {grantee}",
            revoke,
        ),
        (
            "Give",
            "to",
            "ALTER DEFAULT PRIVILEGES FOR ROLE {creator}{in_schema} GRANT {privileges} ON {kind} TO {grantee}",
            grant,
        ),
    ):
        for privileges, grantees in _by_privileges(changes):
            listed = ", ".join(sorted(privileges))
            yield statement(
                f"{what} {listed} on {objects} that {creator} will create{where} {preposition} {_people(grantees)}",
                database,
                template,
                as_role=as_role,
                creator=sql.Identifier(creator),
                in_schema=in_schema,
                privileges=_privileges(privileges),
                kind=_DEFAULT_KINDS[kind],
                grantee=_grantees(grantees),
            )


def _cascade(observed: Acl, grantees: Sequence[str]) -> sql.SQL:
    # What they passed on goes with it, or the REVOKE is refused (2BP01).
    return sql.SQL(" CASCADE" if any(i.grantable and i.grantee in grantees for i in observed) else "")


def _by_privileges(
    changes: Mapping[str, frozenset[str]],
) -> Iterator[tuple[frozenset[str], tuple[str, ...]]]:
    """Grantees with the same privileges together: one statement for all of them."""
    together: dict[frozenset[str], list[str]] = {}
    for grantee, privileges in changes.items():
        together.setdefault(privileges, []).append(grantee)
    for privileges, grantees in sorted(together.items(), key=lambda item: (sorted(item[0]), item[1])):
        yield privileges, tuple(sorted(grantees))


def _privileges(names: frozenset[str]) -> sql.Composed:
    return sql.SQL(", ").join(_PRIVILEGES[name] for name in sorted(names))


def _grantees(names: Sequence[str]) -> sql.Composable:
    if PUBLIC not in names:
        return identifiers(names)
    others = [sql.Identifier(name) for name in names if name != PUBLIC]
    return sql.SQL(", ").join([sql.SQL("PUBLIC"), *others])


def _people(names: Sequence[str]) -> str:
    return ", ".join(name or "PUBLIC" for name in names)


def _label(kind: ObjectKind, names: Sequence[tuple[str, ...]]) -> str:
    first = ".".join(names[0])
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{kind.value.lower()} {first}{more}"


def _chunks(names: Sequence[tuple[str, ...]]) -> Iterator[Sequence[tuple[str, ...]]]:
    for start in range(0, len(names), _OBJECTS_PER_STATEMENT):
        yield names[start : start + _OBJECTS_PER_STATEMENT]
