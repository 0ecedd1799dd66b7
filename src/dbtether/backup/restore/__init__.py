"""Reads a stored dump, judges it and loads it: as a job that knows nothing of resources."""
