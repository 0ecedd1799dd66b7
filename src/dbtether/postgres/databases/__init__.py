"""Databases: their owner and group roles, creation, privileges inside, extensions, deletion."""
