-- Which photos is the model less than 60 % sure about, so that a person should look at them?
--
-- flowers_scores(…) gives the numbers behind flowers(…), in the order of the class names, which
-- kerasql show flowers lists: here scores[0] is for daisy and scores[1] for tulips.

SELECT substring_index(path, '/', -1) AS file,
       round(scores[0], 3) AS daisy,
       round(scores[1], 3) AS tulips
FROM flower_photos
LATERAL VIEW explode(array(flowers_scores(image))) AS scores
WHERE array_max(scores) < 0.6
ORDER BY array_max(scores)
