"""What a stranger's SQL may be, by Spark's own plans."""
