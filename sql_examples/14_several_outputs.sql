-- Which runs of the milling machine does the model expect to fail the visual inspection?
--
-- milling(…) has three outputs: its answer is a STRUCT with a field for each.

SELECT run,
       answer.passed_visual_inspection_output AS inspection,
       answer.machining_finalized_output AS machining,
       round(array_max(answer.tool_condition_output), 3) AS tool_score
FROM milling_runs
LATERAL VIEW explode(array(milling(readings))) AS answer
WHERE answer.passed_visual_inspection_output = 'fails'
ORDER BY run
