-- On which photos does the challenger disagree with the version in production, and who is right?
--
-- flowers(…) is what production points to, flowers_challenger(…) what challenger points to.
-- flowers_v1(…) and flowers_v2(…) are the versions themselves, wherever the aliases move.

WITH answers AS (
  SELECT substring_index(path, '/', -1) AS file,
         label,
         flowers(image) AS production,
         flowers_challenger(image) AS challenger
  FROM flower_photos
)
SELECT file,
       label,
       production,
       challenger,
       CASE label
         WHEN production THEN 'production'
         WHEN challenger THEN 'challenger'
         ELSE 'neither'
       END AS right_one
FROM answers
WHERE production <> challenger
ORDER BY file
