"""Metrics of a model and its maps on labelled images."""
