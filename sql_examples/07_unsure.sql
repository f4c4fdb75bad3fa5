-- Which photos is the model less than 75 % sure about, so that a person should look at them?
--
-- flowers_scores(…) gives the numbers behind flowers(…), in the order of the class names:
-- daisy, tulips.

WITH answers AS (
  SELECT substring_index(path, '/', -1) AS file,
         flowers(image) AS flower,
         flowers_scores(image) AS scores
  FROM flower_photos
)
SELECT file,
       flower,
       round(array_max(scores), 3) AS score
FROM answers
WHERE array_max(scores) < 0.75
ORDER BY score
