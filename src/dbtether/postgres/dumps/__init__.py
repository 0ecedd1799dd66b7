"""What PostgreSQL must have and tell for a dump: a login for the run, what it can read, the database's facts."""
