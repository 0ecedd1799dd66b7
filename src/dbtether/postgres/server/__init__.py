"""The server as a whole: version, the admin's own rights."""
