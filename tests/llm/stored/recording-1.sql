PRAGMA user_version=1;
BEGIN TRANSACTION;
CREATE TABLE charges (
  id INTEGER PRIMARY KEY, role TEXT NOT NULL, calls INTEGER NOT NULL, attempts INTEGER NOT NULL,
  prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, cost REAL NOT NULL,
  estimated INTEGER NOT NULL
);
INSERT INTO "charges" VALUES(1,'proposer',1,1,3,2,7.0e-06,0);
INSERT INTO "charges" VALUES(2,'proposer',1,1,3,3,9.0e-06,0);
INSERT INTO "charges" VALUES(3,'proposer',1,1,3,2,7.0e-06,0);
INSERT INTO "charges" VALUES(4,'proposer',1,1,33,3,3.9e-05,0);
INSERT INTO "charges" VALUES(5,'proposer',1,1,0,0,0.0,0);
INSERT INTO "charges" VALUES(6,'judge',1,1,3,2,7.0e-06,0);
INSERT INTO "charges" VALUES(7,'proposer',1,1,152,2048,0.004248,1);
CREATE TABLE replies (
  key TEXT PRIMARY KEY, model TEXT NOT NULL, failed INTEGER NOT NULL,
  request TEXT NOT NULL, reply TEXT NOT NULL
);
INSERT INTO "replies" VALUES('cdfb91e87dcfec2851aeb095fc74f65ee2d38e5e300b73e381e87a9bd5f219f5','script',0,'{"draw": 0, "max_tokens": 2048, "messages": [{"content": "Improve.", "role": "user"}], "role": "proposer", "schema": null, "seed": 0, "temperature": 1.0}','{"text": "better", "data": null, "usage": {"llm_calls": 1, "tokens": 5, "cost": 7e-06}, "error": null, "latency": 2.5968000045395456e-05}');
INSERT INTO "replies" VALUES('c449febaec874896873e9e9e8df886862a1de0613bb10e957fada47ade3d4aef','script',0,'{"draw": 1, "max_tokens": 2048, "messages": [{"content": "Improve.", "role": "user"}], "role": "proposer", "schema": {"properties": {"x": {"type": "number"}}, "required": ["x"], "type": "object"}, "seed": 0, "temperature": 1.0}','{"text": "{\"x\": 1.5}", "data": {"x": 1.5}, "usage": {"llm_calls": 1, "tokens": 6, "cost": 9e-06}, "error": null, "latency": 2.113199843734037e-05}');
INSERT INTO "replies" VALUES('a2df6c5e1b18112d28a3fdf5f228a0206acb3f44426c2a64c89a12b19aa1f50b','script',0,'{"draw": 2, "max_tokens": 2048, "messages": [{"content": "Improve.", "role": "user"}], "role": "proposer", "schema": {"properties": {"x": {"type": "number"}}, "required": ["x"], "type": "object"}, "seed": 0, "temperature": 1.0}','{"text": "{\"x\": 2}", "data": {"x": 2}, "usage": {"llm_calls": 2, "tokens": 41, "cost": 4.6e-05}, "error": null, "latency": 3.671400190796703e-05}');
INSERT INTO "replies" VALUES('92a39bbefb79b4c3abee7b075afda148bd1459ba6a97d75bc37b7ac450b4ad18','script',1,'{"draw": 3, "max_tokens": 2048, "messages": [{"content": "Improve.", "role": "user"}], "role": "proposer", "schema": null, "seed": 0, "temperature": 1.0}','{"text": "", "data": null, "usage": {"llm_calls": 1, "tokens": 0, "cost": 0.0}, "error": "down", "latency": 1.8517001080908813e-05}');
INSERT INTO "replies" VALUES('17697f85daa4bf272987ec88380c635f64c2204f1011cc02049c59584615518b','script',0,'{"draw": 4, "max_tokens": 2048, "messages": [{"content": "Improve.", "role": "user"}], "role": "judge", "schema": null, "seed": 0, "temperature": 1.0}','{"text": "fair", "data": null, "usage": {"llm_calls": 1, "tokens": 5, "cost": 7e-06}, "error": null, "latency": 1.6674999642418697e-05}');
INSERT INTO "replies" VALUES('cda182ca3dfa3aa2973b23183da099b2729a74638364ec6fac40a7d6d0b39ca9','script',0,'{"draw": 5, "max_tokens": 2048, "messages": [{"content": "Improve.", "role": "user"}], "role": "proposer", "schema": null, "seed": 0, "temperature": 1.0}','{"text": "z", "data": null, "usage": {"llm_calls": 1, "tokens": 2200, "cost": 0.004248}, "error": null, "latency": 1.1787999028456397e-05}');
COMMIT;
