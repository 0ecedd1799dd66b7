-- What PostgreSQL 18 brought.
CREATE TABLE data.virtual (a int, b int GENERATED ALWAYS AS (a * 2) VIRTUAL, c int GENERATED ALWAYS AS (a + 1) STORED,
  d text CONSTRAINT "d is there" NOT NULL, e int CONSTRAINT not_checked NOT NULL NO INHERIT);
INSERT INTO data.virtual (a, d, e) VALUES (1, 'x', 1), (NULL, '', 2);
ALTER TABLE data.virtual ADD CONSTRAINT a_later NOT NULL a NOT VALID;
COMMENT ON CONSTRAINT "d is there" ON data.virtual IS 'it''s there';
CREATE TABLE data.periods (id int, valid daterange, PRIMARY KEY (id, valid WITHOUT OVERLAPS));
CREATE TABLE data.in_period (id int, valid daterange, FOREIGN KEY (id, PERIOD valid) REFERENCES data.periods (id, PERIOD valid));
INSERT INTO data.periods VALUES (1, '[2020-01-01,2021-01-01)');
INSERT INTO data.in_period VALUES (1, '[2020-02-01,2020-03-01)');
ALTER TABLE data.tree ADD CONSTRAINT unenforced CHECK (id < 3) NOT ENFORCED,
  ADD CONSTRAINT unenforced_key FOREIGN KEY (parent) REFERENCES data.no_rows NOT ENFORCED;
CREATE PUBLICATION made_columns FOR TABLE data.virtual WITH (publish_generated_columns = stored);
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT SELECT ON LARGE OBJECTS TO {reporter};
