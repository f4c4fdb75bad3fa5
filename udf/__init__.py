"""Makes the versions of a registry callable as Spark SQL functions."""
