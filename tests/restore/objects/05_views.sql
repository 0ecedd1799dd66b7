CREATE VIEW data.simple AS SELECT id, name, 'it''s \ "x"' AS "Quoted ""it""" FROM data.indexed WHERE n > 5;
CREATE VIEW data.checked AS SELECT * FROM data.simple WHERE id < 100 WITH LOCAL CHECK OPTION;
CREATE VIEW data.checked_all WITH (security_barrier = true) AS SELECT id, name FROM data.checked WITH CASCADED CHECK OPTION;
CREATE RECURSIVE VIEW data.numbers (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM numbers WHERE n < 10;
CREATE VIEW data.renamed (one, "Two") AS SELECT id, name FROM data.indexed;
ALTER VIEW data.renamed ALTER COLUMN one SET DEFAULT 5;
-- It hangs on the primary key, which a dump makes much later.
CREATE VIEW data.grouped AS SELECT h.id, h.name, count(*) AS wives FROM data.husband h JOIN data.wife w ON w.husband = h.id
  GROUP BY h.id;
CREATE VIEW data.on_grouped AS SELECT * FROM data.grouped WHERE wives > 0;
CREATE VIEW data."Joined Up" AS
  SELECT b.room, e.mood, x.value, row_number() OVER w AS "row"
    FROM data.booking b LEFT JOIN data.every_type e ON e."select" = b.room
   CROSS JOIN LATERAL jsonb_each(coalesce(e.tight_json, '{}')) x WINDOW w AS (PARTITION BY b.room ORDER BY b.note);
CREATE VIEW data.folded AS SELECT e.folded, e.folded OPERATOR(ext.=) 'case'::ext.citext AS same, e.pairs OPERATOR(ext.->) 'a' AS a
  FROM data.every_type e;
CREATE VIEW data.no_columns_either AS SELECT;
COMMENT ON VIEW data.simple IS 'A view; it''s';
COMMENT ON COLUMN data.simple."Quoted ""it""" IS 'of a view';

CREATE MATERIALIZED VIEW data.totals AS SELECT kind, count(*) AS n, sum(v) AS v FROM data.events GROUP BY kind;
CREATE UNIQUE INDEX totals_kind ON data.totals (kind);
CREATE MATERIALIZED VIEW data.of_totals WITH (fillfactor = 80) AS SELECT sum(n) AS n FROM data.totals;
CREATE MATERIALIZED VIEW data.not_yet AS SELECT name FROM data.indexed WITH NO DATA;
CREATE INDEX not_yet_name ON data.not_yet USING gin (name ext.gin_trgm_ops);
CREATE VIEW data.of_not_yet AS SELECT * FROM data.not_yet;
ALTER MATERIALIZED VIEW data.totals ALTER v SET STATISTICS 50;
CLUSTER data.totals USING totals_kind;
COMMENT ON MATERIALIZED VIEW data.totals IS E'totals\nof "events"';

CREATE RULE "add it" AS ON INSERT TO data.grouped DO INSTEAD INSERT INTO data.husband VALUES (NEW.id, NEW.id, NEW.name);
CREATE RULE note AS ON UPDATE TO data.tuned WHERE OLD.id IS DISTINCT FROM NEW.id
  DO ALSO (INSERT INTO data.hostile VALUES (E'rule''s \\', NEW.id); DELETE FROM data.no_rows WHERE id = OLD.id);
CREATE RULE never AS ON DELETE TO data.tuned DO INSTEAD NOTHING;
CREATE RULE sometimes AS ON INSERT TO data.tuned DO ALSO NOTIFY "Channel", 'it''s';
ALTER TABLE data.tuned DISABLE RULE never;
ALTER TABLE data.tuned ENABLE ALWAYS RULE sometimes;
ALTER TABLE data.tuned ENABLE REPLICA RULE note;
COMMENT ON RULE "add it" ON data.grouped IS 'instead; it''s a rule';
