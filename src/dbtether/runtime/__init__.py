"""The machinery that runs reconciles: queue, store port, local state. Knows nothing of PostgreSQL."""
