BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0015');
CREATE TABLE alias_revision (
	revision BIGINT NOT NULL
);
INSERT INTO "alias_revision" VALUES(2);
CREATE TABLE aliases (
	name TEXT NOT NULL, 
	definition TEXT NOT NULL, 
	updated DATETIME NOT NULL, 
	updated_by TEXT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "aliases" VALUES('hr','{"targets":{"base":90.0,"spare":10.0},"fallback":[],"grounding":true,"check":"mark","sources":[],"instructions":null,"first_byte":30.0}','2026-12-01 12:24:17.307847','ann');
INSERT INTO "aliases" VALUES('docs','{"targets":{"docs@v1":1.0},"fallback":[],"grounding":true,"check":"mark","sources":[],"instructions":null,"first_byte":30.0}','2026-12-01 12:24:17.356005','ann');
CREATE TABLE audit (
	id VARCHAR(32) NOT NULL, 
	at DATETIME NOT NULL, 
	who TEXT NOT NULL, 
	action TEXT NOT NULL, 
	target TEXT NOT NULL, 
	details JSON NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "audit" VALUES('76f1ca0749f827204b584782dd9ab920','2026-12-01 12:24:17.235849','ann@web1','key.create','ci','{"id": "5x3rrcihla", "team": "red", "models": ["docs"], "rpm": 60, "max_parallel": 4, "monthly_tokens": 9000}');
INSERT INTO "audit" VALUES('5302537443f85cc6d876f32d65d2715f','2026-12-01 12:24:17.249646','ann@web1','key.create','old','{"id": "fa4ukhrzxj", "team": "", "models": []}');
INSERT INTO "audit" VALUES('75624a78d0fe0822e4818dc503b0bd81','2026-12-01 12:24:17.264744','ann@web1','key.revoke','old','{"id": "fa4ukhrzxj"}');
INSERT INTO "audit" VALUES('e318fae781741b798d4cd31fee0334ca','2026-12-01 12:24:17.316905','ann@web1','alias.set','hr','{"targets": {"base": 90.0, "spare": 10.0}, "grounding": true, "instructions": 0}');
INSERT INTO "audit" VALUES('79f8ae3a1be029f42d587f001621c7a5','2026-12-01 12:24:17.357038','ann@web1','version.promote','docs','{"before": {"base": 1.0}, "after": {"docs@v1": 1.0}, "why": null}');
CREATE TABLE clusters (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	at DATETIME NOT NULL, 
	model TEXT NOT NULL, 
	vector BLOB NOT NULL
);
INSERT INTO "clusters" VALUES(1,'2026-12-01 12:24:17.922214','words/1',X'0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000003C0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000');
CREATE TABLE deployments (
	name TEXT NOT NULL, 
	source TEXT NOT NULL, 
	state TEXT NOT NULL, 
	message TEXT NOT NULL, 
	kind TEXT, 
	url TEXT, 
	model TEXT, 
	updated DATETIME NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "deployments" VALUES('docs@v1','/srv/versions','ready','','gguf','http://127.0.0.1:9001/v1','docs@v1','2026-12-01 12:24:17.352974');
CREATE TABLE digests (
	week DATE NOT NULL, 
	claimed DATETIME NOT NULL, 
	sent DATETIME, 
	PRIMARY KEY (week)
);
CREATE TABLE key_secrets (
	digest BLOB NOT NULL, 
	key_id VARCHAR(32) NOT NULL, 
	created DATETIME NOT NULL, 
	valid_until DATETIME, 
	PRIMARY KEY (digest), 
	FOREIGN KEY(key_id) REFERENCES keys (id)
);
INSERT INTO "key_secrets" VALUES(X'B0679324228C35931ACDFA8A487F94873C05094138A477994A5BDBA6D6C24A56','5x3rrcihla','2026-12-01 12:24:17.235558',NULL);
INSERT INTO "key_secrets" VALUES(X'8A652ABF7512959A7ECF7ABE32A2BB4634C0B03FC93008B0365ED67933BFF00C','fa4ukhrzxj','2026-12-01 12:24:17.249542',NULL);
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
	revoked DATETIME, groups JSON, for_people BOOLEAN DEFAULT 0 NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "keys" VALUES('5x3rrcihla','ci','red','["docs"]',60,NULL,4,9000,'2026-12-01 12:24:17.233639',NULL,NULL,'[]',0);
INSERT INTO "keys" VALUES('fa4ukhrzxj','old','','[]',NULL,NULL,NULL,NULL,'2026-12-01 12:24:17.248921',NULL,'2026-12-01 12:24:17.264324','[]',0);
CREATE TABLE members (
	question TEXT NOT NULL, 
	cluster INTEGER NOT NULL, 
	PRIMARY KEY (question), 
	FOREIGN KEY(question) REFERENCES questions (id) ON DELETE CASCADE, 
	FOREIGN KEY(cluster) REFERENCES clusters (id)
);
INSERT INTO "members" VALUES('q1',1);
CREATE TABLE outcomes (
	day DATE NOT NULL, 
	alias TEXT NOT NULL, 
	model TEXT NOT NULL, 
	measure TEXT NOT NULL, 
	bucket INTEGER NOT NULL, 
	count BIGINT NOT NULL, 
	PRIMARY KEY (day, alias, model, measure, bucket)
);
INSERT INTO "outcomes" VALUES('2026-12-01','docs','docs@v1','answered',0,1);
CREATE TABLE page_heat (
	url TEXT NOT NULL, 
	heat DOUBLE NOT NULL, 
	PRIMARY KEY (url)
);
INSERT INTO "page_heat" VALUES('https://wiki.example.com/vpn/',2.5);
CREATE TABLE page_readers (
	id INTEGER NOT NULL, 
	url TEXT NOT NULL, 
	groups TEXT NOT NULL, 
	since DATETIME NOT NULL, 
	until DATETIME, 
	PRIMARY KEY (id)
);
CREATE TABLE pages_shown (
	url TEXT NOT NULL, 
	"key" VARCHAR(32) NOT NULL, 
	day DATE NOT NULL, 
	times BIGINT NOT NULL, 
	PRIMARY KEY (url, "key", day)
);
CREATE TABLE promotions (
	number INTEGER NOT NULL, 
	at DATETIME NOT NULL, 
	"by" TEXT NOT NULL, 
	alias TEXT NOT NULL, 
	action TEXT NOT NULL, 
	"before" TEXT NOT NULL, 
	"after" TEXT NOT NULL, 
	verdict TEXT, 
	why TEXT, 
	PRIMARY KEY (number)
);
INSERT INTO "promotions" VALUES(1,'2026-12-01 12:24:17.356432','ann','docs','promote','{"base": 1.0}','{"docs@v1": 1.0}',NULL,NULL);
CREATE TABLE questions (
	id TEXT NOT NULL, 
	conversation TEXT NOT NULL, 
	at DATETIME NOT NULL, 
	channel TEXT NOT NULL, 
	alias TEXT NOT NULL, 
	question TEXT NOT NULL, 
	quote TEXT NOT NULL, 
	page TEXT NOT NULL, 
	visitor TEXT NOT NULL, 
	person TEXT NOT NULL, 
	team TEXT NOT NULL, 
	lang TEXT NOT NULL, 
	state TEXT NOT NULL, 
	model TEXT NOT NULL, 
	answer TEXT NOT NULL, 
	outcome JSON NOT NULL, 
	confidence FLOAT, 
	first_token FLOAT, 
	duration FLOAT, 
	shared TEXT, verdict TEXT, readers TEXT, readers_now TEXT, rights TEXT, 
	PRIMARY KEY (id), 
	UNIQUE (shared)
);
INSERT INTO "questions" VALUES('q0','c1','2026-11-02 09:30:00.000000','box','docs','How do I get a token?','','https://wiki.example.com/vpn/','v1','','red','','answered','docs@v1','Ask the desk.','{"sources": []}',NULL,NULL,NULL,'SSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSS',NULL,NULL,NULL,NULL);
INSERT INTO "questions" VALUES('q1','c1','2026-11-02 09:31:00.000000','box','docs','How do I get a token?','','https://wiki.example.com/vpn/','v1','','red','','answered','docs@v1','Ask the desk.','{"sources": []}',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE reviews (
	cluster INTEGER NOT NULL, 
	version INTEGER NOT NULL, 
	at DATETIME NOT NULL, 
	who TEXT NOT NULL, 
	action TEXT NOT NULL, 
	state TEXT NOT NULL, 
	question TEXT NOT NULL, 
	answer TEXT NOT NULL, 
	page TEXT NOT NULL, 
	section TEXT NOT NULL, 
	answerable BOOLEAN NOT NULL, 
	approved JSON NOT NULL, 
	PRIMARY KEY (cluster, version), 
	FOREIGN KEY(cluster) REFERENCES clusters (id)
);
INSERT INTO "reviews" VALUES(1,1,'2026-12-01 12:24:17.949455','wendy','approve','approved','How do I get a token?','From the second floor.','vpn.md','',1,'["wendy"]');
CREATE TABLE schema_reach (
	oldest VARCHAR(32) NOT NULL
);
INSERT INTO "schema_reach" VALUES('0006');
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
INSERT INTO "usage" VALUES('5x3rrcihla','2026-12-01','red','docs','base',1,1200,80);
CREATE TABLE usage_segments (
	name VARCHAR(64) NOT NULL, 
	at DATETIME NOT NULL, 
	PRIMARY KEY (name)
);
CREATE TABLE votes (
	question TEXT NOT NULL, 
	at DATETIME NOT NULL, 
	vote TEXT NOT NULL, 
	reasons JSON NOT NULL, 
	text TEXT NOT NULL, 
	visitor TEXT NOT NULL, 
	PRIMARY KEY (question), 
	FOREIGN KEY(question) REFERENCES questions (id) ON DELETE CASCADE
);
INSERT INTO "votes" VALUES('q1','2026-12-01 12:24:17.421360','down','["wrong"]','No desk here.','v1');
CREATE TABLE wiki_answers (
	number INTEGER NOT NULL, 
	id TEXT NOT NULL, 
	question TEXT NOT NULL, 
	paths TEXT NOT NULL, 
	model TEXT, 
	vector BLOB, 
	digest BIGINT NOT NULL, 
	PRIMARY KEY (number), 
	UNIQUE (id)
);
CREATE TABLE wiki_pages (
	number INTEGER NOT NULL, 
	source TEXT NOT NULL, 
	path TEXT NOT NULL, 
	stamp TEXT NOT NULL, 
	title TEXT NOT NULL, 
	url TEXT NOT NULL, 
	digest BIGINT NOT NULL, 
	sections BLOB NOT NULL, groups TEXT, 
	PRIMARY KEY (number), 
	CONSTRAINT wiki_pages_path UNIQUE (source, path)
);
CREATE TABLE wiki_sources (
	name TEXT NOT NULL, 
	spec TEXT NOT NULL, 
	synced TEXT, 
	problems TEXT NOT NULL, 
	PRIMARY KEY (name)
);
CREATE TABLE wiki_state (
	token VARCHAR(32) NOT NULL, 
	memory TEXT
, serving TEXT, embedders TEXT DEFAULT '{}' NOT NULL);
INSERT INTO "wiki_state" VALUES('91edb3d23b704064997643a3a100eaa8',NULL,NULL,'{}');
CREATE TABLE wiki_vectors (
	page INTEGER NOT NULL, 
	model TEXT NOT NULL, 
	scales BLOB NOT NULL, 
	matrix BLOB NOT NULL, 
	PRIMARY KEY (page, model), 
	FOREIGN KEY(page) REFERENCES wiki_pages (number) ON DELETE CASCADE
);
CREATE UNIQUE INDEX keys_name_in_use ON keys (name) WHERE revoked IS NULL;
CREATE INDEX ix_key_secrets_key_id ON key_secrets (key_id);
CREATE INDEX usage_day ON usage (day);
CREATE INDEX page_heat_heat ON page_heat (heat);
CREATE INDEX ix_questions_conversation ON questions (conversation);
CREATE INDEX ix_questions_at ON questions (at);
CREATE INDEX ix_questions_visitor ON questions (visitor);
CREATE INDEX ix_members_cluster ON members (cluster);
CREATE INDEX ix_audit_at ON audit (at);
CREATE INDEX ix_questions_measured ON questions (at, channel, alias, state, verdict, duration, id);
CREATE INDEX ix_questions_rights ON questions (rights);
CREATE INDEX ix_page_readers_url ON page_readers (url);
CREATE INDEX ix_page_readers_until ON page_readers (until);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('clusters',1);
COMMIT;
