-- On which photos does the challenger disagree with the version in production, and who is right?
--
-- flowers(…) is what production points to, flowers_challenger(…) what challenger points to;
-- flowers_v1(…) and flowers_v2(…) are the versions themselves, wherever the aliases move.
-- LATERAL VIEW explode(array(…)) makes an answer a column before WHERE, so that WHERE can use it
-- and each photo is shown to each version once.

SELECT substring_index(path, '/', -1) AS file,
       label,
       production,
       challenger,
       CASE label
         WHEN production THEN 'production'
         WHEN challenger THEN 'challenger'
         ELSE 'neither'
       END AS right_one
FROM flower_photos
LATERAL VIEW explode(array(flowers(image))) AS production
LATERAL VIEW explode(array(flowers_challenger(image))) AS challenger
WHERE production <> challenger
ORDER BY file
