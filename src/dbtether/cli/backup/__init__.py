"""`dbtether backup`: take backups, and look at those that a store has."""
