CREATE FUNCTION code.add(a int, b int DEFAULT 2) RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 3 AS 'SELECT a + b';
CREATE FUNCTION code.add(a text, VARIADIC more text[] DEFAULT '{"it''s"}') RETURNS text LANGUAGE sql STABLE
  AS $_$ SELECT a || array_to_string(more, ',') || '$$' $_$;
CREATE FUNCTION code.hostile() RETURNS text LANGUAGE plpgsql AS $body$
BEGIN
  -- COPY data.hostile (line) FROM stdin;
  RETURN '
COPY nothing (a) FROM stdin;
1
\.
\connect postgres
$$ $_$ '' " \ ;
--
-- PostgreSQL database dump complete
--
';
END $body$;
CREATE FUNCTION code."Find ""it"""(INOUT id int, OUT name text, OUT "Other" types.mood) RETURNS SETOF record LANGUAGE plpgsql
  STABLE STRICT ROWS 7 SET search_path TO data, "my schema", pg_temp SET work_mem TO '8MB' SET "DateStyle" TO 'ISO, DMY'
  AS $$ BEGIN RETURN QUERY SELECT i.id, i.name, 'ok'::types.mood FROM indexed i WHERE i.id = $1; END $$;
CREATE FUNCTION code.rows_of(n types.positive = 3) RETURNS TABLE (a int, b text) LANGUAGE sql
  AS 'SELECT g, ''b'' FROM generate_series(1, n) g';
CREATE FUNCTION code.first_of(anyarray) RETURNS anyelement LANGUAGE sql IMMUTABLE AS 'SELECT $1[1]';
CREATE FUNCTION code.secret() RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = '' AS 'SELECT current_user::text';
REVOKE EXECUTE ON FUNCTION code.secret() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION code.secret() TO {reporter};
CREATE FUNCTION code.hidden() RETURNS int LANGUAGE sql AS 'SELECT 1';
REVOKE ALL ON FUNCTION code.hidden() FROM PUBLIC;
CREATE FUNCTION code.of_row(data.tree) RETURNS int LANGUAGE sql STABLE AS 'SELECT $1.id';
CREATE FUNCTION code.no_arguments() RETURNS void LANGUAGE sql AS '';
CREATE PROCEDURE code."Do It"(INOUT n int, VARIADIC more int[] DEFAULT '{}') LANGUAGE plpgsql
  AS $$ BEGIN n := n + 1; COMMIT; END $$;
CREATE PROCEDURE code.clean() LANGUAGE sql SECURITY DEFINER AS 'DELETE FROM data.no_rows';
REVOKE EXECUTE ON PROCEDURE code.clean() FROM PUBLIC;
COMMENT ON FUNCTION code.add(int, int) IS 'it''s
an addition; \ "x" $$';
COMMENT ON PROCEDURE code."Do It" IS 'does it';

-- What leans on functions: defaults, checks, generated columns, indexes.
CREATE TABLE data.leans (id int DEFAULT code.add(1, 2), n int CHECK (code.add(n, 1) > 0),
  made int GENERATED ALWAYS AS (code.add(n)) STORED, note text DEFAULT code.hostile());
CREATE INDEX leans_index ON data.leans (code.add(n, 5)) WHERE code.add(n, 0) > 1;
INSERT INTO data.leans (n) VALUES (1), (2), (NULL);

CREATE FUNCTION code.address_equal(types.address, types.address) RETURNS boolean LANGUAGE sql IMMUTABLE
  AS 'SELECT $1.street = $2.street';
CREATE FUNCTION code.address_differs(types.address, types.address) RETURNS boolean LANGUAGE sql IMMUTABLE
  AS 'SELECT $1.street <> $2.street';
CREATE FUNCTION code.address_shout(types.address) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT upper($1.street)';
CREATE OPERATOR code.=== (FUNCTION = code.address_equal, LEFTARG = types.address, RIGHTARG = types.address,
  COMMUTATOR = OPERATOR(code.===), NEGATOR = OPERATOR(code.!==), RESTRICT = eqsel, JOIN = eqjoinsel);
CREATE OPERATOR code.!== (FUNCTION = code.address_differs, LEFTARG = types.address, RIGHTARG = types.address,
  COMMUTATOR = OPERATOR(code.!==), NEGATOR = OPERATOR(code.===), RESTRICT = neqsel, JOIN = neqjoinsel);
CREATE OPERATOR code.@#- (FUNCTION = code.address_shout, RIGHTARG = types.address);
COMMENT ON OPERATOR code.=== (types.address, types.address) IS 'the same street; it''s';
CREATE FUNCTION code.to_address(text) RETURNS types.address LANGUAGE sql IMMUTABLE AS
  'SELECT ROW($1, NULL, NULL, NULL)::types.address';
CREATE CAST (text AS types.address) WITH FUNCTION code.to_address(text) AS ASSIGNMENT;
CREATE CAST (types.mood AS int) WITH INOUT;
COMMENT ON CAST (text AS types.address) IS 'a street';
CREATE VIEW data.operated AS SELECT id FROM data.every_type WHERE home OPERATOR(code.===) ROW('x', NULL, NULL, NULL)::types.address;

CREATE FUNCTION code.collect(state text, value text) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$ SELECT coalesce(state, '') || coalesce(value, '\N') $$;
CREATE AGGREGATE code.joined(text) (SFUNC = code.collect, STYPE = text, INITCOND = E'it''s \\ "', SSPACE = 100, PARALLEL = SAFE,
  COMBINEFUNC = code.collect);
CREATE AGGREGATE code.total(VARIADIC "Items" int[]) (SFUNC = array_cat, STYPE = int[], INITCOND = '{}');
CREATE AGGREGATE code.moving(float8) (SFUNC = float8pl, STYPE = float8, MSFUNC = float8pl, MINVFUNC = float8mi,
  MSTYPE = float8, MINITCOND = '0', SORTOP = <);
CREATE FUNCTION code.finish(state text[], p float8) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT state[1]';
CREATE FUNCTION code.gather(state text[], value text) RETURNS text[] LANGUAGE sql IMMUTABLE AS 'SELECT state || value';
CREATE AGGREGATE code.pick(float8 ORDER BY text) (SFUNC = code.gather, STYPE = text[], FINALFUNC = code.finish, INITCOND = '{}');
CREATE AGGREGATE code.counted(*) (SFUNC = int8inc, STYPE = int8, INITCOND = '0');
REVOKE EXECUTE ON FUNCTION code.joined(text) FROM PUBLIC;
COMMENT ON AGGREGATE code.joined(text) IS 'joined; it''s';
COMMENT ON AGGREGATE code.pick(float8 ORDER BY text) IS 'ordered';

CREATE FUNCTION code.on_change() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN IF TG_OP = 'INSERT' THEN NEW.note := NEW.note || ' (triggered)'; END IF; RETURN NEW; END $$;
CREATE FUNCTION code.after_change() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN RETURN NULL; END';
CREATE TABLE data.watched (id int PRIMARY KEY, note text, n int);
INSERT INTO data.watched VALUES (1, 'before the triggers', 1);
CREATE TRIGGER first BEFORE INSERT OR UPDATE OF note, n ON data.watched FOR EACH ROW
  WHEN (NEW.n > 0 AND NEW.note <> 'it''s') EXECUTE FUNCTION code.on_change('it''s', E'a\\b', '');
CREATE TRIGGER "Each; one" AFTER UPDATE ON data.watched REFERENCING OLD TABLE AS "Old" NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION code.after_change();
CREATE TRIGGER off AFTER DELETE ON data.watched FOR EACH ROW EXECUTE FUNCTION code.after_change();
CREATE TRIGGER always AFTER TRUNCATE ON data.watched EXECUTE FUNCTION code.after_change();
CREATE TRIGGER on_replica BEFORE DELETE ON data.watched FOR EACH ROW EXECUTE FUNCTION code.on_change();
CREATE CONSTRAINT TRIGGER later AFTER INSERT ON data.watched FROM data.tree DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  EXECUTE FUNCTION code.after_change();
CREATE TRIGGER instead INSTEAD OF INSERT OR UPDATE ON data.renamed FOR EACH ROW EXECUTE FUNCTION code.after_change();
CREATE TRIGGER on_events AFTER INSERT ON data.events FOR EACH ROW EXECUTE FUNCTION code.after_change();
ALTER TABLE data.watched DISABLE TRIGGER off, ENABLE ALWAYS TRIGGER always, ENABLE REPLICA TRIGGER on_replica;
ALTER TABLE data.events_old DISABLE TRIGGER on_events;
COMMENT ON TRIGGER first ON data.watched IS 'the first; it''s';

CREATE TABLE data.secured (id int PRIMARY KEY, owner name, secret text);
INSERT INTO data.secured SELECT n, 'user' || n % 3, 'secret ' || n FROM generate_series(1, 30) n;
ALTER TABLE data.secured ENABLE ROW LEVEL SECURITY;
CREATE POLICY "Own rows" ON data.secured USING (owner = current_user) WITH CHECK (owner = current_user AND secret <> 'it''s');
CREATE POLICY readers ON data.secured AS RESTRICTIVE FOR SELECT TO PUBLIC USING (id > 0);
CREATE POLICY adding ON data.secured FOR INSERT WITH CHECK (id IN (SELECT id FROM data.tree));
CREATE POLICY reporters ON data.secured FOR UPDATE TO {reporter}, {auditor} USING (true);
CREATE TABLE data.asleep (id int);
CREATE POLICY asleep ON data.asleep FOR DELETE USING (false);
COMMENT ON POLICY "Own rows" ON data.secured IS 'it''s mine
only';

CREATE PUBLICATION nothing;
CREATE PUBLICATION "Some ""tables""" FOR TABLE data.tree, ONLY data.parent, "Sales"."Order" WITH (publish = 'insert, update');
CREATE PUBLICATION roots FOR TABLE data.events WITH (publish = 'insert, truncate', publish_via_partition_root = true);
COMMENT ON PUBLICATION "Some ""tables""" IS 'some; it''s';
ALTER FUNCTION code.first_of(anyarray) DEPENDS ON EXTENSION hstore;
ALTER INDEX data.trigrams DEPENDS ON EXTENSION pg_trgm;
