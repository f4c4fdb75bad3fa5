"""An executor's model server: one process that owns the models, one that predicts."""
