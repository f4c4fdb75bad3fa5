-- Which photographer brought how many photos of each flower?

SELECT notes.photographer,
       flowers(photos.image) AS flower,
       count(*) AS photos
FROM flower_photos AS photos
JOIN photo_notes AS notes
  ON notes.file = substring_index(photos.path, '/', -1)
GROUP BY 1, 2
ORDER BY 1, 2
