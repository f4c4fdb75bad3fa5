"""``python -m kerasql`` is the command ``kerasql``."""

from kerasql.cli import main

main()
