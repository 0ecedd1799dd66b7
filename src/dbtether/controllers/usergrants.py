"""What a DatabaseUser's reconcile does about the roles that its Databases make for additional grants: it waits."""

from dbtether.controllers.base import Waiting, World
from dbtether.controllers.grants import refuse_too_many
from dbtether.controllers.userlogin import User
from dbtether.controllers.userplaces import Place
from dbtether.errors import Blocked, Retryable
from dbtether.postgres.guards import first_blocked
from dbtether.postgres.roles.guards import GUARDS
from dbtether.postgres.roles.model import ObservedLogin


async def refuse_by_guards(world: World, user: User, observed: ObservedLogin) -> None:
    """Raise what keeps the login's plan from being run: Blocked, Retryable, or Waiting for a Database."""
    blocked = first_blocked(GUARDS, user.desired(), observed)
    if blocked is None:
        return
    if blocked.reason == "DatabaseNotReady":
        # The Database makes its roles again without a change that would wake this user.
        raise Retryable(blocked.reason, blocked.message)
    if blocked.reason == "GrantsNotReady":
        await _wait_for_grants(world, user, observed, blocked)
    raise blocked


async def _wait_for_grants(world: World, user: User, observed: ObservedLogin, blocked: Blocked) -> None:
    """Have the Databases make the roles; they wake the user. Raises Waiting, or Blocked for too many."""
    for place in user.places:
        if place.grant_role is None or place.grant_role in observed.roles:
            continue
        database = await world.store.get(place.key)
        world.wake(place.key)
        if database is not None:
            refuse_too_many(database)
    raise Waiting(blocked.reason, blocked.message)


async def waiting_grants(world: World, place: Place) -> str | None:
    """What the additional grants in a database wait for, as its Database tells; None when nothing is missing."""
    database = None if place.grant_role is None else await world.store.get(place.key)
    entries = () if database is None else database.status.get("waitingGrants", ())
    found = (entry for entry in entries if isinstance(entry, dict) and entry.get("role") == place.grant_role)
    return next((str(entry["message"]) for entry in found), None)
