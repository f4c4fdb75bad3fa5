"""Register a Keras model once; everyone calls it by name in Spark SQL."""
