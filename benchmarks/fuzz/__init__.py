"""Attack camrt with random damaged and hostile input, for as long as one likes. Run by hand; the tests run it briefly.

python -m camrt.benchmarks.fuzz [--seconds S] [--seed N] [--json FILE] [models cameras requests]
"""
