"""Comparisons of camrt with other libraries, of execution providers, and of numbers of cameras."""
