"""Frames through the model: queues, pipelines, progress."""
