-- What PostgreSQL 14 brought.
CREATE FUNCTION code.atomic(a int, b int DEFAULT 3) RETURNS SETOF data.tree LANGUAGE sql BEGIN ATOMIC
  INSERT INTO data.hostile VALUES ('it''s \ "atomic"; -- no', a);
  UPDATE data.hostile SET n = n + b WHERE line = 'x;y';
  SELECT * FROM data.tree t WHERE t.id = a + b;
END;
CREATE FUNCTION code.returns(int) RETURNS int LANGUAGE sql RETURN CASE WHEN $1 > 1 THEN 1 ELSE 2 END;
CREATE PROCEDURE code.out_only(IN x text, OUT n int) LANGUAGE sql BEGIN ATOMIC SELECT 1 + length(x); END;
CREATE PROCEDURE code.nothing_inside() LANGUAGE sql BEGIN ATOMIC END;
CREATE VIEW data.calls_atomic AS SELECT code.returns(id) AS r FROM data.tree;
CREATE TYPE types.odd_range AS RANGE (subtype = int8, multirange_type_name = types."Many Ranges");
CREATE TABLE data.multi (a int4multirange, b types."Many Ranges", c types.odd_range[]);
INSERT INTO data.multi VALUES ('{[1,5),[7,9)}', '{}', '{"[1,2)"}'), (NULL, '{(,1),(5,)}', '{}');
CREATE TABLE data.compressed (a text COMPRESSION pglz);
INSERT INTO data.compressed VALUES (repeat('pglz ', 1000));
CREATE STATISTICS data.on_expressions (mcv, ndistinct) ON lower(name), (n % 3), id FROM data.indexed;
CREATE STATISTICS data.on_one ON (n * 2) FROM data.indexed;
CREATE INDEX brief_multi ON data.indexed USING brin (n int4_minmax_multi_ops, host inet_bloom_ops (n_distinct_per_range = 50));
CREATE RECURSIVE VIEW data.searched (id, parent) AS
  (SELECT id, parent FROM data.tree WHERE id = 4 UNION ALL SELECT t.id, t.parent FROM data.tree t JOIN searched s ON t.parent = s.id);
CREATE VIEW data.depth AS WITH RECURSIVE w (id) AS (SELECT id FROM data.tree WHERE id = 4 UNION ALL
  SELECT t.id FROM data.tree t JOIN w ON t.parent = w.id) SEARCH DEPTH FIRST BY id SET ordering CYCLE id SET is_cycle USING path
  SELECT id, ordering::text, is_cycle FROM w;
