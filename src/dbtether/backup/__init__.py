"""Dumps of databases: taking them, proving them, keeping as many as a policy says."""
