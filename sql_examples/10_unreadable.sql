-- Which files have no answer, and why?
--
-- flowers(…) is NULL where there is no answer; try_flowers(…) gives the answer as value, and the
-- reason as error where there is none.

WITH answers AS (
  SELECT substring_index(path, '/', -1) AS file,
         try_flowers(image) AS answer
  FROM odd_pictures
)
SELECT file,
       answer.value AS flower,
       answer.error AS reason
FROM answers
WHERE answer.error IS NOT NULL
ORDER BY file
