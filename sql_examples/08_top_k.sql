-- What does the model find among its five best guesses for the photos of buses, and how often?
--
-- imagenet(…) answers with an array of (label, score), best first; LATERAL VIEW inline makes a
-- row with two columns of each of them.

SELECT guess,
       count(*) AS photos,
       round(avg(score), 3) AS average_score
FROM vehicle_photos
LATERAL VIEW inline(imagenet(image)) AS guess, score
WHERE label = 'buses'
GROUP BY guess
ORDER BY photos DESC, guess
LIMIT 10
