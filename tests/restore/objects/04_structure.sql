-- Partitions: each strategy, below each other, attached with another order of columns.
CREATE TABLE data.events (id bigint NOT NULL, at date NOT NULL, kind text, v numeric) PARTITION BY RANGE (at);
CREATE TABLE data.events_2020 PARTITION OF data.events FOR VALUES FROM ('2020-01-01') TO ('2021-01-01')
  PARTITION BY LIST (kind);
CREATE TABLE data.events_2020_ab PARTITION OF data.events_2020 FOR VALUES IN ('a', 'it''s b', NULL);
CREATE TABLE "my schema".events_2020_rest PARTITION OF data.events_2020 DEFAULT PARTITION BY HASH (id);
CREATE TABLE "my schema".rest_0 PARTITION OF "my schema".events_2020_rest FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE "my schema".rest_1 PARTITION OF "my schema".events_2020_rest FOR VALUES WITH (MODULUS 2, REMAINDER 1)
  WITH (fillfactor = 50);
CREATE TABLE data.events_old (v numeric, gone int, kind text DEFAULT 'old', at date NOT NULL, id bigint NOT NULL);
ALTER TABLE data.events_old DROP COLUMN gone;
ALTER TABLE data.events ATTACH PARTITION data.events_old FOR VALUES FROM (MINVALUE) TO ('2020-01-01');
CREATE TABLE data.events_else PARTITION OF data.events (CONSTRAINT positive CHECK (v >= 0)) DEFAULT;
INSERT INTO data.events SELECT n, date '2019-06-01' + n, (ARRAY['a', 'it''s b', 'c', NULL])[n % 4 + 1], n
  FROM generate_series(1, 800) n;
CREATE INDEX by_kind ON data.events (kind, at DESC);
CREATE INDEX unfinished ON ONLY data.events (v);
CREATE TABLE data.by_expression (a int, b text) PARTITION BY RANGE ((a + 1), b COLLATE "C" text_pattern_ops);
CREATE TABLE data.by_expression_1 PARTITION OF data.by_expression FOR VALUES FROM (0, MINVALUE) TO (10, 'm');
INSERT INTO data.by_expression VALUES (0, 'x'), (9, 'a');
CREATE TABLE data.childless (a int) PARTITION BY LIST (a);
COMMENT ON TABLE data.events_old IS 'Attached';
CREATE TABLE data.ledger (id bigint, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE data.ledger_2019 PARTITION OF data.ledger FOR VALUES FROM ('2019-01-01') TO ('2020-01-01');
CREATE TABLE data.ledger_else PARTITION OF data.ledger DEFAULT;
INSERT INTO data.ledger VALUES (1, '2019-06-02'), (2, '2022-02-02');

-- Inheritance.
CREATE TABLE data.parent (id int, note text DEFAULT 'parent', CONSTRAINT every CHECK (id > 0),
  CONSTRAINT only_here CHECK (note <> '') NO INHERIT);
CREATE TABLE data.other_parent (note text, extra int NOT NULL);
CREATE TABLE data.child (id int, own text, CONSTRAINT own CHECK (own <> 'x')) INHERITS (data.parent, data.other_parent);
ALTER TABLE data.child ALTER note SET DEFAULT 'child';
CREATE TABLE data.grandchild () INHERITS (data.child);
INSERT INTO data.parent VALUES (1, 'p');
INSERT INTO data.child VALUES (2, 'c', 3, 'o');
INSERT INTO data.grandchild VALUES (3, NULL, 4, NULL);

-- Foreign keys in cycles, and of every kind.
CREATE TABLE data.husband (id int PRIMARY KEY, wife int NOT NULL, name text UNIQUE);
CREATE TABLE data.wife (id int PRIMARY KEY, husband int NOT NULL REFERENCES data.husband DEFERRABLE INITIALLY DEFERRED);
ALTER TABLE data.husband ADD CONSTRAINT "to wife" FOREIGN KEY (wife) REFERENCES data.wife
  ON UPDATE CASCADE ON DELETE SET DEFAULT DEFERRABLE INITIALLY IMMEDIATE;
COMMENT ON CONSTRAINT "to wife" ON data.husband IS 'A cycle; it''s deferrable';
SET CONSTRAINTS ALL DEFERRED;
INSERT INTO data.husband SELECT n, n, 'h' || n FROM generate_series(1, 10) n;
INSERT INTO data.wife SELECT n, n FROM generate_series(1, 10) n;
CREATE TABLE data.tree (id int PRIMARY KEY, parent int REFERENCES data.tree ON DELETE CASCADE);
INSERT INTO data.tree VALUES (1, 2), (2, 3), (3, 1), (4, NULL), (5, 4);
CREATE TABLE data.pair (a int, b int, c text, UNIQUE (a, b) INCLUDE (c), UNIQUE (b, a) DEFERRABLE INITIALLY DEFERRED);
INSERT INTO data.pair VALUES (1, 2, 'x');
CREATE TABLE data.refers (a int, b int, event bigint, at date,
  FOREIGN KEY (a, b) REFERENCES data.pair (a, b) MATCH FULL ON DELETE SET NULL,
  CONSTRAINT to_partitions FOREIGN KEY (event, at) REFERENCES data.ledger);
INSERT INTO data.refers VALUES (1, 2, 1, '2019-06-02'), (NULL, NULL, NULL, NULL);
INSERT INTO data.refers (a, event) VALUES (NULL, 99999);
ALTER TABLE data.refers ADD CONSTRAINT unchecked FOREIGN KEY (event) REFERENCES data.no_rows NOT VALID,
  ADD CONSTRAINT "not checked" CHECK (a > 100) NOT VALID;
CREATE TABLE data.to_pair PARTITION OF data.childless FOR VALUES IN (1);
ALTER TABLE data.childless ADD FOREIGN KEY (a) REFERENCES data.tree;

-- Exclusion.
CREATE TABLE data.booking (room int, during tsrange, hours types.hours, note text, active boolean DEFAULT true,
  EXCLUDE USING gist (room WITH =, during WITH &&) WHERE (active) DEFERRABLE INITIALLY DEFERRED,
  CONSTRAINT "no overlap" EXCLUDE USING gist (hours WITH &&, (note || 'x') WITH =));
INSERT INTO data.booking VALUES (1, '[2020-01-01,2020-01-02)', '[08:00,09:00)', 'a', true),
  (1, '[2020-01-01,2020-01-03)', '[09:00,10:00)', 'a', false);
COMMENT ON CONSTRAINT "no overlap" ON data.booking IS 'or else';

-- Indexes.
CREATE TABLE data.indexed (id int NOT NULL, name text, tags text[], doc jsonb, range int4range, host inet, n int NOT NULL,
  pairs ext.hstore);
INSERT INTO data.indexed SELECT n, 'name ' || n, ARRAY['t' || n % 5], jsonb_build_object('k', n), int4range(n, n + 5),
  '10.0.0.1'::inet + n, n, ext.hstore('k', n::text) FROM generate_series(1, 300) n;
CREATE UNIQUE INDEX ident ON data.indexed (id) INCLUDE (name, n);
CREATE UNIQUE INDEX "Part ial" ON data.indexed (n) WHERE n > 10 AND name <> 'it''s';
CREATE INDEX expression ON data.indexed (lower(name), (n % 7) DESC NULLS LAST, name COLLATE "C" text_pattern_ops);
CREATE INDEX trigrams ON data.indexed USING gin (name ext.gin_trgm_ops) WITH (fastupdate = off);
CREATE INDEX mixed ON data.indexed USING gin (n "my schema".int4_ops, tags);
CREATE INDEX docs ON data.indexed USING gin (doc jsonb_path_ops);
CREATE INDEX near ON data.indexed USING gist (name ext.gist_trgm_ops (siglen = 32), range);
CREATE INDEX brief ON data.indexed USING brin (id, n) WITH (pages_per_range = 16, autosummarize = on);
CREATE INDEX hashed ON data.indexed USING hash (name);
CREATE INDEX space ON data.indexed USING spgist (host);
CREATE INDEX pairs ON data.indexed USING gist (pairs);
ALTER INDEX data.expression ALTER COLUMN 2 SET STATISTICS 77;
CLUSTER data.indexed USING ident;
ALTER TABLE data.indexed REPLICA IDENTITY USING INDEX ident;
ALTER TABLE data.tree ADD CONSTRAINT "by index" UNIQUE (id, parent);
CREATE UNIQUE INDEX becomes ON data.generated (a);
ALTER TABLE data.generated ADD CONSTRAINT becomes UNIQUE USING INDEX becomes, REPLICA IDENTITY FULL;
ALTER TABLE data.hostile REPLICA IDENTITY NOTHING;
COMMENT ON INDEX data."Part ial" IS 'part; it''s "so"';
CREATE STATISTICS data.together (ndistinct, dependencies, mcv) ON id, n FROM data.indexed;
CREATE STATISTICS "my schema"."St ats" (dependencies) ON name, n FROM data.indexed;
ALTER STATISTICS data.together SET STATISTICS 123;
COMMENT ON STATISTICS data.together IS 'they go together';
