-- What must be refused before any job starts, one statement a line. A line "--> …" is the sentence
-- (a regular expression) for the lines below it, a line "## …" the kind. ␤ stands for a new line.
-- Datasets: people, orders. Somebody else's: salaries, and the model secret_model.

## reading files
--> no dataset '.*'; there is 'orders' and 'people'
SELECT * FROM parquet.`/etc/passwd`
SELECT * FROM text.`/etc/passwd`
SELECT * FROM csv.`file:///etc/passwd`
SELECT * FROM json.`/tmp/x.json`
SELECT * FROM orc.`/tmp/x`
SELECT * FROM avro.`/tmp/x.avro`
SELECT * FROM xml.`/tmp/x.xml`
SELECT * FROM binaryFile.`/etc/shadow`
SELECT * FROM image.`/tmp`
SELECT * FROM delta.`/tmp/t`
SELECT * FROM iceberg.`/tmp/t`
SELECT * FROM jdbc.`jdbc:sqlite:/tmp/models.db`
SELECT * FROM `org.apache.spark.sql.execution.datasources.text.TextFileFormat`.`/etc/passwd`
SELECT * FROM `/etc/passwd`
SELECT * FROM `file:///etc/passwd`
SELECT * FROM `s3a://bucket/key`
SELECT * FROM people UNION ALL SELECT * FROM text.`/etc/passwd`
SELECT (SELECT count(*) FROM text.`/etc/passwd`)
SELECT * FROM people WHERE name IN (SELECT value FROM text.`/etc/passwd`)
SELECT * FROM people p WHERE EXISTS (SELECT 1 FROM text.`/etc/passwd`)
WITH x AS (SELECT * FROM text.`/etc/passwd`) SELECT * FROM x
SELECT * FROM people, LATERAL (SELECT * FROM text.`/etc/passwd`)
FROM text.`/etc/passwd` |> LIMIT 3
FROM people |> UNION ALL TABLE text.`/etc/passwd`
TABLE text.`/etc/passwd`
SELECT * FROM people ORDER BY (SELECT max(value) FROM text.`/etc/passwd`)
SELECT sum(age) OVER (ORDER BY (SELECT max(value) FROM text.`/etc/passwd`)) FROM people
SELECT sum(age) OVER w FROM people WINDOW w AS (PARTITION BY (SELECT max(value) FROM text.`/etc/passwd`))
SELECT city FROM people GROUP BY city HAVING count(*) > (SELECT count(*) FROM text.`/etc/passwd`)
SELECT transform(array(1), x -> (SELECT max(value) FROM text.`/etc/passwd`))
SELECT * FROM people LIMIT (SELECT count(*) FROM text.`/etc/passwd`)
SELECT CASE WHEN (SELECT count(*) FROM text.`/etc/passwd`) > 3 THEN 1 END
SELECT * FROM people PIVOT (count(*) FOR city IN ((SELECT max(value) FROM text.`/etc/passwd`)))
--> no function 'read_files'
SELECT * FROM read_files('/etc/passwd')
--> no function '.*'; there is
SELECT * FROM text('/etc/passwd')
SELECT * FROM parquet('/tmp/x')
SELECT * FROM cloud_files('/tmp')
SELECT * FROM jdbc('jdbc:x', 't')
SELECT * FROM query_table('people')
SELECT * FROM remote_query('x', query => 'y')
SELECT * FROM read_kafka(bootstrapServers => 'x')
SELECT * FROM http_request('http://example.com')
SELECT ai_query('model', 'text')
SELECT ai_complete('text')
SELECT load_file('/etc/passwd')
SELECT pg_read_file('/etc/passwd')
SELECT sleep(100)
--> TABLE\(…\) as an argument is not allowed
SELECT * FROM people_udtf(TABLE(people))
--> the function from_protobuf\(\) is not allowed here: it can read a file
SELECT from_protobuf(X'00', 'M', '/etc/passwd', map())
--> is not allowed here: it can read a file
SELECT to_protobuf(struct(1), 'M', '/etc/passwd')
SELECT from_avro(X'00', '{"type":"int"}')
SELECT to_avro(1)
SELECT schema_of_avro('{}')
SELECT from_xml('<a/>', 'a INT', map('rowValidationXSDPath', '/etc/passwd'))
SELECT schema_of_xml('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>')
SELECT to_xml(struct(1))
--> XML can be a bomb
SELECT xpath('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>', 'a/text()')
SELECT xpath_string('<a>b</a>', 'a')
SELECT xpath_int('<a>1</a>', 'document("/etc/passwd")')

## commands
--> only a query .* this statement (is|holds) \w+
DROP TABLE people
DROP VIEW people
CREATE TEMPORARY VIEW v AS SELECT 1
CREATE TEMPORARY VIEW v USING text OPTIONS (path '/etc/passwd')
CREATE OR REPLACE GLOBAL TEMPORARY VIEW v AS SELECT 1
CREATE VIEW v AS SELECT * FROM people
CREATE TABLE t (a INT)
CREATE TABLE t USING parquet AS SELECT * FROM people
CREATE TABLE t USING text LOCATION '/etc/passwd'
CREATE FUNCTION f AS 'java.lang.Runtime'
CREATE TEMPORARY FUNCTION f AS 'java.lang.Runtime' USING JAR '/tmp/x.jar'
CREATE TEMPORARY FUNCTION f(x INT) RETURNS INT RETURN x + 1
CREATE DATABASE d
CREATE SCHEMA d LOCATION '/tmp/x'
INSERT INTO people VALUES (1)
INSERT OVERWRITE DIRECTORY '/tmp/x' USING parquet SELECT * FROM people
INSERT OVERWRITE LOCAL DIRECTORY '/tmp/x' SELECT * FROM people
WITH q AS (SELECT 1 AS a) INSERT OVERWRITE DIRECTORY '/tmp/x' USING json SELECT * FROM q
WITH q AS (SELECT 1 AS a) INSERT INTO t SELECT * FROM q
FROM people INSERT INTO a SELECT * INSERT INTO b SELECT *
UPDATE people SET age = 1
DELETE FROM people
WITH q AS (SELECT 1 AS a) DELETE FROM t WHERE a IN (SELECT a FROM q)
MERGE INTO people p USING orders o ON p.id = o.id WHEN MATCHED THEN DELETE
TRUNCATE TABLE people
ALTER TABLE people ADD COLUMNS (x INT)
ALTER VIEW people AS SELECT 1
LOAD DATA LOCAL INPATH '/etc/passwd' INTO TABLE people
CACHE TABLE people
CACHE LAZY TABLE c OPTIONS ('storageLevel' = 'DISK_ONLY') AS SELECT * FROM people
UNCACHE TABLE people
CLEAR CACHE
REFRESH TABLE people
REFRESH '/tmp'
ANALYZE TABLE people COMPUTE STATISTICS
MSCK REPAIR TABLE people
SHOW TABLES
SHOW VIEWS
SHOW FUNCTIONS
SHOW DATABASES
SHOW CATALOGS
SHOW CREATE TABLE people
SHOW COLUMNS IN people
DESCRIBE people
DESCRIBE FUNCTION EXTENDED secret_model
DESCRIBE QUERY SELECT 1
EXPLAIN SELECT 1
EXPLAIN EXTENDED SELECT * FROM salaries
USE default
SET
SET spark.sql.runSQLOnFiles=true
SET -v
SET TIME ZONE 'UTC'
SET spark.sql.ansi.enabled
RESET
RESET spark.sql.ansi.enabled
ADD JAR '/tmp/x.jar'
ADD FILE '/etc/passwd'
ADD ARCHIVE '/tmp/x.zip'
LIST JARS
LIST FILES
COMMENT ON TABLE people IS 'x'
CALL system.rollback('x')
-- a comment first␤DROP TABLE people
/* SELECT 1 */ DROP TABLE people

## scripts, variables and dynamic SQL
--> only a query .* this statement is a script
BEGIN SELECT 1; END
BEGIN DECLARE x INT DEFAULT 1; SELECT x; END
BEGIN SET x = 1; END;
BEGIN IF 1 = 1 THEN SELECT 1; END IF; END
BEGIN WHILE true DO SELECT 1; END WHILE; END
--> only a query .* this statement (is|holds)
EXECUTE IMMEDIATE 'SELECT 1'
EXECUTE IMMEDIATE 'DROP TABLE people'
EXECUTE IMMEDIATE 'SELECT * FROM ' || 'salaries'
EXECUTE IMMEDIATE 'SELECT ?' USING 1
DECLARE VARIABLE v INT DEFAULT 1
DECLARE v = (SELECT max(value) FROM text.`/etc/passwd`)
SET VAR v = 1
SET VARIABLE v = (SELECT 1)
DROP TEMPORARY VARIABLE v
--> no dataset
SELECT * FROM IDENTIFIER('salaries')
SELECT * FROM IDENTIFIER('text.`/etc/passwd`')
WITH x AS (TABLE IDENTIFIER('salaries')) SELECT * FROM x
--> IDENTIFIER\(…\)
SELECT * FROM IDENTIFIER('sal' || 'aries')
SELECT IDENTIFIER('ref' || 'lect')('java.lang.System', 'exit', 1)
SELECT IDENTIFIER('secret_model')(1)
SELECT IDENTIFIER('na' || 'me') FROM people
SELECT * FROM people WHERE IDENTIFIER('age') > 1
SELECT * FROM VALUES (IDENTIFIER('version')())
--> no dataset 'SHOW'
SELECT * FROM (SHOW TABLES)
--> a parameter
SELECT :x
SELECT ?
SELECT * FROM people WHERE age > :age
--> cannot be resolved
SELECT session.secret_variable
SELECT system.session.secret_variable
--> is not valid
GRANT SELECT ON people TO x
COMMIT
DFS -ls /
--> Syntax error
FROM people |> INSERT INTO t
USE CATALOG spark_catalog
/*+ hint */ SET spark.sql.runSQLOnFiles=true
PREPARE x FROM 'SELECT 1'
SELECT 1; SELECT 2
SELECT 1; DROP TABLE people
SELECT 1;; DROP TABLE people
SELECT * FROM people; --␤DROP TABLE people
SELECT 1 /* ; */ ; SET x=1
SELECT
DROP
xyzzy
SELECT * FROM (DROP TABLE people)
SELECT * FROM (INSERT INTO t VALUES (1))
WITH x AS (SHOW TABLES) SELECT * FROM x
SELECT (SET spark.sql.ansi.enabled)
--> Syntax error|empty|only a query
;
-- only a comment
/* only a comment */

## reflection and processes
--> is not allowed here: it calls Java code
SELECT reflect('java.lang.System', 'exit', 1)
SELECT java_method('java.lang.Runtime', 'getRuntime')
SELECT try_reflect('java.lang.System', 'getenv', 'HOME')
SELECT REFLECT('java.lang.System', 'getProperty', 'user.home')
SELECT `reflect`('java.lang.System', 'exit', 1)
SELECT builtin.reflect('java.lang.System', 'exit', 1)
SELECT system.builtin.java_method('java.lang.System', 'exit', 1)
SELECT * FROM people WHERE reflect('java.lang.System', 'exit', 1) = 'x'
SELECT transform(array(1), x -> reflect('java.lang.System', 'exit', x))
SELECT * FROM VALUES (reflect('java.lang.System', 'exit', 1))
WITH x AS (SELECT 1 UNION SELECT reflect('java.lang.System', 'exit', 1)) SELECT 1
SELECT count(*) FILTER (WHERE reflect('java.lang.System', 'exit', 1) = 'x') FROM people
SELECT * FROM people ORDER BY reflect('java.lang.System', 'exit', 1)
SELECT name FROM people LATERAL VIEW explode(array(reflect('java.lang.System', 'exit', 1))) AS x
FROM people |> EXTEND reflect('java.lang.System', 'exit', 1) AS x
SELECT /*+ REPARTITION(2) */ re/**/flect FROM people, LATERAL (SELECT reflect('java.lang.System', 'exit', 1))
--> TRANSFORM … USING
SELECT TRANSFORM (name) USING 'cat' AS (x) FROM people
FROM people SELECT TRANSFORM (name) USING 'sh -c id'
SELECT * FROM (SELECT TRANSFORM (1) USING 'cat' AS (x))
FROM people MAP name USING 'cat' AS x
FROM people REDUCE name USING 'cat' AS x
WITH x AS (SELECT TRANSFORM (1) USING 'cat' AS (y)) SELECT * FROM x

## what tells about the server
--> tells about the server
SELECT current_user()
SELECT session_user()
SELECT user()
SELECT version()
SELECT current_catalog()
SELECT current_database()
SELECT current_schema()
SELECT current_path()
SELECT input_file_name() FROM people
SELECT input_file_block_start() FROM people
SELECT input_file_block_length() FROM people
SELECT * FROM VALUES (current_user())
SELECT `current_user`()
SELECT * FROM python_worker_logs()
SELECT * FROM sql_keywords()
SELECT * FROM collations()
--> current_user.*not allowed here|CurrentUser is not allowed here
SELECT current_user
SELECT session_user
SELECT user
SELECT * FROM people WHERE name = current_user
SELECT concat(user, 'x') FROM people
--> column|resolved
SELECT current_catalog
SELECT _metadata.file_path FROM people
SELECT people._metadata FROM people

## other users' models and datasets
--> no dataset 'salaries'; there is 'orders' and 'people'
SELECT * FROM salaries
SELECT * FROM `salaries`
SELECT salaries.nope FROM salaries
TABLE salaries
SELECT * FROM people JOIN salaries USING (id)
SELECT (SELECT max(id) FROM salaries)
SELECT * FROM people WHERE id IN (SELECT id FROM salaries)
SELECT * FROM people p WHERE EXISTS (SELECT 1 FROM salaries s WHERE s.id = p.id)
SELECT * FROM people, LATERAL (SELECT * FROM salaries)
WITH a AS (SELECT * FROM salaries) SELECT 1
WITH a AS (SELECT * FROM salaries), salaries AS (SELECT 1) SELECT * FROM a
WITH salaries AS (SELECT * FROM salaries) SELECT * FROM salaries
SELECT * FROM salaries UNION ALL (WITH salaries AS (SELECT 1) SELECT * FROM salaries)
SELECT * FROM (WITH salaries AS (SELECT 1 AS id) SELECT * FROM salaries), salaries
SELECT * FROM (SELECT 1) AS salaries, (SELECT * FROM salaries)
WITH a AS (WITH salaries AS (SELECT 1) SELECT 2) SELECT * FROM salaries
SELECT * FROM people salaries, salaries x
FROM salaries |> LIMIT 1
FROM people |> JOIN salaries USING (id)
FROM people |> EXCEPT SELECT id FROM salaries
SELECT * FROM salaries TABLESAMPLE (1 ROWS)
--> no dataset 'no_such_dataset'; there is 'orders' and 'people'
SELECT * FROM no_such_dataset
--> no dataset '(?i:salaries)'
SELECT * FROM SALARIES
SELECT * FROM SaLaRiEs
--> no function '(?i:secret_model)'; there is 'm' and 'm_v1'
SELECT SECRET_MODEL(1)
--> no dataset '.*'; there is 'orders' and 'people'
SELECT * FROM session.people
SELECT * FROM system.session.people
SELECT * FROM session.salaries
SELECT * FROM global_temp.shared
SELECT * FROM global_temp.people
SELECT * FROM default.people
SELECT * FROM spark_catalog.default.people
SELECT * FROM spark_catalog.default.salaries
SELECT * FROM other_catalog.db.people
SELECT * FROM information_schema.tables
SELECT * FROM system.information_schema.tables
SELECT * FROM a.b.c.d.e
SELECT * FROM people.history
SELECT * FROM `people.history`
--> no function 'secret_model'; there is 'm' and 'm_v1'
SELECT secret_model(1)
SELECT `secret_model`(1)
SELECT * FROM people WHERE secret_model(age) > 0
SELECT max(secret_model(age)) OVER () FROM people
SELECT transform(array(1), x -> secret_model(x))
WITH x AS (SELECT secret_model(1)) SELECT 2
--> no function 'no_such_model'; there is 'm' and 'm_v1'
SELECT no_such_model(1)
--> no function '.*'; there is
SELECT session.secret_model(1)
SELECT system.session.secret_model(1)
SELECT spark_catalog.default.m(1)
SELECT default.m(1)
SELECT builtin.m(1)
SELECT other.abs(1)
SELECT session.abs(1)
SELECT m_v2(1)
SELECT secret_model_scores(1)
SELECT * FROM m(1)
SELECT * FROM secret_model(1)
--> no dataset 'view_of_salaries'
SELECT * FROM view_of_salaries
--> takes no options
SELECT * FROM people WITH (path '/etc/passwd')
SELECT * FROM people WITH ('split-size' = 5)
--> this statement holds STREAM
SELECT * FROM STREAM people
SELECT * FROM STREAM(people)
--> only a query .* holds
SELECT * FROM people VERSION AS OF 1
SELECT * FROM people TIMESTAMP AS OF '2024-01-01'
SELECT * FROM people FOR SYSTEM_VERSION AS OF 1
SELECT * FROM salaries VERSION AS OF 1

## secrets by substitution
--> Syntax error|no dataset|cannot be resolved|no function
SELECT * FROM ${env:HOME}
SELECT ${spark.app.name}
SELECT ${system:java.home}
SELECT ${env:SECRET}(1)

## bombs of values
--> \(\) is asked for|can make .* characters|must be written out
SELECT repeat('x', 2000000000)
SELECT repeat(name, age) FROM people
SELECT repeat(repeat('x', 100000), 100000)
SELECT repeat(repeat(repeat('x', 1000), 1000), 1000)
SELECT repeat(str => 'x', n => 2000000000)
SELECT space(2000000000)
SELECT lpad('x', 2000000000, 'y')
SELECT rpad(name, 2000000000, name) FROM people
SELECT lpad('x', age) FROM people
SELECT randstr(2000000000)
SELECT array_repeat(1, 2000000000)
SELECT array_repeat(array_repeat(1, 10000), 10000)
SELECT array_insert(array(1), 2000000000, 2)
SELECT a || a || a || a FROM (SELECT repeat('x', 900000) AS a)
SELECT replace(repeat('a', 10000), 'a', repeat('b', 10000))
SELECT regexp_replace(repeat('a', 10000), 'a', repeat('b', 10000))
SELECT array_join(transform(sequence(1, 10000), x -> repeat('x', 10000)), ',')
SELECT transform(sequence(1, 10000), x -> sequence(1, 10000))
SELECT flatten(transform(sequence(1, 2000), x -> transform(sequence(1, 2000), y -> array(x, y))))
SELECT concat_ws(repeat('x', 10000), sequence(1, 10000))
SELECT b || b FROM (SELECT a || a AS b FROM (SELECT repeat('x', 400000) AS a))
SELECT repeat('x', 900000) AS a, a || a AS b, b || b AS c
--> sequence\(\) (takes|can make)|can make .* characters
SELECT sequence(1, 2000000000)
SELECT sequence(0, id) FROM people
SELECT explode(sequence(1, 1000000000000))
SELECT sequence(DATE '0001-01-01', DATE '9999-12-31', INTERVAL 1 DAY)
SELECT sequence(TIMESTAMP '2000-01-01 00:00:00', TIMESTAMP '2024-01-01 00:00:00', INTERVAL 1 SECOND)
SELECT sequence(to_timestamp('2000-01-01'), to_timestamp('2024-01-01'), INTERVAL '1' SECOND)
SELECT sequence(min(born), max(born)) FROM people
SELECT sequence(1, 10, id) FROM people
SELECT to_number('1', array_join(sequence(1, 1000000000), ','))
--> must be written out as a text
SELECT from_json('1', concat('ARRAY<', repeat('ARRAY<', 100000)))
SELECT from_csv('1', name) FROM people
SELECT schema_of_json(repeat('[', 1000000))
SELECT from_json(note, schema_of_json(concat('[', ']'))) FROM people
SELECT variant_get(parse_json('1'), '$', concat('ARRAY<', 'INT>'))
--> aggregate\(\) must start
SELECT aggregate(sequence(1, 100), 'x', (a, x) -> a || a)
SELECT reduce(sequence(1, 100), array(1), (a, x) -> a || a)
SELECT aggregate(array(1), named_struct('s', 'x'), (a, x) -> named_struct('s', a.s || a.s))
SELECT aggregate(array(1), CAST('x' AS STRING), (a, x) -> a || a)
SELECT aggregate(tags, name, (a, x) -> a || a) FROM people
--> format_string|over the limit|must be written out
SELECT format_string('%1000000000d', 1)
SELECT printf('%.999999999f', 1.5D)
SELECT format_string(name, 1) FROM people
SELECT format_number(1.5, 1000000000)
SELECT round(1.5D, 200000000)
SELECT bround(1.5D, 200000000)
SELECT round(1.5D, age) FROM people
SELECT ceil(1.5, 200000000)
SELECT histogram_numeric(age, 2000000000) FROM people
SELECT approx_percentile(age, 0.5, 2000000000) FROM people
SELECT approx_top_k(age, 5, 1000000) FROM people
SELECT max_by(name, age, 2000000000) FROM people
SELECT stack(2000000000, 1)
--> the deviation of approx_count_distinct
SELECT approx_count_distinct(age, 0.00001) FROM people
SELECT approx_count_distinct(age, 1e-9) FROM people
SELECT approx_count_distinct(age, 0.00001D) FROM people
--> its memory depends on numbers
SELECT count_min_sketch(age, 1e-9, 0.99, 1) FROM people
SELECT hll_sketch_agg(age, 21) FROM people
SELECT kll_sketch_agg_bigint(age, 65535) FROM people
SELECT theta_sketch_estimate(X'00')
--> counts nothing checks
SELECT st_geomfromwkb(X'01020000007FFFFFFF')
--> VALUES takes plain values
SELECT * FROM VALUES (repeat('x', 1000))
VALUES (upper('x'))
SELECT * FROM VALUES ((SELECT 1))
SELECT * FROM VALUES (m(1))

## bombs of rows
--> generate fewer
SELECT * FROM range(1000000000000)
SELECT count(*) FROM range(0, 9223372036854775807)
SELECT * FROM range(10000) a JOIN range(10000) b ON a.id = b.id
SELECT * FROM range(1000000) a, range(1000000) b WHERE a.id % 2 = b.id % 2
SELECT 1 FROM people LATERAL VIEW explode(sequence(1, 10000)) AS a LATERAL VIEW explode(sequence(1, 10000)) AS b
SELECT * FROM people, LATERAL explode(array_repeat(1, 100000)), LATERAL explode(array_repeat(1, 100000))
WITH a AS (SELECT * FROM range(100000)) SELECT * FROM a x JOIN a y USING (id) JOIN a z USING (id)
SELECT explode(b) FROM (SELECT explode(a) AS b FROM (SELECT array_repeat(array_repeat(1, 900), 900) AS a)) LATERAL VIEW explode(sequence(1, 100)) AS z
SELECT 1 FROM people LATERAL VIEW explode(tags) a AS a LATERAL VIEW explode(tags) b AS b LATERAL VIEW explode(tags) c AS c LATERAL VIEW explode(tags) d AS d LATERAL VIEW explode(tags) e AS e LATERAL VIEW explode(tags) f AS f LATERAL VIEW explode(tags) g AS g LATERAL VIEW explode(tags) h AS h
--> pairs every row of one side with every row of the other|generate fewer
SELECT * FROM people a, people b
SELECT * FROM people a CROSS JOIN orders b
SELECT * FROM people a JOIN orders b
SELECT * FROM people a JOIN orders b ON true
SELECT * FROM people a JOIN orders b ON 1 = 1
SELECT * FROM people a JOIN orders b ON a.id = a.id
SELECT * FROM people a JOIN orders b ON a.id > b.id
SELECT * FROM people a JOIN orders b ON a.id + b.id IS NOT NULL
SELECT * FROM people a LEFT JOIN orders b ON a.id <> b.id
SELECT * FROM people a FULL JOIN orders b ON a.id = b.id OR a.id > 0
SELECT * FROM people a, people b, people c WHERE a.id = b.id
SELECT * FROM people a, LATERAL (SELECT * FROM orders)
SELECT * FROM people a, (SELECT * FROM orders LIMIT 1000000) b
SELECT 1 FROM people a, (SELECT 1 FROM orders LIMIT 9000) b, (SELECT 1 FROM orders LIMIT 9000) c
FROM people |> CROSS JOIN orders
SELECT count(*) FROM people a, orders b
--> WITH RECURSIVE is not run here
WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT * FROM r
WITH RECURSIVE r(s) AS (SELECT 'x' UNION ALL SELECT s || s FROM r) SELECT * FROM r
WITH RECURSIVE r(n) MAX RECURSION LEVEL 1000000 AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT * FROM r
SELECT * FROM (WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT * FROM r)
--> grouping sets
SELECT 1 FROM people GROUP BY CUBE (id, id + 1, id + 2, id + 3, id + 4, id + 5, id + 6, id + 7, id + 8)
SELECT 1 FROM people GROUP BY CUBE (id, id + 1, id + 2, id + 3), CUBE (id + 4, id + 5, id + 6, id + 7)
SELECT 1 FROM people GROUP BY id, id + 1, id + 2, id + 3, id + 4, id + 5, id + 6, id + 7, id + 8 WITH CUBE
--> window\(\) may put
SELECT window(at, '10 years', '1 microsecond') FROM orders
SELECT window(at, '1 day', '1 second') FROM orders
SELECT window(at, '1 hour', concat('1', ' second')) FROM orders
--> the hint \w+ (is not allowed here|asks for)
SELECT /*+ BROADCAST(people) */ * FROM people
SELECT /*+ MAPJOIN(p) */ * FROM people p
SELECT /*+ SHUFFLE_REPLICATE_NL(o) */ * FROM people p JOIN orders o ON p.id = o.id
SELECT /*+ SHUFFLE_HASH(o) */ * FROM people p JOIN orders o ON p.id = o.id
SELECT /*+ REPARTITION(1000000000) */ * FROM people
SELECT /*+ REPARTITION(2), COALESCE(999999) */ * FROM people
SELECT /*+ NO_SUCH_HINT */ * FROM people

## bombs of patterns
--> repeats a group that can match the same text in several ways
SELECT 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!' RLIKE '^(a+)+$'
SELECT regexp_replace(name, '(a|a)*b', '') FROM people
SELECT regexp_extract(name, '(a*)*', 1) FROM people
SELECT split(name, '(x+x+)+y') FROM people
SELECT regexp_like(name, '([a-z]+)*[0-9]') FROM people
SELECT name FROM people WHERE name REGEXP '(a|aa)+$'
SELECT str_to_map(name, '(a+)+', ':') FROM people
SELECT regexp_count(name, '(.*)*x') FROM people
SELECT regexp_instr(name, '(\\w+\\s?)*!') FROM people
--> repetitions in a row
SELECT name LIKE '%a%a%a%a%a%a%b' FROM people
SELECT name ILIKE '%%%%%%%%x' FROM people
SELECT name LIKE ANY ('x', '%a%a%a%a%a%b') FROM people
SELECT name RLIKE 'a*a*a*a*a*a*b' FROM people
SELECT regexp_substr(name, '.*.*.*.*.*x') FROM people
--> must be written out as a text
SELECT name RLIKE city FROM people
SELECT name LIKE city FROM people
SELECT name LIKE concat('%', city, '%') FROM people
SELECT regexp_replace(name, name, '') FROM people
SELECT split(name, city) FROM people
SELECT parse_url(name, 'QUERY', name) FROM people
SELECT 'a' RLIKE repeat('(a', 3)
--> cannot be judged
SELECT name RLIKE '(?x) a +' FROM people
SELECT name RLIKE '(unclosed' FROM people

## comments and Unicode
--> no dataset|Syntax error|no function|only a query|cannot be|calls Java|must be back quoted
SELECT * FROM /**/ salaries
SELECT * FROM sal/**/aries
SELECT * FROM people -- ␤, salaries
SELECT * FROM people /* */ , salaries /* */
SELECT * FROM `sal` `aries`
SELECT * FROM ѕalaries
SELECT * FROM ｓalaries
SELECT * FROM sala​ries
SELECT * FROM `salaries `
SELECT * FROM `ſalaries`
SELECT * FROM ſalaries
SELECT ｒeflect('a', 'b')
SELECT reﬂect('a', 'b')
SELECT `reflect `('a', 'b')
SELECT REFLECT /* x */ ('java.lang.System', 'exit', 1)
SELECT reflect␤('java.lang.System', 'exit', 1)
SELECT "x" FROM `text`.`/etc/passwd`
S​ELECT 1
ＳＥＬＥＣＴ 1
SELECT 'x' FROM people UNION SELECT id FROM salaries -- '

## bombs of what adds up
--> generate fewer|over the limit
SELECT repeat('x', 1000000) FROM range(10000)
SELECT id, repeat('x', 100000), repeat('y', 100000) FROM range(100000)
SELECT p.name, repeat('x', 100000) FROM people p, LATERAL explode(sequence(1, 100000))
--> partitions, over the limit
SELECT * FROM range(0, 1, 1, 10000000)
SELECT count(*) FROM range(0, 10, 1, 2000)
--> can make
SELECT hex(hex(hex(hex(hex(hex(hex(hex(hex(hex(hex(hex(hex(hex(hex(hex(hex(hex(hex(hex(hex(hex('x'))))))))))))))))))))))
SELECT to_json(struct(to_json(struct(to_json(struct(to_json(struct(to_json(struct(to_json(struct(to_json(struct(to_json(struct(to_json(struct('x'))))))))))))))))))
SELECT format_string('%1$s%1$s%1$s%1$s%1$s%1$s%1$s%1$s', format_string('%1$s%1$s%1$s%1$s%1$s%1$s%1$s%1$s', format_string('%1$s%1$s%1$s%1$s%1$s%1$s%1$s%1$s', format_string('%1$s%1$s%1$s%1$s%1$s%1$s%1$s%1$s', 'x'))))

## bombs of options and exact aggregates
--> takes no option
SELECT from_csv('1', 'a INT', map('maxColumns', '2000000000'))
SELECT from_csv('1', 'a INT', map('INPUTBUFFERSIZE', '2000000000'))
SELECT from_csv(name, 'a INT', map('mode', 'PERMISSIVE', 'maxCharsPerColumn', '-1')) FROM people
SELECT schema_of_csv('1', map('maxColumns', '2000000000'))
SELECT to_csv(struct(1), map('maxColumns', '2000000000'))
SELECT to_json(struct(1), map('codec', 'x'))
--> options of .* must be written out
SELECT from_csv('1', 'a INT', map(concat('max', 'Columns'), '2000000000'))
SELECT from_csv('1', 'a INT', str_to_map('maxColumns:2000000000', ',', ':'))
SELECT from_json('1', 'a INT', map_from_arrays(array('mode'), array(name))) FROM people
SELECT to_json(struct(1), map('dateFormat', name)) FROM people
--> may have 40 characters
SELECT to_csv(struct(1), map('nullValue', 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'))
--> can make
SELECT from_json(concat('[', repeat('{},', 300000), '{}]'), 'ARRAY<STRUCT<a INT, b INT, c INT, d INT>>')
SELECT repeat(j, 100000) FROM (SELECT to_json(from_json('{}', 'a INT, b INT, c INT, d INT, e INT')) AS j)
--> keep every value in memory
SELECT median(id) FROM range(5000000)
SELECT mode(id) FROM range(5000000)
SELECT percentile(id, 0.5) + 1 FROM range(2000000) GROUP BY id % 2
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY id) FROM range(2000000)
SELECT mode(id) OVER (PARTITION BY id % 2) FROM range(2000000)
SELECT (SELECT median(id) FROM range(5000000)) FROM people
