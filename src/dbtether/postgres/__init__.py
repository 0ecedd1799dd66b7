"""The PostgreSQL core: observe (catalog to facts), plan (pure), guards (pure), apply."""
