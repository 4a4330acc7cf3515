"""Benchmarks: ``camrt bench``, comparisons with other libraries, endurance tests, and the tables of the documents."""
