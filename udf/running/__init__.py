"""Queries of many users on one Spark driver, each a thing that can be watched and stopped."""
