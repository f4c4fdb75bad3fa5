"""How far a query is, as Spark's own bookkeeping says."""

from __future__ import annotations

import time

from pyspark import SparkContext

from kerasql.udf.running.query import Progress
from kerasql.udf.stats import so_far


def progress(context: SparkContext, name: str, began: float) -> Progress:
    """The progress of the query whose jobs are the group of that name; began is monotonic."""
    tracker = context.statusTracker()
    jobs = [tracker.getJobInfo(job) for job in tracker.getJobIdsForGroup(name)]
    numbers = {stage for job in jobs if job for stage in job.stageIds}
    stages = [stage for number in numbers if (stage := tracker.getStageInfo(number))]
    tasks = sum(stage.numTasks for stage in stages)
    done = sum(stage.numCompletedTasks for stage in stages)
    rows = sum(stats.rows for stats in so_far(context, name).values())
    seconds = time.monotonic() - began
    return Progress(
        tasks=tasks,
        tasks_done=done,
        stages=len(stages),
        rows_scored=rows,
        rows_per_s=rows / seconds if rows else None,
        seconds_left=seconds * (tasks - done) / done if 0 < done <= tasks else None,
    )
