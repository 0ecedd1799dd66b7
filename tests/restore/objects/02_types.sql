CREATE TYPE types.mood AS ENUM ('sad', 'ok', 'it''s "good"', 'ünïcode 🐘', E'back\\slash', ' ');
ALTER TYPE types.mood ADD VALUE 'between' AFTER 'ok';
ALTER TYPE types.mood ADD VALUE 'before' BEFORE 'sad';
CREATE TYPE types.nothing AS ENUM ();
COMMENT ON TYPE types.mood IS 'An enum; it''s ordered
by hand';

CREATE COLLATION types."Plain Order" FROM "C";
CREATE COLLATION types.letters (provider = libc, lc_collate = 'C.UTF-8', lc_ctype = 'C.UTF-8');
COMMENT ON COLLATION types."Plain Order" IS 'by byte';

CREATE TYPE types.address AS (street text, "Zip Code" varchar(10) COLLATE "C", place point, tags text[]);
CREATE TYPE types.person AS (name text COLLATE types."Plain Order", home types.address, moods types.mood[]);
CREATE TYPE types.void AS ();
COMMENT ON TYPE types.address IS 'A composite type';
COMMENT ON COLUMN types.address."Zip Code" IS 'It''s a code';

CREATE DOMAIN types.positive AS int DEFAULT 1 NOT NULL CONSTRAINT "is positive" CHECK (VALUE > 0);
CREATE DOMAIN types.percent AS types.positive CONSTRAINT small CHECK (VALUE <= 100);
CREATE DOMAIN types.email AS ext.citext CHECK (VALUE OPERATOR(ext.~) '^[^@\s]+@[^@\s]+$'::ext.citext);
CREATE DOMAIN types.code AS varchar(12) COLLATE types."Plain Order" DEFAULT E'a\\b''c';
CREATE DOMAIN types.matrix AS int[] CHECK (array_ndims(VALUE) = 2);
ALTER DOMAIN types.code ADD CONSTRAINT "not checked" CHECK (VALUE <> 'never') NOT VALID;
COMMENT ON DOMAIN types.positive IS 'Above zero';
COMMENT ON CONSTRAINT "is positive" ON DOMAIN types.positive IS 'zero isn''t';

CREATE FUNCTION types.seconds_between(time, time) RETURNS float8 LANGUAGE sql IMMUTABLE STRICT
  AS 'SELECT extract(epoch FROM $1 - $2)::float8';
CREATE TYPE types.hours AS RANGE (subtype = time, subtype_diff = types.seconds_between);
CREATE TYPE types.words AS RANGE (subtype = text, collation = types."Plain Order", subtype_opclass = text_pattern_ops);
COMMENT ON TYPE types.hours IS 'From, to';

REVOKE USAGE ON TYPE types.address FROM PUBLIC;
GRANT USAGE ON TYPE types.address TO {reporter} WITH GRANT OPTION;
REVOKE USAGE ON TYPE types.percent FROM PUBLIC;

CREATE TEXT SEARCH DICTIONARY types.stems (TEMPLATE = pg_catalog.snowball, Language = english, StopWords = english);
CREATE TEXT SEARCH DICTIONARY types."As Is" (TEMPLATE = pg_catalog.simple, Accept = false);
CREATE TEXT SEARCH CONFIGURATION types."Search It" (COPY = pg_catalog.english);
ALTER TEXT SEARCH CONFIGURATION types."Search It"
  ALTER MAPPING FOR asciiword, word WITH types."As Is", types.stems, pg_catalog.simple;
ALTER TEXT SEARCH CONFIGURATION types."Search It" DROP MAPPING FOR url, url_path;
CREATE TEXT SEARCH CONFIGURATION types.bare (PARSER = pg_catalog."default");
COMMENT ON TEXT SEARCH DICTIONARY types.stems IS 'stems';
COMMENT ON TEXT SEARCH CONFIGURATION types."Search It" IS 'it''s
for search';
CREATE CONVERSION types.latin FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
COMMENT ON CONVERSION types.latin IS 'a conversion';
