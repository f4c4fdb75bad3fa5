-- Which flower is taken for which: a row for what it is, a column for what the model says?

SELECT label AS truth,
       coalesce(said_daisy, 0) AS said_daisy,
       coalesce(said_tulips, 0) AS said_tulips
FROM (
  SELECT label,
         flowers(image) AS flower
  FROM flower_photos
)
PIVOT (
  count(*)
  FOR flower IN ('daisy' AS said_daisy, 'tulips' AS said_tulips)
)
ORDER BY truth
