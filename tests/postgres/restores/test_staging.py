"""The login and the staging database of a load: both hold as little as possible, and nobody else gets in."""

import psycopg
import pytest
from tests.postgres.core import execute, left_of
from tests.postgres.restores.restoring import Restore, in_a_restore
from tests.servers.fixtures import Admin

from dbtether.api.names import Group
from dbtether.errors import Blocked
from dbtether.postgres.databases.model import DesiredExtension, DesiredSchema
from dbtether.postgres.restores.model import DesiredLocale, Staging, committed_name, committed_run
from dbtether.postgres.restores.plan import plan_staging


def test_a_load_works_as_the_admins_group_in_a_database_of_its_own(admin: Admin, unique: str) -> None:
    async def scenario(found: Restore) -> None:
        await found.stage()
        await found.begin(found.staging)
        [(current, session)] = found.as_run(
            found.staging,
            "CREATE TABLE public.t (word text)",
            "CREATE TABLE app.t (word text)",
            "CREATE SCHEMA more",
            "SELECT current_user::text, session_user::text",
        )
        assert (current, session) == (found.target.roles.groups[Group.ADMIN], found.login)
        owners = found.superuser_reads(
            "SELECT DISTINCT tableowner::text FROM pg_tables WHERE tablename = 't'", found.staging
        )
        assert owners == [(found.target.roles.groups[Group.ADMIN],)]
        found.as_run(found.staging, "SELECT public.similarity('a', 'a'), ext.levenshtein('a', 'a')")
        assert await found.stage() == ()
        # Only the password is anew: it cannot be read back.
        assert len(await found.begin(found.staging)) == 1
        await found.drop_staging()
        await found.end()
        assert not {found.staging, found.login} & set(left_of(admin, found.run_id))

    in_a_restore(
        admin,
        unique,
        scenario,
        schemas=(DesiredSchema("app"), DesiredSchema("ext")),
        extensions=(DesiredExtension("pg_trgm"), DesiredExtension("fuzzystrmatch", schema="ext")),
    )


def test_schemas_of_extensions_are_made_before_them(admin: Admin, unique: str) -> None:
    async def scenario(found: Restore) -> None:
        found.extensions = (DesiredExtension("fuzzystrmatch", schema="ext"),)
        await found.stage()
        assert found.superuser_reads("SELECT ext.levenshtein('a', 'b')", found.staging) == [(1,)]
        await found.drop_staging()

    in_a_restore(admin, unique, scenario)


def test_nobody_but_the_load_gets_into_a_staging_database(admin: Admin, unique: str) -> None:
    async def scenario(found: Restore) -> None:
        await found.stage()
        await found.begin(found.staging)
        assert found.may_connect(found.login, found.staging)
        assert not found.may_connect(found.login, found.name)
        for name in (found.dev.name, found.reader.name):
            assert not found.may_connect(name, found.staging)
        for text in (
            "COMMENT ON DATABASE {} IS 'dbtether-staging: other/app@test run 00000000'",
            "ALTER DATABASE {} ALLOW_CONNECTIONS false",
            "GRANT CONNECT ON DATABASE {} TO PUBLIC",
            "DROP DATABASE {}",
            "ALTER DATABASE {} RENAME TO other",
        ):
            with pytest.raises(psycopg.Error, match=r"owner|privileges|denied"):
                found.as_login(found.dev.name, found.name, *_strictly(text.replace("{}", f'"{found.staging}"')))
        group = found.target.roles.groups[Group.READWRITE]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            found.as_login(found.dev.name, found.name, f"COMMENT ON ROLE \"{group}\" IS 'dbtether-restores: x@y'")
        await found.drop_staging()

    in_a_restore(admin, unique, scenario)


def _strictly(text: str) -> tuple[str, ...]:
    """A GRANT without the right to it only warns: look whether it changed anything."""
    if not text.startswith("GRANT"):
        return (text,)
    return (text, "DO $$ BEGIN RAISE EXCEPTION 'no privileges were granted'; END $$")


def test_a_login_that_leaves_its_group_has_nothing(admin: Admin, unique: str) -> None:
    async def scenario(found: Restore) -> None:
        await found.stage()
        await found.begin(found.staging)
        found.as_run(found.staging, "CREATE TABLE app.t AS SELECT 1 AS id")
        for text in ("SELECT * FROM app.t", "CREATE TABLE app.mine ()", "CREATE SCHEMA mine", "CREATE TEMP TABLE x ()"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                found.as_run(found.staging, "SET ROLE NONE", text)
        for text in ("SET ROLE {owner}", "SET ROLE {admin}"):
            role = {"{owner}": found.target.roles.owner, "{admin}": admin.user}[text.split()[-1]]
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                found.as_run(found.staging, f'SET ROLE "{role}"')
        await found.drop_staging()

    in_a_restore(admin, unique, scenario, schemas=(DesiredSchema("app"),))


def test_a_login_ends_although_a_dump_gave_it_objects_and_privileges(admin: Admin, unique: str) -> None:
    async def scenario(found: Restore) -> None:
        await found.begin(found.name)
        found.as_run(
            found.name,
            "CREATE TABLE public.given ()",
            f'GRANT SELECT ON public.given TO "{found.login}"',
            "SET ROLE NONE",
            "SELECT lo_create(4711)",
        )
        assert found.may_connect(found.login, found.name)
        await found.end()
        assert (await found.server.shared([found.login])).roles == {}
        assert found.superuser_reads("SELECT lomowner::regrole::text FROM pg_largeobject_metadata", found.name) == [
            (found.target.roles.groups[Group.ADMIN],)
        ]

    in_a_restore(admin, unique, scenario)


def test_the_server_tells_whether_a_load_was_committed(admin: Admin, unique: str) -> None:
    async def scenario(found: Restore) -> None:
        await found.begin(found.name)
        text = f"ALTER ROLE \"{found.login}\" SET application_name = '{committed_name(found.run_id)}'"
        for ending, committed in (("ROLLBACK", False), ("COMMIT", True)):
            found.as_run(found.name, "BEGIN", "SET LOCAL ROLE NONE", text, ending)
            role = (await found.server.shared([found.login])).roles[found.login]
            assert committed_run(role, found.run_id) is committed

    in_a_restore(admin, unique, scenario)


def test_a_staging_database_is_told_and_only_the_runs_own_is_dropped(admin: Admin, unique: str) -> None:
    async def scenario(found: Restore) -> None:
        await found.stage()
        marker, roles = found.target.marker, found.target.roles
        restores = await found.server.restores(found.name, marker, roles)
        assert restores.staging == (Staging(found.staging, found.run_id, marker),)
        execute(admin, "COMMENT ON DATABASE {} IS 'somebody wrote this'", found.staging)
        assert (await found.server.restores(found.name, marker, roles)).staging == ()
        assert await found.drop_staging() == ()
        with pytest.raises(Blocked, match="was not made for this run") as caught:
            await found.stage()
        assert caught.value.reason == "DatabaseNotOurs"
        execute(admin, "COMMENT ON DATABASE {} IS NULL", found.staging)
        execute(admin, "ALTER DATABASE {} ALLOW_CONNECTIONS false", found.staging)
        # As a creation leaves it that was interrupted.
        assert (await found.server.restores(found.name, marker, roles)).staging == (
            Staging(found.staging, found.run_id, None),
        )
        assert await found.drop_staging() != ()
        assert found.staging not in left_of(admin, unique)

    in_a_restore(admin, unique, scenario)


LOCALES = {
    "libc": DesiredLocale("UTF8", "libc", "C", "C"),
    "LATIN1": DesiredLocale("LATIN1", "libc", "C", "C"),
    "icu": DesiredLocale("UTF8", "icu", "C", "C", "de"),
    "builtin": DesiredLocale("UTF8", "builtin", "C", "C", "C.UTF-8"),
}


@pytest.mark.parametrize("provider", LOCALES)
def test_a_staging_database_sorts_as_the_backups_did(admin: Admin, unique: str, provider: str) -> None:
    async def scenario(found: Restore) -> None:
        found.locale = locale = LOCALES[provider]
        major = found.server.facts.major
        if major < {"icu": 15, "builtin": 17}.get(provider, 0):
            with pytest.raises(Blocked, match="which PostgreSQL has since") as caught:
                await found.stage()
            assert caught.value.reason == "LocaleNotAvailable"
            return
        try:
            await found.stage()
        except Blocked as blocked:
            # A build without ICU.
            if (provider, blocked.reason) != ("icu", "LocaleNotAvailable"):
                raise
            return
        shared = await found.server.shared([], [found.staging])
        assert DesiredLocale.of(shared.databases[found.staging]) == locale
        desired, observed = await found.look_at_staging()
        assert plan_staging(desired, observed) == ()
        await found.drop_staging()

    in_a_restore(admin, unique, scenario)


def test_a_locale_that_the_server_lacks_is_refused_in_one_sentence(admin: Admin, unique: str) -> None:
    async def scenario(found: Restore) -> None:
        found.locale = DesiredLocale("UTF8", "libc", "xx_YY.UTF-8", "xx_YY.UTF-8")
        with pytest.raises(Blocked, match="have it installed on the server") as caught:
            await found.stage()
        assert caught.value.reason == "LocaleNotAvailable"
        assert found.staging not in left_of(admin, unique)

    in_a_restore(admin, unique, scenario)


@pytest.mark.parametrize(
    ("extension", "reason"),
    [("no_such", "ExtensionNotAvailable"), ("adminpack", "ExtensionNotAllowed"), ("file_fdw", "ExtensionNotAllowed")],
)
def test_an_extension_that_cannot_be_had_is_told_before_anything_is_made(
    admin: Admin, unique: str, extension: str, reason: str
) -> None:
    if extension == "adminpack" and admin.server.build.major >= 17:
        reason = "ExtensionNotAvailable"

    async def scenario(found: Restore) -> None:
        found.extensions = (DesiredExtension(extension),)
        with pytest.raises(Blocked, match="The backup needs extension") as caught:
            await found.stage()
        assert caught.value.reason == reason
        assert found.staging not in left_of(admin, unique)

    in_a_restore(admin, unique, scenario)
