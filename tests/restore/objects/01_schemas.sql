-- Schemas whose names must be quoted, and an extension schema that everything else may lean on.
CREATE SCHEMA ext;
CREATE SCHEMA types;
CREATE SCHEMA data;
CREATE SCHEMA code;
CREATE SCHEMA "Sales";
CREATE SCHEMA "my schema";
CREATE SCHEMA "select";
CREATE SCHEMA "we.ird ""q"" 'x' \ ünï";
CREATE SCHEMA "empty one";
COMMENT ON SCHEMA "Sales" IS 'Upper case; it''s "quoted",
on two lines -- with a dash, a \ and a	tab';
COMMENT ON SCHEMA "we.ird ""q"" 'x' \ ünï" IS '';
COMMENT ON SCHEMA "select" IS E'\\connect postgres\n\\.\nDROP TABLE x;';
CREATE EXTENSION citext SCHEMA ext;
CREATE EXTENSION hstore SCHEMA ext;
CREATE EXTENSION pg_trgm SCHEMA ext;
CREATE EXTENSION btree_gist SCHEMA ext;
CREATE EXTENSION btree_gin SCHEMA "my schema";
GRANT USAGE ON SCHEMA types, data TO PUBLIC;
GRANT USAGE ON SCHEMA "Sales" TO {reporter};
GRANT USAGE, CREATE ON SCHEMA "my schema" TO {reporter} WITH GRANT OPTION;
GRANT USAGE ON SCHEMA "select" TO {auditor};
