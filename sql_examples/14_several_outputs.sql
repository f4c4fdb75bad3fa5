-- Which runs of the milling machine does the model expect to fail the visual inspection, and
-- what does it think of the tool?
--
-- milling(…) has three outputs: its answer is a STRUCT with a field for each.

WITH answers AS (
  SELECT run,
         milling(readings) AS answer
  FROM milling_runs
)
SELECT run,
       answer.passed_visual_inspection_output AS inspection,
       answer.machining_finalized_output AS finished,
       round(array_max(answer.tool_condition_output), 3) AS tool_score
FROM answers
WHERE answer.passed_visual_inspection_output = 'fails'
ORDER BY run
