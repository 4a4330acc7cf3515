"""Models with a planted shortcut, and how well an audit finds it: ``python -m camrt.benchmarks.planted_bias``."""
