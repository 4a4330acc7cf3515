"""Open a model file and run it on frames."""
