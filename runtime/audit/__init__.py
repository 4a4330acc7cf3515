"""Search for shortcuts: evidence that a model takes from the wrong part of images, proved by experiments.

Imports go one way: ``regions`` <- ``foreground``, ``properties`` <- ``samples`` <- ``exchange`` <- ``causal``,
``shifts`` <- ``search``, ``presence`` <- ``selection``; ``components``, ``clusters``, ``positions``, ``attention`` <-
``summaries``; ``images``, ``reference``, ``groups``, ``baseline`` <- ``finding`` <- ``report`` <- ``result``; ``audit``
stands above all.
"""
