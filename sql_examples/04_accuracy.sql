-- How often is the model right, flower by flower and over all photos?
--
-- A photo that cannot be read has no answer: flower is NULL. count(flower) leaves it out, and so
-- does avg: the accuracy is that of the answers there are.

WITH answers AS (
  SELECT label,
         flowers(image) AS flower
  FROM flower_photos
)
SELECT coalesce(label, 'all') AS truth,
       count(*) AS photos,
       count(flower) AS answered,
       round(avg(CAST(flower = label AS INT)), 4) AS accuracy
FROM answers
GROUP BY ROLLUP (label)
ORDER BY truth = 'all', truth
