-- Makes the two roles of the program. The image of Postgres runs this with psql in the database named by POSTGRES_DB,
-- once, when the volume is new: changing a password in .env later changes no role (ALTER ROLE does).
\getenv owner_password DATABASE_OWNER_PASSWORD
\getenv serving_password DATABASE_PASSWORD

-- A statement that fails would be logged with the password in it.
SET log_min_error_statement = 'panic';

-- The owner runs the migrations. The serving role owns none of our tables and is no superuser: row-level security and
-- append-only tables bind only such a role.
CREATE ROLE keyframe_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD :'owner_password';
CREATE ROLE keyframe LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD :'serving_password';

ALTER DATABASE keyframe OWNER TO keyframe_owner;
REVOKE ALL ON DATABASE keyframe FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE keyframe TO keyframe;
