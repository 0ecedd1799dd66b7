"""`dbtether restore`: a backup back into a database, and the way back from that."""
