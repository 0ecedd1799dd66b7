-- One alteration of each thing that a restore could get wrong, and what the comparison must say of it: no more,
-- no less. A block is: what is altered, `since` which major it can be, what is told (up to its colon, `18:` for that
-- major alone), and the SQL.

-- a row that is lost
--   rows data.tree, count
--   rows data.tree, md5
DELETE FROM data.tree WHERE id = 5;

-- a value of another row
--   rows "Sales"."Order", md5
UPDATE "Sales"."Order" SET "select" = 'x' WHERE "Id" = 7;

-- a NULL that became an empty string
--   rows data.hostile, md5
UPDATE data.hostile SET line = '' WHERE line IS NULL;

-- a line end
--   rows data.hostile, md5
UPDATE data.hostile SET line = E'\n' WHERE line = E'\r\n';

-- a blank
--   rows data.every_type, md5
UPDATE data.every_type SET short = '' WHERE short = ' ';

-- the last digit
--   rows data.every_type, md5
UPDATE data.every_type SET double = 4e-324 * 2 WHERE double = 5e-324;

-- a zero's sign
--   rows data.every_type, md5
UPDATE data.every_type SET single = 0 WHERE whole = 0;

-- a microsecond
--   rows data.generated, md5
UPDATE data.generated SET stamp = stamp + interval '1 microsecond' WHERE a = 3;

-- a row of a partition
--   rows data.events_else, count
--   rows data.events_else, md5
DELETE FROM data.events WHERE id = 700;

-- a row of those spread by hash
--   rows "my schema".events_2020_rest, count
--   rows "my schema".events_2020_rest, md5
DELETE FROM ONLY "my schema".rest_1 WHERE id = (SELECT min(id) FROM "my schema".rest_1);

-- a row without columns
--   rows data.no_columns, count
--   rows data.no_columns, md5
DELETE FROM data.no_columns WHERE ctid = '(0,1)';

-- a row of a materialised view
--   rows data.totals, count
--   rows data.totals, md5
INSERT INTO data.events VALUES (9999, '1999-01-01', 'new', 1);
REFRESH MATERIALIZED VIEW data.totals;
DELETE FROM data.events WHERE id = 9999;

-- a row of the parent given to the child
--   rows data.child, count
--   rows data.child, md5
--   rows data.parent, count
--   rows data.parent, md5
DELETE FROM ONLY data.parent;
INSERT INTO data.child VALUES (1, 'p', 1);

-- a byte of a large object
--   large object 990001, md5
SELECT lo_put(990001, 17, '\x99');

-- a large object's rights
--   large object 990001, privileges
GRANT UPDATE ON LARGE OBJECT 990001 TO PUBLIC;

-- a large object's owner
--   large object 990003, owner
--   large object 990003, privileges
ALTER LARGE OBJECT 990003 OWNER TO {auditor};

-- a large object's comment
--   comment large object 990001
COMMENT ON LARGE OBJECT 990001 IS NULL;

-- a large object
--   large object 990003
SELECT lo_unlink(990003);

-- a sequence's place
--   sequence data.down, last value
--   sequence data.down, was called
ALTER SEQUENCE data.down RESTART WITH 4;

-- a sequence that was not called
--   sequence data."full", was called
ALTER SEQUENCE data.full RESTART WITH 2;

-- a column
--   column data.secured.extra
--   rows data.secured, md5
ALTER TABLE data.secured ADD extra int;

-- a column's type
--   column data.asleep.id, type
ALTER TABLE data.asleep ALTER id TYPE bigint;

-- a column's length
--   column data.every_type.short, type
ALTER TABLE data.every_type ALTER short TYPE varchar(21);

-- a column's collation
--   column data.unlogged.note, collation
ALTER TABLE data.unlogged ALTER note TYPE text COLLATE "C";

-- a column's default
--   column data.every_type.late, default
ALTER TABLE data.every_type ALTER late SET DEFAULT 'then';

-- NOT NULL
--   column data.booking.room, not null
--   18: constraint booking_room_not_null on data.booking
ALTER TABLE data.booking ALTER room SET NOT NULL;

-- what makes a column
--   column data.generated.double_a, default
--   column data.generated.double_a, generated
ALTER TABLE data.generated ALTER double_a DROP EXPRESSION;

-- an identity
--   column data.generated."Number", identity
ALTER TABLE data.generated ALTER "Number" SET GENERATED ALWAYS;

-- a column's storage
--   column data.tuned.long, storage
ALTER TABLE data.tuned ALTER long SET STORAGE EXTENDED;

-- a column's statistics
--   column data.tuned.note, statistics target
ALTER TABLE data.tuned ALTER note SET STATISTICS 400;

-- a column's options
--   column data.tuned.id, options
ALTER TABLE data.tuned ALTER id RESET (n_distinct);

-- a column's compression
-- since 14
--   column data.compressed.a, compression
ALTER TABLE data.compressed ALTER a SET COMPRESSION default;

-- a column's privileges
--   column data.indexed.name, privileges
REVOKE UPDATE (name) ON data.indexed FROM {reporter};

-- a column's comment
--   comment composite type column types.address."Zip Code", text
COMMENT ON COLUMN types.address."Zip Code" IS 'Its a code';

-- a table's options
--   relation data.tuned, options
ALTER TABLE data.tuned SET (fillfactor = 71);

-- the options of long values
--   relation data.tuned, options of its long values
ALTER TABLE data.tuned RESET (toast.autovacuum_enabled);

-- what a crash leaves
--   relation data.unlogged, persistence
ALTER TABLE data.unlogged SET LOGGED;

-- a table's owner
--   relation data.unlogged, owner
--   relation data.unlogged, privileges
ALTER TABLE data.unlogged OWNER TO {auditor};

-- a table's type
--   relation data.addresses, of type
ALTER TABLE data.addresses NOT OF;

-- replica identity
--   relation data.hostile, replica identity
ALTER TABLE data.hostile REPLICA IDENTITY FULL;

-- row security
--   relation data.asleep, row security
ALTER TABLE data.asleep ENABLE ROW LEVEL SECURITY;

-- forced row security
--   relation data.secured, forced row security
ALTER TABLE data.secured NO FORCE ROW LEVEL SECURITY;

-- a parent
--   column data.child.extra, inherited from
--   column data.child.extra, is its own
--   column data.child.note, inherited from
--   18: constraint other_parent_extra_not_null on data.child, inherited from
--   18: constraint other_parent_extra_not_null on data.child, is its own
--   relation data.child, parents
ALTER TABLE data.child NO INHERIT data.other_parent;

-- a partition's bounds
--   relation data.by_expression_1, partition bound
ALTER TABLE data.by_expression DETACH PARTITION data.by_expression_1;
ALTER TABLE data.by_expression ATTACH PARTITION data.by_expression_1 FOR VALUES FROM (0, MINVALUE) TO (11, 'm');

-- a check
--   constraint only_here on data.parent
ALTER TABLE data.parent DROP CONSTRAINT only_here;

-- a constraint's validity
--   constraint "not checked" on data.refers, definition
--   constraint "not checked" on data.refers, validated
--   rows data.refers, count
--   rows data.refers, md5
DELETE FROM data.refers;
ALTER TABLE data.refers VALIDATE CONSTRAINT "not checked";

-- a foreign key
--   comment table constraint "to wife" on data.husband
--   constraint "to wife" on data.husband
ALTER TABLE data.husband DROP CONSTRAINT "to wife";

-- when a foreign key is checked
--   constraint "to wife" on data.husband, deferred
--   constraint "to wife" on data.husband, definition
ALTER TABLE data.husband ALTER CONSTRAINT "to wife" INITIALLY DEFERRED;

-- an exclusion
--   comment table constraint "no overlap" on data.booking
--   constraint "no overlap" on data.booking
--   index data."no overlap"
ALTER TABLE data.booking DROP CONSTRAINT "no overlap";

-- a constraint's name
--   constraint "by index" on data.tree
--   constraint by_index on data.tree
--   index data."by index"
--   index data.by_index
ALTER TABLE data.tree RENAME CONSTRAINT "by index" TO by_index;

-- a constraint that is not enforced
-- since 18
--   constraint unenforced on data.tree
ALTER TABLE data.tree DROP CONSTRAINT unenforced;

-- an index
--   index data.near
DROP INDEX data.near;

-- an index's condition
--   comment index data."Part ial"
--   index data."Part ial", definition
DROP INDEX data."Part ial";
CREATE UNIQUE INDEX "Part ial" ON data.indexed (n) WHERE n > 11;

-- an index's statistics
--   index data.expression, statistics targets
ALTER INDEX data.expression ALTER COLUMN 2 SET STATISTICS 78;

-- what a table is clustered by
--   index data.ident, clustered
ALTER TABLE data.indexed SET WITHOUT CLUSTER;

-- an index that became valid
--   index data.events_old_v_idx
--   index data.unfinished
CREATE INDEX ON data.events_old (v);
DROP INDEX data.unfinished;

-- a sequence's settings
--   sequence data.down, seqcycle
ALTER SEQUENCE data.down NO CYCLE;

-- whose a sequence is
--   sequence data.owned, owned by
ALTER SEQUENCE data.owned OWNED BY NONE;

-- extended statistics
--   statistics "my schema"."St ats"
DROP STATISTICS "my schema"."St ats";

-- the target of statistics
--   statistics data.together, target
ALTER STATISTICS data.together SET STATISTICS 99;

-- statistics of an expression
-- since 14
--   statistics data.on_one
DROP STATISTICS data.on_one;

-- a view's text
--   relation data.simple, definition
CREATE OR REPLACE VIEW data.simple AS SELECT id, name, 'it''s \ "y"' AS "Quoted ""it""" FROM data.indexed WHERE n > 5;

-- a view's check
--   relation data.checked, options
ALTER VIEW data.checked SET (check_option = cascaded);

-- a view's barrier
--   relation data.checked_all, options
ALTER VIEW data.checked_all RESET (security_barrier);

-- whose rights a view uses
-- since 15
--   relation data.invoker, options
ALTER VIEW data.invoker RESET (security_invoker);

-- a view column's default
--   column data.renamed.one, default
ALTER VIEW data.renamed ALTER one DROP DEFAULT;

-- a materialised view that was not filled
--   relation data.of_totals, populated
--   rows data.of_totals
REFRESH MATERIALIZED VIEW data.of_totals WITH NO DATA;

-- a materialised view that was filled
--   relation data.not_yet, populated
--   rows data.not_yet
REFRESH MATERIALIZED VIEW data.not_yet;

-- a rule
--   comment rule "add it" on data.grouped
--   rule "add it" on data.grouped
DROP RULE "add it" ON data.grouped;

-- a rule that sleeps
--   rule never on data.tuned, enabled
ALTER TABLE data.tuned ENABLE RULE never;

-- a trigger
--   comment trigger first on data.watched
--   trigger first on data.watched
DROP TRIGGER first ON data.watched;

-- a trigger that sleeps
--   trigger off on data.watched, enabled
ALTER TABLE data.watched ENABLE TRIGGER off;

-- a trigger that never sleeps
--   trigger always on data.watched, enabled
ALTER TABLE data.watched ENABLE TRIGGER always;

-- a partition's trigger that sleeps
--   trigger on_events on data.events_old, enabled
ALTER TABLE data.events_old ENABLE TRIGGER on_events;

-- an event trigger that sleeps
--   event trigger watcher, enabled
ALTER EVENT TRIGGER watcher ENABLE;

-- a function's body
--   function code.hidden(), definition
CREATE OR REPLACE FUNCTION code.hidden() RETURNS int LANGUAGE sql AS 'SELECT 1 ';

-- whose rights a function has
--   function code.secret(), definition
ALTER FUNCTION code.secret() SECURITY INVOKER;

-- a function's setting
--   function code.secret(), definition
ALTER FUNCTION code.secret() RESET search_path;

-- a function's traits
--   function code.add(integer,integer), definition
--   function code.add(integer,integer), parallel
ALTER FUNCTION code.add(int, int) PARALLEL UNSAFE;

-- a function's default
--   function code.rows_of(types.positive), arguments
--   function code.rows_of(types.positive), definition
CREATE OR REPLACE FUNCTION code.rows_of(n types.positive = 4) RETURNS TABLE (a int, b text) LANGUAGE sql AS 'SELECT g, ''b'' FROM generate_series(1, n) g';

-- a procedure
--   comment procedure code."Do It"(integer,integer[])
--   function code."Do It"(integer,integer[])
DROP PROCEDURE code."Do It";

-- who may run a function
--   function code.hidden(), privileges
GRANT EXECUTE ON FUNCTION code.hidden() TO PUBLIC;

-- an aggregate
--   function code.moving(double precision)
DROP AGGREGATE code.moving(float8);

-- how an aggregate runs
--   function code.counted(), aggregate
CREATE OR REPLACE AGGREGATE code.counted(*) (SFUNC = int8inc, STYPE = int8, INITCOND = '1');

-- an operator
--   operator code.===(types.address,types.address), restrict
ALTER OPERATOR code.=== (types.address, types.address) SET (RESTRICT = NONE);

-- a cast
--   cast (types.mood AS integer)
DROP CAST (types.mood AS int);

-- a cast's context
--   cast (pg_catalog.text AS types.address), context
--   comment cast (pg_catalog.text AS types.address)
DROP CAST (text AS types.address);
CREATE CAST (text AS types.address) WITH FUNCTION code.to_address(text);

-- an operator class
--   operator class types.base_hash_ops USING hash
--   operator family types.base_hash_ops USING hash, functions
--   operator family types.base_hash_ops USING hash, operators
DROP OPERATOR CLASS types.base_hash_ops USING hash;

-- an operator family
--   operator family types.numbers USING btree, owner
ALTER OPERATOR FAMILY types.numbers USING btree OWNER TO {auditor};

-- a policy
--   policy readers on data.secured
DROP POLICY readers ON data.secured;

-- whom a policy concerns
--   policy reporters on data.secured, roles
ALTER POLICY reporters ON data.secured TO {auditor};

-- what a policy lets see
--   policy "Own rows" on data.secured, using
ALTER POLICY "Own rows" ON data.secured USING (true);

-- what a policy lets write
--   policy adding on data.secured, check
ALTER POLICY adding ON data.secured WITH CHECK (false);

-- a publication
--   publication nothing
DROP PUBLICATION nothing;

-- what a publication tells
--   publication roots, pubtruncate
ALTER PUBLICATION roots SET (publish = 'insert');

-- a publication's tables
--   publication "Some ""tables""", tables
ALTER PUBLICATION "Some ""tables""" DROP TABLE ONLY data.parent;

-- which rows are published
-- since 15
--   publication filtered, tables
ALTER PUBLICATION filtered SET TABLE data.husband (id, name) WHERE (id > 6 AND name <> 'it''s'), data.tree WHERE (id > 1), data."COPY data.hostile (line) FROM stdin;";

-- which columns are published
-- since 15
--   publication filtered, tables
ALTER PUBLICATION filtered SET TABLE data.husband (id) WHERE (id > 5 AND name <> 'it''s'), data.tree WHERE (id > 1), data."COPY data.hostile (line) FROM stdin;";

-- a dependency on an extension
--   dependency code.first_of(pg_catalog.anyarray) on hstore
ALTER FUNCTION code.first_of(anyarray) NO DEPENDS ON EXTENSION hstore;

-- an enum's label
--   rows data.every_type, md5
--   type types.mood, labels
ALTER TYPE types.mood RENAME VALUE ' ' TO '  ';

-- the order of an enum's labels
--   rows data.every_type, md5
--   type types.mood, labels
ALTER TYPE types.mood RENAME VALUE 'sad' TO 'x';
ALTER TYPE types.mood RENAME VALUE 'ok' TO 'sad';
ALTER TYPE types.mood RENAME VALUE 'x' TO 'ok';

-- an attribute
--   column types.person.moods
--   rows data.every_type, md5
ALTER TYPE types.person DROP ATTRIBUTE moods;

-- a domain's default
--   type types.positive, default
ALTER DOMAIN types.positive SET DEFAULT 2;

-- a domain's NOT NULL
--   18: constraint positive_not_null on types.positive
--   type types.positive, not null
ALTER DOMAIN types.positive DROP NOT NULL;

-- a domain's check
--   constraint small on types.percent
ALTER DOMAIN types.percent DROP CONSTRAINT small;

-- a domain's check that was checked
--   constraint "not checked" on types.code, definition
--   constraint "not checked" on types.code, validated
ALTER DOMAIN types.code VALIDATE CONSTRAINT "not checked";

-- a type's owner
--   type types.hours, owner
--   type types.hours, privileges
ALTER TYPE types.hours OWNER TO {auditor};

-- who may use a type
--   type types.percent, privileges
GRANT USAGE ON TYPE types.percent TO PUBLIC;

-- a collation
--   collation types.letters
DROP COLLATION types.letters;

-- a conversion
--   comment conversion types.latin
--   conversion types.latin
DROP CONVERSION types.latin;

-- a text search configuration
--   text search configuration types."Search It", dictionaries
ALTER TEXT SEARCH CONFIGURATION types."Search It" DROP MAPPING FOR email;

-- a text search dictionary
--   text search dictionary types."As Is", options
ALTER TEXT SEARCH DICTIONARY types."As Is" (Accept = true);

-- a comment
--   comment table data.every_type, text
COMMENT ON TABLE data.every_type IS 'Every type';

-- a comment on a constraint
--   comment domain constraint "is positive" on types.positive
COMMENT ON CONSTRAINT "is positive" ON DOMAIN types.positive IS NULL;

-- a comment that should not be there
--   comment schema data
COMMENT ON SCHEMA data IS 'x';

-- a schema
--   schema "empty one"
DROP SCHEMA "empty one";

-- a schema's owner
--   schema "empty one", owner
--   schema "empty one", privileges
ALTER SCHEMA "empty one" OWNER TO {auditor};

-- who may enter a schema
--   schema "empty one", privileges
GRANT USAGE ON SCHEMA "empty one" TO {auditor};

-- who may pass a right on
--   schema "my schema", privileges
REVOKE GRANT OPTION FOR USAGE ON SCHEMA "my schema" FROM {reporter};

-- who may read a table
--   relation data.tree, privileges
REVOKE SELECT ON data.tree FROM PUBLIC;

-- what the owner may not
--   relation data.no_rows, privileges
GRANT DELETE ON data.no_rows TO {owner};

-- who may use a sequence
--   relation data.unused, privileges
REVOKE USAGE ON SEQUENCE data.unused FROM PUBLIC;

-- MAINTAIN
-- since 17
--   relation data.maintained, privileges
REVOKE MAINTAIN ON data.maintained FROM {auditor};

-- default privileges
--   default privileges r made by t_everything_owner in "Sales"
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA "Sales" REVOKE SELECT ON TABLES FROM PUBLIC;

-- what is public by default
--   default privileges f made by t_everything_owner in any schema
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT EXECUTE ON FUNCTIONS TO PUBLIC;

-- an extension
--   comment extension btree_gin
--   extension btree_gin
--   index data.mixed
DROP EXTENSION btree_gin CASCADE;

-- a wrapper's options
--   foreign-data wrapper "wra""pper", options
ALTER FOREIGN DATA WRAPPER "wra""pper" OPTIONS (DROP debug);

-- a server's options
--   foreign server "far away", options
ALTER SERVER "far away" OPTIONS (SET host 'b');

-- who may use a server
--   foreign server "far away", privileges
REVOKE USAGE ON FOREIGN SERVER "far away" FROM {reporter};

-- a user mapping
--   user mapping of PUBLIC on far away
DROP USER MAPPING FOR PUBLIC SERVER "far away";

-- a foreign table's options
--   relation data.foreign_table, foreign
ALTER FOREIGN TABLE data.foreign_table OPTIONS (SET file 'g');

-- a language
--   language our_sql, owner
--   language our_sql, privileges
ALTER LANGUAGE our_sql OWNER TO {auditor};

-- who may read the catalog
--   system privileges pg_catalog.pg_statistic_ext_data
REVOKE SELECT ON pg_catalog.pg_statistic_ext_data FROM {auditor};

-- who may call an extension's function
--   system privileges ext.similarity(pg_catalog.text,pg_catalog.text)
REVOKE EXECUTE ON FUNCTION ext.similarity(text, text) FROM PUBLIC;

-- a setting of the database
--   setting of all
ALTER DATABASE t_everything SET work_mem = '9MB';

-- a setting of a role in the database
--   setting of t_everything_reporter
ALTER ROLE {reporter} IN DATABASE t_everything SET work_mem = '9MB';

-- the database's connection limit
--   database itself, connection limit
ALTER DATABASE t_everything CONNECTION LIMIT 7;

-- who may enter the database
--   database itself, privileges
REVOKE CONNECT ON DATABASE t_everything FROM PUBLIC;

-- the database's comment
--   database itself, comment
COMMENT ON DATABASE t_everything IS 'x';
