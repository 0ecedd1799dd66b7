"""Roles: the owner and group roles of a database, and the logins of users."""
