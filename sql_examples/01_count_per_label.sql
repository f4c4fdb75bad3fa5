-- How many photos does the model take for a daisy, and how many for a tulip?

SELECT flowers(image) AS flower,
       count(*) AS photos
FROM flower_photos
GROUP BY 1
ORDER BY photos DESC, flower
