"""What is observed of a server and of the admin's login."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """The server's version and what the admin's login is and may do."""

    version: str
    """As people say it: `15.4`."""
    version_number: int
    """As `server_version_num` has it: 150004."""
    admin: str
    is_superuser: bool
    can_create_roles: bool
    can_create_databases: bool
    can_signal_backends: bool
    is_in_recovery: bool
    system_identifier: str
    """Of the data directory; the same on all replicas. Empty when the server does not tell."""
    preloaded_libraries: str | None = None
    """The server's shared_preload_libraries; None when the admin may not read it."""

    @property
    def major(self) -> int:
        """The major version, 13 and up."""
        return self.version_number // 10000

    def lacks_preloaded(self, library: str) -> bool:
        """Whether the server is known not to load the library at start."""
        if self.preloaded_libraries is None:
            return False
        names = (part.strip().strip('"') for part in self.preloaded_libraries.split(","))
        return library not in {name.rsplit("/", 1)[-1].removesuffix(".so") for name in names}

    @property
    def memberships_have_options(self) -> bool:
        """Whether GRANT of a role knows INHERIT and SET, and CREATEROLE gives ADMIN on own roles only (16+)."""
        return self.major >= 16

    @property
    def acts_as_owner(self) -> bool:
        """Whether the admin works under `SET ROLE <owner>` instead of by its own inherited rights.

        A non-superuser of 16+ gets ADMIN, not INHERIT, on roles it makes, and each of its own GRANTs would
        walk all of its memberships (3,000 roles: 11 to 26 ms).
        """
        return not self.is_superuser and self.memberships_have_options
