-- What does the model see in the pictures whose caption speaks of a product?
--
-- WHERE comes before SELECT: it sees the columns of shop_pictures, not the alias flower. Only the
-- rows that it keeps are shown to the model. To filter on an answer, see 06_two_versions.sql.

SELECT picture_id,
       caption,
       flowers(image) AS flower
FROM shop_pictures
WHERE contains(caption, 'Product')
ORDER BY picture_id
