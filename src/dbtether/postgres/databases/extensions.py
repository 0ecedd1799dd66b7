"""The statements for a database's extensions. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from psycopg import sql

from dbtether.postgres.databases.model import AvailableExtension, DesiredDatabase, DesiredExtension, Inside
from dbtether.postgres.statement import Statement, statement


def extension_statements(desired: DesiredDatabase, inside: Inside, *, as_role: str | None) -> Iterator[Statement]:
    """What installs, updates, moves and drops extensions."""
    installed = {extension.name: extension for extension in inside.extensions}
    available = {extension.name: extension for extension in inside.available}
    for extension in _requirements_first(desired.extensions, available):
        found = installed.get(extension.name)
        name = sql.Identifier(extension.name)
        if found is None:
            yield statement(
                f"Install extension {extension.name} in database {desired.name}",
                desired.name,
                "CREATE EXTENSION {name}{schema}{version}",
                as_role=as_role,
                name=name,
                schema=_clause(sql.SQL(" SCHEMA {}"), _schema_for(extension, available.get(extension.name))),
                version=_clause(sql.SQL(" VERSION {}"), extension.version),
            )
            continue
        if extension.version and found.version != extension.version:
            yield statement(
                f"Update extension {extension.name} from {found.version} to {extension.version}",
                desired.name,
                "ALTER EXTENSION {name} UPDATE TO {version}",
                as_role=as_role,
                name=name,
                version=sql.Identifier(extension.version),
            )
        if extension.schema and found.schema != extension.schema:
            yield statement(
                f"Move extension {extension.name} from schema {found.schema} to {extension.schema}",
                desired.name,
                "ALTER EXTENSION {name} SET SCHEMA {schema}",
                as_role=as_role,
                name=name,
                schema=sql.Identifier(extension.schema),
            )
    yield from _dropped_extensions(desired, installed, as_role)


def _schema_for(extension: DesiredExtension, available: AvailableExtension | None) -> str | None:
    """Where it goes: without a word, CREATE EXTENSION would take our own session's first schema, pg_catalog."""
    fixed = available is not None and available.schema is not None
    return extension.schema or (None if fixed else "public")


def _requirements_first(
    extensions: Sequence[DesiredExtension], available: Mapping[str, AvailableExtension]
) -> tuple[DesiredExtension, ...]:
    """The extensions in their order, each after those of them that it requires."""
    by_name = {extension.name: extension for extension in extensions}
    ordered: dict[str, DesiredExtension] = {}

    def add(name: str, waiting: frozenset[str]) -> None:
        if name not in by_name or name in ordered or name in waiting:
            return
        for required in available[name].requires if name in available else ():
            add(required, waiting | {name})
        ordered[name] = by_name[name]

    for name in by_name:
        add(name, frozenset())
    return tuple(ordered.values())


def _dropped_extensions(
    desired: DesiredDatabase, installed: Mapping[str, object], as_role: str | None
) -> Iterator[Statement]:
    """Only what this resource once listed, only when told to, and never CASCADE."""
    if not desired.drop_extensions:
        return
    wanted = {extension.name for extension in desired.extensions}
    for name in sorted(set(desired.previous_extensions) & set(installed) - wanted):
        yield statement(
            f"Drop extension {name} from database {desired.name}",
            desired.name,
            "DROP EXTENSION {name}",
            as_role=as_role,
            destructive=True,
            name=sql.Identifier(name),
        )


def _clause(template: sql.SQL, value: str | None) -> sql.Composable:
    return sql.SQL("") if value is None else template.format(sql.Identifier(value))
