-- Which three photos show each flower best, going by the model's score?

WITH answers AS (
  SELECT substring_index(path, '/', -1) AS file,
         flowers(image) AS flower,
         array_max(flowers_scores(image)) AS score
  FROM flower_photos
),
ranked AS (
  SELECT *,
         row_number() OVER (PARTITION BY flower ORDER BY score DESC, file) AS place
  FROM answers
)
SELECT flower,
       place,
       file,
       round(score, 4) AS score
FROM ranked
WHERE place <= 3
ORDER BY flower, place
