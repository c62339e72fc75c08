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
CREATE TABLE public.audit (
    id character varying(32) NOT NULL,
    at timestamp with time zone NOT NULL,
    who text NOT NULL,
    action text NOT NULL,
    target text NOT NULL,
    details json NOT NULL
);
CREATE TABLE public.clusters (
    id integer NOT NULL,
    at timestamp with time zone NOT NULL,
    model text NOT NULL,
    vector bytea NOT NULL
);
CREATE SEQUENCE public.clusters_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.clusters_id_seq OWNED BY public.clusters.id;
CREATE TABLE public.deployments (
    name text NOT NULL,
    source text NOT NULL,
    state text NOT NULL,
    message text NOT NULL,
    kind text,
    url text,
    model text,
    updated timestamp with time zone NOT NULL
);
CREATE TABLE public.digests (
    week date NOT NULL,
    claimed timestamp with time zone NOT NULL,
    sent timestamp with time zone
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
    revoked timestamp with time zone,
    groups json,
    for_people boolean DEFAULT false NOT NULL
);
CREATE TABLE public.members (
    question text NOT NULL,
    cluster integer NOT NULL
);
CREATE TABLE public.outcomes (
    day date NOT NULL,
    alias text NOT NULL,
    model text NOT NULL,
    measure text NOT NULL,
    bucket integer NOT NULL,
    count bigint NOT NULL
);
CREATE TABLE public.page_heat (
    url text NOT NULL,
    heat double precision NOT NULL
);
CREATE TABLE public.page_readers (
    id integer NOT NULL,
    url text NOT NULL,
    groups text NOT NULL,
    since timestamp with time zone NOT NULL,
    until timestamp with time zone
);
CREATE SEQUENCE public.page_readers_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.page_readers_id_seq OWNED BY public.page_readers.id;
CREATE TABLE public.pages_shown (
    url text NOT NULL,
    key character varying(32) NOT NULL,
    day date NOT NULL,
    times bigint NOT NULL
);
CREATE TABLE public.promotions (
    number integer NOT NULL,
    at timestamp with time zone NOT NULL,
    by text NOT NULL,
    alias text NOT NULL,
    action text NOT NULL,
    before text NOT NULL,
    after text NOT NULL,
    verdict text,
    why text
);
CREATE SEQUENCE public.promotions_number_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.promotions_number_seq OWNED BY public.promotions.number;
CREATE TABLE public.questions (
    id text NOT NULL,
    conversation text NOT NULL,
    at timestamp with time zone NOT NULL,
    channel text NOT NULL,
    alias text NOT NULL,
    question text NOT NULL,
    quote text NOT NULL,
    page text NOT NULL,
    visitor text NOT NULL,
    person text NOT NULL,
    team text NOT NULL,
    lang text NOT NULL,
    state text NOT NULL,
    model text NOT NULL,
    answer text NOT NULL,
    outcome json NOT NULL,
    confidence double precision,
    first_token double precision,
    duration double precision,
    shared text,
    verdict text,
    readers text,
    readers_now text,
    rights text
);
CREATE TABLE public.reviews (
    cluster integer NOT NULL,
    version integer NOT NULL,
    at timestamp with time zone NOT NULL,
    who text NOT NULL,
    action text NOT NULL,
    state text NOT NULL,
    question text NOT NULL,
    answer text NOT NULL,
    page text NOT NULL,
    section text NOT NULL,
    answerable boolean NOT NULL,
    approved json NOT NULL
);
CREATE TABLE public.schema_reach (
    oldest character varying(32) NOT NULL
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
CREATE TABLE public.usage_segments (
    name character varying(64) NOT NULL,
    at timestamp with time zone NOT NULL
);
CREATE TABLE public.votes (
    question text NOT NULL,
    at timestamp with time zone NOT NULL,
    vote text NOT NULL,
    reasons json NOT NULL,
    text text NOT NULL,
    visitor text NOT NULL
);
CREATE TABLE public.wiki_answers (
    number integer NOT NULL,
    id text NOT NULL,
    question text NOT NULL,
    paths text NOT NULL,
    model text,
    vector bytea,
    digest bigint NOT NULL
);
CREATE SEQUENCE public.wiki_answers_number_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.wiki_answers_number_seq OWNED BY public.wiki_answers.number;
CREATE TABLE public.wiki_pages (
    number integer NOT NULL,
    source text NOT NULL,
    path text NOT NULL,
    stamp text NOT NULL,
    title text NOT NULL,
    url text NOT NULL,
    digest bigint NOT NULL,
    sections bytea NOT NULL,
    groups text
);
CREATE SEQUENCE public.wiki_pages_number_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.wiki_pages_number_seq OWNED BY public.wiki_pages.number;
CREATE TABLE public.wiki_sources (
    name text NOT NULL,
    spec text NOT NULL,
    synced text,
    problems text NOT NULL
);
CREATE TABLE public.wiki_state (
    token character varying(32) NOT NULL,
    memory text,
    serving text,
    embedders text DEFAULT '{}'::text NOT NULL
);
CREATE TABLE public.wiki_vectors (
    page integer NOT NULL,
    model text NOT NULL,
    scales bytea NOT NULL,
    matrix bytea NOT NULL
);
ALTER TABLE ONLY public.clusters ALTER COLUMN id SET DEFAULT nextval('public.clusters_id_seq'::regclass);
ALTER TABLE ONLY public.page_readers ALTER COLUMN id SET DEFAULT nextval('public.page_readers_id_seq'::regclass);
ALTER TABLE ONLY public.promotions ALTER COLUMN number SET DEFAULT nextval('public.promotions_number_seq'::regclass);
ALTER TABLE ONLY public.wiki_answers ALTER COLUMN number SET DEFAULT nextval('public.wiki_answers_number_seq'::regclass);
ALTER TABLE ONLY public.wiki_pages ALTER COLUMN number SET DEFAULT nextval('public.wiki_pages_number_seq'::regclass);
INSERT INTO public.alembic_version VALUES ('0015');
INSERT INTO public.alias_revision VALUES (2);
INSERT INTO public.aliases VALUES ('hr', '{"targets":{"base":90.0,"spare":10.0},"fallback":[],"grounding":true,"check":"mark","sources":[],"instructions":null,"first_byte":30.0}', '2026-12-01 12:24:41.58506+00', 'ann');
INSERT INTO public.aliases VALUES ('docs', '{"targets":{"docs@v1":1.0},"fallback":[],"grounding":true,"check":"mark","sources":[],"instructions":null,"first_byte":30.0}', '2026-12-01 12:24:42.434575+00', 'ann');
INSERT INTO public.audit VALUES ('9b2e4c8486906a29bda04f8985eee805', '2026-12-01 12:24:41.540358+00', 'ann@web1', 'key.create', 'ci', '{"id": "85kbat6te1", "team": "red", "models": ["docs"], "rpm": 60, "max_parallel": 4, "monthly_tokens": 9000}');
INSERT INTO public.audit VALUES ('70b55db2d11b77ea66407390e702f948', '2026-12-01 12:24:41.548852+00', 'ann@web1', 'key.create', 'old', '{"id": "rr3p6secok", "team": "", "models": []}');
INSERT INTO public.audit VALUES ('ae732ef2f2a4b9ba96092c7519973309', '2026-12-01 12:24:41.556361+00', 'ann@web1', 'key.revoke', 'old', '{"id": "rr3p6secok"}');
INSERT INTO public.audit VALUES ('6d0e12ac511c4a9e5f3ea5040802d892', '2026-12-01 12:24:41.588912+00', 'ann@web1', 'alias.set', 'hr', '{"targets": {"base": 90.0, "spare": 10.0}, "grounding": true, "instructions": 0}');
INSERT INTO public.audit VALUES ('9887aaddee596e3e08bcddc127fdce6c', '2026-12-01 12:24:42.445476+00', 'ann@web1', 'version.promote', 'docs', '{"before": {"base": 1.0}, "after": {"docs@v1": 1.0}, "why": null}');
INSERT INTO public.clusters VALUES (1, '2026-12-01 12:24:42.71471+00', 'words/1', '\x0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000003c0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000');
INSERT INTO public.deployments VALUES ('docs@v1', '/srv/versions', 'ready', '', 'gguf', 'http://127.0.0.1:9001/v1', 'docs@v1', '2026-12-01 12:24:42.432316+00');
INSERT INTO public.key_secrets VALUES ('\xb0679324228c35931acdfa8a487f94873c05094138a477994a5bdba6d6c24a56', '85kbat6te1', '2026-12-01 12:24:41.53495+00', NULL);
INSERT INTO public.key_secrets VALUES ('\x8a652abf7512959a7ecf7abe32a2bb4634c0b03fc93008b0365ed67933bff00c', 'rr3p6secok', '2026-12-01 12:24:41.548329+00', NULL);
INSERT INTO public.keys VALUES ('85kbat6te1', 'ci', 'red', '["docs"]', 60, NULL, 4, 9000, '2026-12-01 12:24:41.526585+00', NULL, NULL, '[]', false);
INSERT INTO public.keys VALUES ('rr3p6secok', 'old', '', '[]', NULL, NULL, NULL, NULL, '2026-12-01 12:24:41.544929+00', NULL, '2026-12-01 12:24:41.554266+00', '[]', false);
INSERT INTO public.members VALUES ('q1', 1);
INSERT INTO public.outcomes VALUES ('2026-12-01', 'docs', 'docs@v1', 'answered', 0, 1);
INSERT INTO public.page_heat VALUES ('https://wiki.example.com/vpn/', 2.5);
INSERT INTO public.promotions VALUES (1, '2026-12-01 12:24:42.443782+00', 'ann', 'docs', 'promote', '{"base": 1.0}', '{"docs@v1": 1.0}', NULL, NULL);
INSERT INTO public.questions VALUES ('q1', 'c1', '2026-11-02 09:31:00+00', 'box', 'docs', 'How do I get a token?', '', 'https://wiki.example.com/vpn/', 'v1', '', 'red', '', 'answered', 'docs@v1', 'Ask the desk.', '{"sources": []}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.questions VALUES ('q0', 'c1', '2026-11-02 09:30:00+00', 'box', 'docs', 'How do I get a token?', '', 'https://wiki.example.com/vpn/', 'v1', '', 'red', '', 'answered', 'docs@v1', 'Ask the desk.', '{"sources": []}', NULL, NULL, NULL, 'SSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSS', NULL, NULL, NULL, NULL);
INSERT INTO public.reviews VALUES (1, 1, '2026-12-01 12:24:42.752407+00', 'wendy', 'approve', 'approved', 'How do I get a token?', 'From the second floor.', 'vpn.md', '', true, '["wendy"]');
INSERT INTO public.schema_reach VALUES ('0006');
INSERT INTO public.usage VALUES ('85kbat6te1', '2026-12-01', 'red', 'docs', 'base', 1, 1200, 80);
INSERT INTO public.votes VALUES ('q1', '2026-12-01 12:24:42.504438+00', 'down', '["wrong"]', 'No desk here.', 'v1');
INSERT INTO public.wiki_pages VALUES (1, 'wiki', 'vpn.md', '1', 'VPN', 'https://wiki.example.com/vpn/', -6947684021126071892, '\x78018b8e560a0bf053d251502a2bc80352d1b140a6b202502c262f262f242315c454c84b4d4d2956485428c9cf4ecdd3538a8d0500ac781040', NULL);
INSERT INTO public.wiki_sources VALUES ('wiki', '{}', NULL, '[]');
INSERT INTO public.wiki_state VALUES ('2becd6997120440eb1cf3ad7dc98613a', NULL, NULL, '{}');
SELECT pg_catalog.setval('public.clusters_id_seq', 1, true);
SELECT pg_catalog.setval('public.page_readers_id_seq', 1, false);
SELECT pg_catalog.setval('public.promotions_number_seq', 1, true);
SELECT pg_catalog.setval('public.wiki_answers_number_seq', 1, false);
SELECT pg_catalog.setval('public.wiki_pages_number_seq', 1, true);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.aliases
    ADD CONSTRAINT aliases_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.clusters
    ADD CONSTRAINT clusters_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.deployments
    ADD CONSTRAINT deployments_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.digests
    ADD CONSTRAINT digests_pkey PRIMARY KEY (week);
ALTER TABLE ONLY public.key_secrets
    ADD CONSTRAINT key_secrets_pkey PRIMARY KEY (digest);
ALTER TABLE ONLY public.keys
    ADD CONSTRAINT keys_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.members
    ADD CONSTRAINT members_pkey PRIMARY KEY (question);
ALTER TABLE ONLY public.outcomes
    ADD CONSTRAINT outcomes_pkey PRIMARY KEY (day, alias, model, measure, bucket);
ALTER TABLE ONLY public.page_heat
    ADD CONSTRAINT page_heat_pkey PRIMARY KEY (url);
ALTER TABLE ONLY public.page_readers
    ADD CONSTRAINT page_readers_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.pages_shown
    ADD CONSTRAINT pages_shown_pkey PRIMARY KEY (url, key, day);
ALTER TABLE ONLY public.promotions
    ADD CONSTRAINT promotions_pkey PRIMARY KEY (number);
ALTER TABLE ONLY public.questions
    ADD CONSTRAINT questions_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.questions
    ADD CONSTRAINT questions_shared_key UNIQUE (shared);
ALTER TABLE ONLY public.reviews
    ADD CONSTRAINT reviews_pkey PRIMARY KEY (cluster, version);
ALTER TABLE ONLY public.usage
    ADD CONSTRAINT usage_pkey PRIMARY KEY (key_id, day, team, alias, model);
ALTER TABLE ONLY public.usage_segments
    ADD CONSTRAINT usage_segments_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.votes
    ADD CONSTRAINT votes_pkey PRIMARY KEY (question);
ALTER TABLE ONLY public.wiki_answers
    ADD CONSTRAINT wiki_answers_id_key UNIQUE (id);
ALTER TABLE ONLY public.wiki_answers
    ADD CONSTRAINT wiki_answers_pkey PRIMARY KEY (number);
ALTER TABLE ONLY public.wiki_pages
    ADD CONSTRAINT wiki_pages_path UNIQUE (source, path);
ALTER TABLE ONLY public.wiki_pages
    ADD CONSTRAINT wiki_pages_pkey PRIMARY KEY (number);
ALTER TABLE ONLY public.wiki_sources
    ADD CONSTRAINT wiki_sources_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.wiki_vectors
    ADD CONSTRAINT wiki_vectors_pkey PRIMARY KEY (page, model);
CREATE INDEX ix_audit_at ON public.audit USING btree (at);
CREATE INDEX ix_key_secrets_key_id ON public.key_secrets USING btree (key_id);
CREATE INDEX ix_members_cluster ON public.members USING btree (cluster);
CREATE INDEX ix_page_readers_until ON public.page_readers USING btree (until);
CREATE INDEX ix_page_readers_url ON public.page_readers USING btree (url);
CREATE INDEX ix_questions_at ON public.questions USING btree (at);
CREATE INDEX ix_questions_conversation ON public.questions USING btree (conversation);
CREATE INDEX ix_questions_measured ON public.questions USING btree (at, channel, alias, state, verdict, duration, id);
CREATE INDEX ix_questions_rights ON public.questions USING btree (rights);
CREATE INDEX ix_questions_visitor ON public.questions USING btree (visitor);
CREATE UNIQUE INDEX keys_name_in_use ON public.keys USING btree (name) WHERE (revoked IS NULL);
CREATE INDEX page_heat_heat ON public.page_heat USING btree (heat);
CREATE INDEX usage_day ON public.usage USING btree (day);
ALTER TABLE ONLY public.key_secrets
    ADD CONSTRAINT key_secrets_key_id_fkey FOREIGN KEY (key_id) REFERENCES public.keys(id);
ALTER TABLE ONLY public.members
    ADD CONSTRAINT members_cluster_fkey FOREIGN KEY (cluster) REFERENCES public.clusters(id);
ALTER TABLE ONLY public.members
    ADD CONSTRAINT members_question_fkey FOREIGN KEY (question) REFERENCES public.questions(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.reviews
    ADD CONSTRAINT reviews_cluster_fkey FOREIGN KEY (cluster) REFERENCES public.clusters(id);
ALTER TABLE ONLY public.votes
    ADD CONSTRAINT votes_question_fkey FOREIGN KEY (question) REFERENCES public.questions(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.wiki_vectors
    ADD CONSTRAINT wiki_vectors_page_fkey FOREIGN KEY (page) REFERENCES public.wiki_pages(number) ON DELETE CASCADE;
