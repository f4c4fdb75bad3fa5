"""Reading a Keras model file: inspect, audit, construct."""
