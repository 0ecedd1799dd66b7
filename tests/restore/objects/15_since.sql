-- What PostgreSQL 15 brought.
CREATE VIEW data.invoker WITH (security_invoker = true, check_option = local) AS SELECT * FROM data.tree WHERE id > 1;
CREATE UNIQUE INDEX nulls_alike ON data.refers (a, b, event, at) NULLS NOT DISTINCT WHERE a IS NOT NULL;
CREATE TABLE data.alike (a int, b int, UNIQUE NULLS NOT DISTINCT (a, b));
ALTER TABLE data.refers ADD CONSTRAINT some_null FOREIGN KEY (a, b) REFERENCES data.pair (a, b) ON DELETE SET NULL (b);
CREATE UNLOGGED SEQUENCE data.fleeting;
SELECT nextval('data.fleeting');
CREATE PUBLICATION filtered FOR TABLE data.husband (id, name) WHERE (id > 5 AND name <> 'it''s'), data.tree WHERE (id > 1),
  data."COPY data.hostile (line) FROM stdin;";
CREATE TABLE data.numbers_15 (a numeric(3, -2), b numeric(2, 5));
INSERT INTO data.numbers_15 VALUES (12345, 0.00012);
GRANT ALL ON data.numbers_15 TO {auditor} WITH GRANT OPTION;
