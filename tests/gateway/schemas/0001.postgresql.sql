SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.alias_revision (
    revision bigint NOT NULL
);
CREATE TABLE public.aliases (
    name text NOT NULL,
    definition text NOT NULL,
    updated timestamp with time zone NOT NULL,
    updated_by text NOT NULL
);
CREATE TABLE public.key_secrets (
    digest bytea NOT NULL,
    key_id character varying(32) NOT NULL,
    created timestamp with time zone NOT NULL,
    valid_until timestamp with time zone
);
CREATE TABLE public.keys (
    id character varying(32) NOT NULL,
    name character varying(100) NOT NULL,
    team character varying(100) NOT NULL,
    models json NOT NULL,
    rpm bigint,
    tpm bigint,
    max_parallel bigint,
    monthly_tokens bigint,
    created timestamp with time zone NOT NULL,
    expires timestamp with time zone,
    revoked timestamp with time zone
);
CREATE TABLE public.usage (
    key_id character varying(32) NOT NULL,
    day date NOT NULL,
    team text NOT NULL,
    alias text NOT NULL,
    model text NOT NULL,
    requests bigint NOT NULL,
    prompt_tokens bigint NOT NULL,
    completion_tokens bigint NOT NULL
);
INSERT INTO public.alembic_version VALUES ('0001');
INSERT INTO public.alias_revision VALUES (1);
INSERT INTO public.aliases VALUES ('hr', '{"targets":{"base":90.0,"spare":10.0},"fallback":[],"grounding":true,"first_byte":30.0}', '2026-11-26 04:32:09.768822+00', 'ann');
INSERT INTO public.key_secrets VALUES ('\xb0679324228c35931acdfa8a487f94873c05094138a477994a5bdba6d6c24a56', 'r5p9nryuiw', '2026-11-26 04:32:09.646088+00', NULL);
INSERT INTO public.key_secrets VALUES ('\x8a652abf7512959a7ecf7abe32a2bb4634c0b03fc93008b0365ed67933bff00c', 'jltkj3fdrk', '2026-11-26 04:32:09.68733+00', NULL);
INSERT INTO public.keys VALUES ('r5p9nryuiw', 'ci', 'red', '["docs"]', 60, NULL, 4, 9000, '2026-11-26 04:32:09.614741+00', NULL, NULL);
INSERT INTO public.keys VALUES ('jltkj3fdrk', 'old', '', '[]', NULL, NULL, NULL, NULL, '2026-11-26 04:32:09.666389+00', NULL, '2026-11-26 04:32:09.71502+00');
INSERT INTO public.usage VALUES ('r5p9nryuiw', '2026-11-26', 'red', 'docs', 'base', 1, 1200, 80);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.aliases
    ADD CONSTRAINT aliases_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.key_secrets
    ADD CONSTRAINT key_secrets_pkey PRIMARY KEY (digest);
ALTER TABLE ONLY public.keys
    ADD CONSTRAINT keys_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.usage
    ADD CONSTRAINT usage_pkey PRIMARY KEY (key_id, day, team, alias, model);
CREATE INDEX ix_key_secrets_key_id ON public.key_secrets USING btree (key_id);
CREATE UNIQUE INDEX keys_name_in_use ON public.keys USING btree (name) WHERE (revoked IS NULL);
CREATE INDEX usage_day ON public.usage USING btree (day);
ALTER TABLE ONLY public.key_secrets
    ADD CONSTRAINT key_secrets_key_id_fkey FOREIGN KEY (key_id) REFERENCES public.keys(id);
