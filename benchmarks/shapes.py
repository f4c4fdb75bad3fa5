"""Ten shapes of queries, in which Spark itself evaluates a function up to twice for each row."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.pictures import WORDS

SCORE = "{function}(image)[7]"
"""About 0.001 in a network of 1,000 classes with random weights."""


@dataclass(frozen=True)
class Shape:
    """One query over images (id, caption, image), and the share of rows it must look at."""

    name: str
    sql: str
    share: float = 1.0


SHAPES = (
    Shape(
        "WHERE on another column",
        f"SELECT {SCORE} FROM images WHERE contains(caption, '{WORDS[0]}')",
        share=1 / len(WORDS),
    ),
    Shape("twice in SELECT", f"SELECT {SCORE} + 1, {SCORE} * 2 FROM images"),
    Shape(
        "CASE",
        f"SELECT CASE WHEN {SCORE} > 0.002 THEN 2 WHEN {SCORE} > 0.001 THEN 1 END FROM images",
    ),
    Shape("WHERE and SELECT", f"SELECT {SCORE} FROM images WHERE {SCORE} > 0.001"),
    Shape(
        "subquery",
        f"SELECT * FROM (SELECT id, {SCORE} AS score FROM images) WHERE score > 0.001",
    ),
    Shape(
        "GROUP BY and HAVING",
        f"SELECT {SCORE}, count(*) FROM images GROUP BY {SCORE} HAVING {SCORE} > 0.001",
    ),
    Shape(
        "join",
        "SELECT a.id, b.id FROM images a JOIN images b "
        "ON {function}(a.image)[7] = {function}(b.image)[7]",
    ),
    Shape(
        "UNION ALL",
        f"SELECT {SCORE} FROM images UNION ALL SELECT {SCORE} FROM images WHERE {SCORE} > 0.001",
    ),
    Shape("ORDER BY and LIMIT", f"SELECT id, {SCORE} FROM images ORDER BY {SCORE} DESC LIMIT 5"),
    Shape(
        "more than the average",
        f"SELECT id FROM images WHERE {SCORE} > (SELECT avg({SCORE}) FROM images)",
    ),
)
