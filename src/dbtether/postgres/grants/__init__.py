"""Privileges: access control lists as observed, what the groups should have, and the difference."""
