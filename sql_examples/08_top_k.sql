-- What are the model's five best guesses for each photo of a bus, one guess per row?
--
-- imagenet(…) answers with an array of (label, score), best first; LATERAL inline makes a row
-- of each of them.

SELECT substring_index(path, '/', -1) AS file,
       guess.label AS guess,
       round(guess.score, 3) AS score
FROM vehicle_photos,
     LATERAL inline(imagenet(image)) AS guess (label, score)
WHERE vehicle_photos.label = 'buses'
ORDER BY file, guess.score DESC
