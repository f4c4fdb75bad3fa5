-- What does the model see in the pictures whose caption speaks of a product?
--
-- WHERE is worked out before SELECT. It sees the columns of shop_pictures, not the alias flower:
-- to filter on a prediction, give it a name in a subquery first (see 07_unsure.sql).
-- Only the rows that WHERE keeps are shown to the model.

SELECT picture_id,
       caption,
       flowers(image) AS flower
FROM shop_pictures
WHERE contains(caption, 'Product')
ORDER BY picture_id
