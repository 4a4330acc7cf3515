"""Search for shortcuts: evidence that a model takes from the wrong part of images, proved by experiments.

Imports go one way: ``finding``, ``significance``, ``foreground``, ``regions`` <- ``samples`` <- ``exchange`` <-
``causal``; ``audit`` stands above all.
"""
