-- Which files have no answer, and why?
--
-- flowers(…) is NULL where there is no answer. try_flowers(…) is a STRUCT of value, the answer,
-- and error, the reason where there is none; LATERAL VIEW inline makes two columns of it.

SELECT substring_index(path, '/', -1) AS file,
       flower,
       reason
FROM odd_pictures
LATERAL VIEW inline(array(try_flowers(image))) AS flower, reason
WHERE reason IS NOT NULL
ORDER BY file
