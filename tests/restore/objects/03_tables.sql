-- Every common type, with values at their edges.
CREATE TABLE data.every_type (
  id bigint GENERATED ALWAYS AS IDENTITY (START WITH 1000 INCREMENT BY 7 MINVALUE 10 MAXVALUE 9999999 CACHE 3 CYCLE)
    PRIMARY KEY,
  small smallint, whole int, big bigint, exact numeric(20, 5), loose numeric, single real, double double precision,
  cash money, fixed char(5), short varchar(20), long text, bytes bytea, quoted "char", named name,
  moment timestamp(3), instant timestamptz, day date, hour time, zoned timetz, length interval, span interval year to month,
  yes boolean, pt point, ln line, seg lseg, bx box, pth path, poly polygon, circ circle,
  ident uuid, host inet, net cidr, mac macaddr, mac8 macaddr8, bits bit(3), varbits varbit,
  words tsvector, query tsquery, loose_json json, tight_json jsonb, json_path jsonpath, wal pg_lsn, number oid,
  ints int[], matrix text[][], offsets int[], ranges int4range, spans tstzrange, numbers numrange, days daterange[],
  mood types.mood, moods types.mood[], home types.address, people types.person[], hours types.hours,
  share types.percent DEFAULT 50, mail types.email, code types.code, grid types.matrix,
  pairs ext.hstore, folded ext.citext, "Odd ""column"", name" text, "select" int, dropped int
);
INSERT INTO data.every_type (id, share) OVERRIDING SYSTEM VALUE VALUES (1, 1);
INSERT INTO data.every_type (small, whole, big, exact, loose, single, double, cash, fixed, short, long, bytes, quoted,
  named, moment, instant, day, hour, zoned, length, span, yes, pt, ln, seg, bx, pth, poly, circ, ident, host, net, mac,
  mac8, bits, varbits, words, query, loose_json, tight_json, json_path, wal, number, ints, matrix, offsets, ranges,
  spans, numbers, days, mood, moods, home, people, hours, share, mail, code, grid, pairs, folded,
  "Odd ""column"", name", "select")
VALUES
 (-32768, -2147483648, -9223372036854775808, 123456789012345.12345, 1e-200, 'NaN', '-Infinity', 12.34, 'a', '', '',
  '', '', '', '4713-01-01 00:00:00 BC', '294276-12-31 23:59:59.999999+00', 'infinity', '24:00', '23:59:59.999999+15:59',
  '-178000000 years', '1 year 2 months', true, '(1e-300,NaN)', '{1,2,3}', '[(0,0),(1,1)]', '(1,1),(0,0)',
  '[(0,0),(1,1)]', '((0,0),(1,1),(2,0))', '<(0,0),5>', '00000000-0000-0000-0000-000000000000', '::1/128', '10.0.0.0/8',
  '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', B'101', B'', 'it''s ''a\\b'':1A,2B fat', '!fat & (rat | ''c d'')',
  '{"a" :  1, "a": "dup\u00e9", "b": [ ]}', '{"z": null, "a": [1, "x\\y", {"k": "\ud83d\ude00"}]}', '$.a[*] ? (@ > 1)',
  '16/B374D848', 4294967295, '{}', '{{a,NULL},{"NULL","x,\"y\\z"}}', '[-2:0]={1,2,3}', 'empty', '[2000-01-01,)',
  '(,1.5]', '{"[2000-01-01,2000-02-01)",empty}', 'it''s "good"', '{before,between," ","back\\slash"}',
  '("1, ""Main"" St",,"(1,2)","{a,NULL}")', '{"(ann,\"(,00042,,)\",\"{ok}\")","(,,)"}', '[08:00,12:30)', 100,
  'Ann@Example.org', 'x', '{{1,2},{3,NULL}}', 'a=>1, "b c"=>NULL, "q\"t"=>"x\\y"', 'CaSe', 'odd', 7),
 (32767, 2147483647, 9223372036854775807, -0.00001, 'NaN', 3.4028235e38, 5e-324, -92233720368547758.08, 'abcde',
  'twenty characters !!', repeat('long ünï 🐘 ', 40000), decode(repeat('00ff5c2e0a', 20000), 'hex'), 'x', repeat('n', 63),
  '-infinity', '-infinity', '4713-01-01 BC', '00:00', '00:00-15:59', '1 mon -1 day +00:00:00.000001', '-1 month', false,
  '(0,-0)', '{0,1,0}', '[(1,2),(3,4)]', '(2,2),(1,1)', '((0,0),(1,1))', '((0,0))', '<(1,2),0>',
  'ffffffff-ffff-ffff-ffff-ffffffffffff', '192.168.1.5/24', '::/0', 'ff:ff:ff:ff:ff:ff', 'ff:ff:ff:ff:ff:ff:ff:ff',
  B'000', B'1010101010', '', '', 'null', 'null', 'strict $."x y"', '0/0', 0, '{1,NULL,-3}', '{}', '{5}', '[1,10)',
  '(,)', '(1e10,)', '{}', 'ünïcode 🐘', '{}', '(,"",,)', '{}', 'empty', 1, 'b@c', E'tab\tnl\n', '{{0}}', '', '', NULL, NULL),
 (0, 0, 0, 0, 0, '-0', '-0', 0, '', ' ', E'\\N', '\x', 'a', 'NULL', '2000-02-29 12:00:00.123', '2024-03-31 02:30:00+02',
  '-infinity', '12:34:56.789', '12:00+00', '0', '0', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '0.0.0.0/0',
  '1.2.3.0/24', NULL, NULL, NULL, NULL, NULL, NULL, '"\\u0000 as text"', '"x"', NULL, NULL, NULL, '{NULL,NULL}', NULL,
  NULL, NULL, NULL, NULL, NULL, 'sad', NULL, NULL, NULL, NULL, 3, NULL, NULL, NULL, NULL, NULL, E'\\.', 0);
ALTER TABLE data.every_type DROP COLUMN dropped;
ALTER TABLE data.every_type ADD COLUMN late text DEFAULT 'added, with ''rows'' there' NOT NULL;
ALTER TABLE data.every_type ALTER late SET DEFAULT E'then\\changed';
COMMENT ON TABLE data.every_type IS 'Every type
-- it''s all "here"; \N $$ $_$';
COMMENT ON COLUMN data.every_type."Odd ""column"", name" IS E'a \\ b\n''c''';

-- Text that looks like the dump around it.
CREATE TABLE data.hostile (line text, n int);
INSERT INTO data.hostile SELECT line, n FROM unnest(ARRAY[
  '', NULL, ' ', E'\\.', E'\\.\n', E'\n\\.\n', E'\\\\.', '\N', 'NULL', E'\t', E'a\tb', E'\r', E'\r\n', E'\n', E'a\nb\r\nc',
  '--', '-- PostgreSQL database dump complete', '-- Dumped by pg_dump version 99.9', 'COPY x (y) FROM stdin;',
  'COMMIT;', 'BEGIN;', 'RESET ROLE;', 'SET SESSION AUTHORIZATION postgres;', E'\\connect postgres', E'\\restrict abc',
  E'\\unrestrict abc', E'\\! touch /tmp/x', E'x\n\\connect postgres\ny', E'\\.\\connect postgres', ''';DROP TABLE x;--',
  '$$', '$_$', '/*', '*/', '/* a /* b */', E'\x01\x08\x0b\x0c\x1b\x7f', 'ünïcode 🐘 中文 עברית', 'a' || chr(8232) || 'b',
  chr(65279) || 'bom', '{{ .Template }}', '${HOME}', '%s %(x)s', ':var :''var'' :"var"', E'\\', E'\\\\', E'end\\',
  repeat('\', 1000), repeat(E'\\.\n', 1000), repeat('x', 1048576), repeat(E'\t', 5000), '"', '""', ',', '(),{}'
]) WITH ORDINALITY AS t (line, n);
CREATE TABLE data."COPY data.hostile (line) FROM stdin;" ("\." text, "a
b" text DEFAULT '\.');
INSERT INTO data."COPY data.hostile (line) FROM stdin;" VALUES (E'\\.', E'\\N'), (NULL, DEFAULT);
CREATE TABLE data.no_columns ();
INSERT INTO data.no_columns DEFAULT VALUES;
INSERT INTO data.no_columns DEFAULT VALUES;
INSERT INTO data.no_columns DEFAULT VALUES;
CREATE TABLE data.no_rows (id int PRIMARY KEY);
CREATE TABLE "Sales"."Order" ("Id" int PRIMARY KEY, "select" text);
INSERT INTO "Sales"."Order" SELECT n, 'order ' || n FROM generate_series(1, 500) n;
CREATE TABLE "we.ird ""q"" 'x' \ ünï"."ta.ble ""t"" 'y' \ 🐘" ("co.l ""c"" 'z' \ é" text PRIMARY KEY);
INSERT INTO "we.ird ""q"" 'x' \ ünï"."ta.ble ""t"" 'y' \ 🐘" VALUES ('one'), (E'two\ttabs');
CREATE TABLE "my schema".same_name (id int);
CREATE TABLE "select".same_name (id text);
INSERT INTO "select".same_name VALUES ('the other');
CREATE TABLE public.in_public (id serial PRIMARY KEY, note text);
INSERT INTO public.in_public (note) VALUES ('one'), ('two');

-- Columns that are made, or counted.
CREATE TABLE data.generated (
  a int NOT NULL, b int, double_a int GENERATED ALWAYS AS (a * 2) STORED,
  label text GENERATED ALWAYS AS ('it''s ' || a::text || E'\\') STORED,
  "Number" int GENERATED BY DEFAULT AS IDENTITY (SEQUENCE NAME data."Num ber;" START WITH -5 INCREMENT BY -5 MAXVALUE -1),
  stamp timestamptz DEFAULT '2000-01-01 00:00:00+00'
);
INSERT INTO data.generated (a, b) SELECT n, -n FROM generate_series(1, 20) n;
CREATE UNLOGGED TABLE data.unlogged (id int PRIMARY KEY, note text);
INSERT INTO data.unlogged VALUES (1, 'kept');
CREATE TABLE data.tuned (
  id int, long text, other text, note text
) WITH (fillfactor = 70, autovacuum_enabled = false, autovacuum_vacuum_scale_factor = 0.05, toast.autovacuum_enabled = false);
ALTER TABLE data.tuned ALTER long SET STORAGE EXTERNAL, ALTER other SET STORAGE MAIN, ALTER note SET STATISTICS 500,
  ALTER id SET (n_distinct = -0.5, n_distinct_inherited = 10);
CREATE TABLE data.addresses OF types.address (street WITH OPTIONS NOT NULL, PRIMARY KEY ("Zip Code"));
INSERT INTO data.addresses VALUES ('Main', '00001', NULL, '{}');
CREATE TABLE data.copied (LIKE data.generated INCLUDING ALL, extra data.tuned);
INSERT INTO data.copied (a, extra) VALUES (1, (1, 'l', 'o', NULL));

-- Sequences with odd settings and states.
CREATE SEQUENCE data.down AS smallint INCREMENT BY -3 MINVALUE -300 MAXVALUE 30 START WITH 0 CACHE 5 CYCLE;
SELECT nextval('data.down'), nextval('data.down');
CREATE SEQUENCE data.unused AS int START WITH 42;
CREATE SEQUENCE data.full MAXVALUE 2;
SELECT setval('data.full', 2, true);
CREATE SEQUENCE data.rewound;
SELECT setval('data.rewound', 77, false);
CREATE SEQUENCE "my schema"."Seq""uence";
SELECT setval('"my schema"."Seq""uence"', 9223372036854775807);
CREATE TABLE data.borrows (id bigint DEFAULT nextval('"my schema"."Seq""uence"'), n int DEFAULT nextval('data.unused'));
CREATE SEQUENCE data.owned OWNED BY data.borrows.n;
COMMENT ON SEQUENCE data.down IS 'It''s going down';
