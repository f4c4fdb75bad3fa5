"""A Spark session for the command line and the demo."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from pyspark.sql import SparkSession

from kerasql.registry.errors import InvalidInput

OLDEST_JAVA = 17
FENCED = {
    # No reflect(), java_method() or TRANSFORM … USING in anybody's SQL.
    "spark.sql.restrictedMode.enabled": "true",
    # No SELECT * FROM text.`/etc/passwd`.
    "spark.sql.runSQLOnFiles": "false",
    # No '${env:PASSWORD}' or '${spark.some.secret}', which the parser would fill in.
    "spark.sql.variable.substitute": "false",
    # Names mean what a fence takes them for.
    "spark.sql.caseSensitive": "false",
    "spark.sql.legacy.ctePrecedencePolicy": "CORRECTED",
    "spark.sql.path.enabled": "false",
}
"""What a session must be set to before a stranger's SQL runs in it (fence.py)."""
SHARED = {
    # One user's long query does not keep the tasks of another's short one waiting.
    "spark.scheduler.mode": "FAIR",
    # Rows go to a file as they come, and running/ cuts what is too much, a task too late.
    "spark.driver.maxResultSize": "2g",
    # A task that was stopped and cannot be interrupted loses its Python worker at once.
    "spark.python.task.killTimeout": "100ms",
    # On a cluster, a task that does not end when it is told to takes its executor with it.
    "spark.task.reaper.enabled": "true",
    "spark.task.reaper.killTimeout": "60s",
    # A join without = sends one side everywhere.
    "spark.sql.maxBroadcastTableSize": "1g",
}
"""What a driver is started with whose queries are those of many users (running/)."""


def local_session(
    *, master: str = "local[*]", conf: Mapping[str, str] | None = None
) -> SparkSession:
    """Start Spark quietly, its workers on this very Python.

    Raises InvalidInput where Java is missing or older than 17.
    """
    check_java()
    builder = SparkSession.builder.master(master).appName("kerasql")
    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": "8",
        "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={_quiet_log4j()}",
        "spark.sql.warehouse.dir": "file:///nonexistent/kerasql-warehouse",
        "spark.log.structuredLogging.enabled": "false",
        **FENCED,
    }
    if master.startswith("local"):
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        # A laptop's driver must not need a network to find itself.
        settings |= {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}
    for name, value in {**settings, **(conf or {})}.items():
        builder = builder.config(name, value)
    # PySpark logs every refused query as JSON; ours come back as one sentence.
    logging.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL)
    return builder.getOrCreate()


def check_java() -> None:
    """Say what to install where Spark would fail with a stack trace."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else shutil.which("java")
    install = f"install a Java runtime {OLDEST_JAVA} or newer (Debian: openjdk-17-jre-headless)"
    if java is None or not Path(java).exists():
        raise InvalidInput(f"Spark needs Java and none was found; {install}")
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    version = re.search(r'version "(\d+)(?:\.(\d+))?', said.stderr)
    number = (
        int(version[2] or 0) if version and version[1] == "1" else int(version[1]) if version else 0
    )
    if number < OLDEST_JAVA:
        raise InvalidInput(
            f"Spark needs Java {OLDEST_JAVA}, and {java} is Java {number}; {install}"
        )


def _quiet_log4j() -> str:
    return (Path(__file__).resolve().parent / "log4j2.properties").as_uri()
