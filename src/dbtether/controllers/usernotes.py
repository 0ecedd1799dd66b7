"""What people should know of a login beyond its spec: what others gave it, and what it was adopted with. Pure."""

from collections.abc import Iterator, Mapping

from dbtether.api.model import MAX_STATUS_ENTRIES
from dbtether.api.names import ROLE_PREFIX, Group
from dbtether.postgres.roles.model import DesiredLogin, ObservedLogin, Role, role_names

_SHOWN = 3
"""How many names stand in a sentence."""


def gifts(desired: DesiredLogin, observed: ObservedLogin) -> list[str]:
    """What the login has from others, and who acts as it: never taken away, since it is not ours."""
    role = observed.role
    if role is None:
        return []
    server = observed.server
    foreign = sorted({e.role for e in role.memberships if not e.role.startswith(ROLE_PREFIX)})
    members = sorted(
        {e.member for e in role.members if e.member != server.admin and not e.member.startswith(ROLE_PREFIX)}
    )
    ours = {item.database for item in desired.access}
    others = sorted(
        found.database
        for found in role.on_databases
        if found.database not in ours and found.owner != role_names(found.database).owner
    )
    notes = []
    if foreign:
        notes.append(f"it is also in role {_names(foreign)}, by somebody else's grant, with all that gives")
    if members:
        notes.append(f"{_names(members)} can act as it, and so reach its databases")
    if others:
        notes.append(f"it has privileges of its own on database {_names(others)}")
    return notes


def brought_along(desired: DesiredLogin, observed: ObservedLogin) -> list[str]:
    """What an adopted login keeps of what it had, one sentence each."""
    role, belongings = observed.role, observed.belongings
    if role is None or belongings is None:
        return []
    notes = list(_reached(desired, role, belongings.roles))
    handed = {item.database for item in desired.access if item.group is Group.ADMIN}
    owned = {name: count for name, count in belongings.dependents.owned.items() if name and name not in handed}
    notes += [
        f"owns {_objects(count)} in database {name}, which other users there see only when it grants that"
        for name, count in sorted(owned.items())
    ]
    granted = {name: count for name, count in belongings.dependents.granted.items() if name}
    notes += [f"has privileges of its own on {_objects(count)} in database {name}" for name, count in granted.items()]
    settings = sorted(_kept_settings(desired, role.settings))
    if settings:
        notes.append(f"keeps its setting {_names(settings)}")
    return notes[:MAX_STATUS_ENTRIES]


def _reached(desired: DesiredLogin, role: Role, roles: tuple[str, ...]) -> Iterator[str]:
    """Groups of other databases that it is in by way of a role of somebody else's."""
    direct = {edge.role for edge in role.memberships}
    own = {name for item in desired.access for name in role_names(item.database).all}
    through = [name for name in roles if name.startswith(ROLE_PREFIX) and name not in direct | own]
    if through:
        yield f"can act as {_names(through)} by way of another role, and so reach a database that is not its own"


def _kept_settings(desired: DesiredLogin, settings: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    wanted = {name for name, _ in desired.settings} | {"role"}
    for database, items in settings.items():
        for item in items:
            name = item.partition("=")[0]
            if name not in wanted or (database and name != "role"):
                yield f"{name} in database {database}" if database else name


def _objects(count: int) -> str:
    return f"{count} object{'' if count == 1 else 's'}"


def _names(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
