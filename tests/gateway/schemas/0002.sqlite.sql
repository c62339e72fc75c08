BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0002');
CREATE TABLE alias_revision (
	revision BIGINT NOT NULL
);
INSERT INTO "alias_revision" VALUES(1);
CREATE TABLE aliases (
	name TEXT NOT NULL, 
	definition TEXT NOT NULL, 
	updated DATETIME NOT NULL, 
	updated_by TEXT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "aliases" VALUES('hr','{"targets":{"base":90.0,"spare":10.0},"fallback":[],"grounding":true,"first_byte":30.0}','2026-11-26 04:32:19.863369','ann');
CREATE TABLE key_secrets (
	digest BLOB NOT NULL, 
	key_id VARCHAR(32) NOT NULL, 
	created DATETIME NOT NULL, 
	valid_until DATETIME, 
	PRIMARY KEY (digest), 
	FOREIGN KEY(key_id) REFERENCES keys (id)
);
INSERT INTO "key_secrets" VALUES(X'B0679324228C35931ACDFA8A487F94873C05094138A477994A5BDBA6D6C24A56','jrk08j4kv6','2026-11-26 04:32:19.735057',NULL);
INSERT INTO "key_secrets" VALUES(X'8A652ABF7512959A7ECF7ABE32A2BB4634C0B03FC93008B0365ED67933BFF00C','i45gf6tzh0','2026-11-26 04:32:19.755549',NULL);
CREATE TABLE keys (
	id VARCHAR(32) NOT NULL, 
	name VARCHAR(100) NOT NULL, 
	team VARCHAR(100) NOT NULL, 
	models JSON NOT NULL, 
	rpm BIGINT, 
	tpm BIGINT, 
	max_parallel BIGINT, 
	monthly_tokens BIGINT, 
	created DATETIME NOT NULL, 
	expires DATETIME, 
	revoked DATETIME, 
	PRIMARY KEY (id)
);
INSERT INTO "keys" VALUES('jrk08j4kv6','ci','red','["docs"]',60,NULL,4,9000,'2026-11-26 04:32:19.726498',NULL,NULL);
INSERT INTO "keys" VALUES('i45gf6tzh0','old','','[]',NULL,NULL,NULL,NULL,'2026-11-26 04:32:19.754107',NULL,'2026-11-26 04:32:19.780435');
CREATE TABLE page_heat (
	url TEXT NOT NULL, 
	heat DOUBLE NOT NULL, 
	PRIMARY KEY (url)
);
INSERT INTO "page_heat" VALUES('https://wiki.example.com/vpn/',2.5);
CREATE TABLE usage (
	key_id VARCHAR(32) NOT NULL, 
	day DATE NOT NULL, 
	team TEXT NOT NULL, 
	alias TEXT NOT NULL, 
	model TEXT NOT NULL, 
	requests BIGINT NOT NULL, 
	prompt_tokens BIGINT NOT NULL, 
	completion_tokens BIGINT NOT NULL, 
	PRIMARY KEY (key_id, day, team, alias, model)
);
INSERT INTO "usage" VALUES('jrk08j4kv6','2026-11-26','red','docs','base',1,1200,80);
CREATE UNIQUE INDEX keys_name_in_use ON keys (name) WHERE revoked IS NULL;
CREATE INDEX ix_key_secrets_key_id ON key_secrets (key_id);
CREATE INDEX usage_day ON usage (day);
CREATE INDEX page_heat_heat ON page_heat (heat);
COMMIT;
