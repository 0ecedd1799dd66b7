-- What only a superuser may make; none of it is the admins' own.
CREATE PUBLICATION everything FOR ALL TABLES WITH (publish = 'truncate');
CREATE FUNCTION code.on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN NULL; END';
CREATE EVENT TRIGGER watcher ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'DROP TABLE') EXECUTE FUNCTION code.on_ddl();
ALTER EVENT TRIGGER watcher DISABLE;
COMMENT ON EVENT TRIGGER watcher IS 'it''s off';
CREATE TYPE types.shell;
CREATE TYPE types.base;
CREATE FUNCTION types.base_in(cstring) RETURNS types.base LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
CREATE FUNCTION types.base_out(types.base) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int4out';
CREATE TYPE types.base (INPUT = types.base_in, OUTPUT = types.base_out, LIKE = int4, CATEGORY = 'N', DEFAULT = '7');
CREATE CAST (types.base AS int) WITHOUT FUNCTION AS IMPLICIT;
CREATE FUNCTION types.base_less(types.base, types.base) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT LEAKPROOF AS 'int4lt';
CREATE FUNCTION types.base_same(types.base, types.base) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT AS 'int4eq';
CREATE FUNCTION types.base_order(types.base, types.base) RETURNS int LANGUAGE internal IMMUTABLE STRICT AS 'btint4cmp';
CREATE FUNCTION types.base_hash(types.base) RETURNS int LANGUAGE internal IMMUTABLE STRICT AS 'hashint4';
CREATE OPERATOR types.< (FUNCTION = types.base_less, LEFTARG = types.base, RIGHTARG = types.base);
CREATE OPERATOR types.= (FUNCTION = types.base_same, LEFTARG = types.base, RIGHTARG = types.base, HASHES, MERGES);
CREATE OPERATOR FAMILY types.numbers USING btree;
CREATE OPERATOR CLASS types.base_ops DEFAULT FOR TYPE types.base USING btree FAMILY types.numbers
  AS OPERATOR 1 types.<, OPERATOR 3 types.=, FUNCTION 1 types.base_order(types.base, types.base);
CREATE OPERATOR CLASS types.base_hash_ops DEFAULT FOR TYPE types.base USING hash
  AS OPERATOR 1 types.=, FUNCTION 1 types.base_hash(types.base);
COMMENT ON OPERATOR CLASS types.base_ops USING btree IS 'it''s a class';
CREATE TABLE data.based (b types.base PRIMARY KEY);
INSERT INTO data.based VALUES ('3'), ('1');
CREATE FOREIGN DATA WRAPPER "wra""pper" OPTIONS (debug 'it''s');
CREATE SERVER "far away" TYPE 'x' VERSION '1' FOREIGN DATA WRAPPER "wra""pper" OPTIONS (host 'a\b');
CREATE USER MAPPING FOR PUBLIC SERVER "far away" OPTIONS (user 'x');
CREATE FOREIGN TABLE data.foreign_table (a int OPTIONS (col 'it''s') NOT NULL, b text) SERVER "far away" OPTIONS (file 'f');
GRANT USAGE ON FOREIGN SERVER "far away" TO {reporter};
GRANT USAGE ON FOREIGN DATA WRAPPER "wra""pper" TO {reporter};
CREATE FUNCTION code.handler() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler';
CREATE LANGUAGE our_sql HANDLER code.handler;
COMMENT ON LANGUAGE our_sql IS 'it''s ours';
CREATE FUNCTION code.rooted() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';
GRANT SELECT ON pg_catalog.pg_statistic_ext_data TO {auditor};
ALTER TABLE data.tree OWNER TO {reporter};
ALTER TABLE data.secured FORCE ROW LEVEL SECURITY;
