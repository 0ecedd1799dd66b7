"""What PostgreSQL must have, tell and do for a restore: what is in the target, a staging database, the swap."""
