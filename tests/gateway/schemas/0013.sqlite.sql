BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0013');
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
INSERT INTO "aliases" VALUES('hr','{"targets":{"base":90.0,"spare":10.0},"fallback":[],"grounding":true,"check":"mark","sources":[],"instructions":null,"first_byte":30.0}','2026-11-28 21:25:47.113720','ann');
INSERT INTO "aliases" VALUES('docs','{"targets":{"docs@v1":1.0},"fallback":[],"grounding":true,"check":"mark","sources":[],"instructions":null,"first_byte":30.0}','2026-11-28 21:25:47.320654','ann');
CREATE TABLE audit (
	id VARCHAR(32) NOT NULL, 
	at DATETIME NOT NULL, 
	who TEXT NOT NULL, 
	action TEXT NOT NULL, 
	target TEXT NOT NULL, 
	details JSON NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "audit" VALUES('abd5c8388722983ab5fcf8959be946d5','2026-11-28 21:25:46.915526','ann@web1','key.create','ci','{"id": "pomt94tdre", "team": "red", "models": ["docs"], "rpm": 60, "max_parallel": 4, "monthly_tokens": 9000}');
INSERT INTO "audit" VALUES('3431314ee104c02d100fe103d131c892','2026-11-28 21:25:46.973300','ann@web1','key.create','old','{"id": "se0o7svcb9", "team": "", "models": []}');
INSERT INTO "audit" VALUES('43c436e20eb3d0aade87bc6d6914742c','2026-11-28 21:25:46.999747','ann@web1','key.revoke','old','{"id": "se0o7svcb9"}');
INSERT INTO "audit" VALUES('c582d17cf15001a257a1ef551e43f74e','2026-11-28 21:25:47.115452','ann@web1','alias.set','hr','{"targets": {"base": 90.0, "spare": 10.0}, "grounding": true, "instructions": 0}');
INSERT INTO "audit" VALUES('57818795624478ca2765e230d5a03118','2026-11-28 21:25:47.329318','ann@web1','version.promote','docs','{"before": {"base": 1.0}, "after": {"docs@v1": 1.0}, "why": null}');
CREATE TABLE clusters (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	at DATETIME NOT NULL, 
	model TEXT NOT NULL, 
	vector BLOB NOT NULL
);
INSERT INTO "clusters" VALUES(1,'2026-11-28 21:25:51.093040','words/1',X'0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000003C0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000');
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
INSERT INTO "deployments" VALUES('docs@v1','/srv/versions','ready','','gguf','http://127.0.0.1:9001/v1','docs@v1','2026-11-28 21:25:47.294683');
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
INSERT INTO "key_secrets" VALUES(X'B0679324228C35931ACDFA8A487F94873C05094138A477994A5BDBA6D6C24A56','pomt94tdre','2026-11-28 21:25:46.915012',NULL);
INSERT INTO "key_secrets" VALUES(X'8A652ABF7512959A7ECF7ABE32A2BB4634C0B03FC93008B0365ED67933BFF00C','se0o7svcb9','2026-11-28 21:25:46.973131',NULL);
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
INSERT INTO "keys" VALUES('pomt94tdre','ci','red','["docs"]',60,NULL,4,9000,'2026-11-28 21:25:46.912204',NULL,NULL,'[]',0);
INSERT INTO "keys" VALUES('se0o7svcb9','old','','[]',NULL,NULL,NULL,NULL,'2026-11-28 21:25:46.972107',NULL,'2026-11-28 21:25:46.999237','[]',0);
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
INSERT INTO "outcomes" VALUES('2026-11-28','docs','docs@v1','answered',0,1);
CREATE TABLE page_heat (
	url TEXT NOT NULL, 
	heat DOUBLE NOT NULL, 
	PRIMARY KEY (url)
);
INSERT INTO "page_heat" VALUES('https://wiki.example.com/vpn/',2.5);
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
INSERT INTO "promotions" VALUES(1,'2026-11-28 21:25:47.328029','ann','docs','promote','{"base": 1.0}','{"docs@v1": 1.0}',NULL,NULL);
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
	shared TEXT, verdict TEXT, readers TEXT, 
	PRIMARY KEY (id), 
	UNIQUE (shared)
);
INSERT INTO "questions" VALUES('q0','c1','2026-11-02 09:30:00.000000','box','docs','How do I get a token?','','https://wiki.example.com/vpn/','v1','','red','','answered','docs@v1','Ask the desk.','{"sources": []}',NULL,NULL,NULL,'SSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSS',NULL,NULL);
INSERT INTO "questions" VALUES('q1','c1','2026-11-02 09:31:00.000000','box','docs','How do I get a token?','','https://wiki.example.com/vpn/','v1','','red','','answered','docs@v1','Ask the desk.','{"sources": []}',NULL,NULL,NULL,NULL,NULL,NULL);
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
INSERT INTO "reviews" VALUES(1,1,'2026-11-28 21:25:51.145921','wendy','approve','approved','How do I get a token?','From the second floor.','vpn.md','',1,'["wendy"]');
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
INSERT INTO "usage" VALUES('pomt94tdre','2026-11-28','red','docs','base',1,1200,80);
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
INSERT INTO "votes" VALUES('q1','2026-11-28 21:25:47.562453','down','["wrong"]','No desk here.','v1');
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
INSERT INTO "wiki_state" VALUES('46ba19158e174aea83e770187155af2e',NULL,NULL,'{}');
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
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('clusters',1);
COMMIT;
