"""The registry: versioned Keras models with their preprocessing, at rest in a database."""
