-- Large objects, each of another kind.
SELECT lo_from_bytea(990001, decode(repeat('00ff5c2e0a0d', 200000), 'hex'));
SELECT lo_from_bytea(990002, '\x5c2e0a');
SELECT lo_create(990003);
SELECT lo_from_bytea(990004, 'text of a large object: it''s \\. and \\N');
COMMENT ON LARGE OBJECT 990001 IS 'large; it''s
"an object"';
GRANT SELECT ON LARGE OBJECT 990001 TO PUBLIC;
GRANT SELECT, UPDATE ON LARGE OBJECT 990002 TO {reporter} WITH GRANT OPTION;
CREATE TABLE data.with_objects (id int, object oid);
INSERT INTO data.with_objects VALUES (1, 990001), (2, 990004);

-- Grants of every kind, to PUBLIC and to roles of the server.
GRANT SELECT ON data.tree, data.simple, data.totals TO PUBLIC;
GRANT SELECT, INSERT ON data.husband TO {reporter};
GRANT SELECT ON data.wife TO {reporter} WITH GRANT OPTION;
GRANT ALL ON "Sales"."Order" TO {auditor};
GRANT SELECT (id, name), UPDATE (name) ON data.indexed TO {reporter};
GRANT SELECT (n) ON data.indexed TO PUBLIC;
GRANT INSERT ("co.l ""c"" 'z' \ é") ON "we.ird ""q"" 'x' \ ünï"."ta.ble ""t"" 'y' \ 🐘" TO {auditor} WITH GRANT OPTION;
GRANT REFERENCES (id), TRIGGER ON data.tree TO {auditor};
GRANT USAGE ON SEQUENCE data.unused TO PUBLIC;
GRANT SELECT, UPDATE ON SEQUENCE data.down TO {reporter};
GRANT USAGE ON TYPE types.mood TO {reporter};
GRANT EXECUTE ON FUNCTION code.add(int, int) TO {auditor} WITH GRANT OPTION;
GRANT EXECUTE ON PROCEDURE code.clean() TO {auditor};
-- What the owner took from itself, too.
REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON data.no_rows FROM {owner};
REVOKE ALL ON data.asleep FROM {owner};
GRANT SELECT ON data.asleep TO {owner};
-- For what will be made; {owner} is who makes it.
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA "Sales" GRANT SELECT ON TABLES TO PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA data GRANT USAGE ON SEQUENCES TO {reporter} WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT INSERT ON TABLES TO {auditor};
