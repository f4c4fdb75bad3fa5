-- What do customers ask about, and which question stands for each topic?
--
-- max_by gives the question with the highest score among those of a topic.

WITH answers AS (
  SELECT question,
         topic(question) AS topic,
         array_max(topic_scores(question)) AS score
  FROM questions
)
SELECT topic,
       count(*) AS questions,
       max_by(question, score) AS most_typical
FROM answers
GROUP BY topic
ORDER BY questions DESC, topic
