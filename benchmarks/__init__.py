"""What kerasql promises, measured: ``python -m benchmarks.parity``, ``.memory``, ``.deploy``.

Each prints its table and ends with a non-zero exit code where a promise is not kept. Those that
need real models and photos find them by KERASQL_TEST_DATA.
"""
