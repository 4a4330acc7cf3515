"""Comparisons of camrt with other libraries, of execution providers, and of numbers of cameras.

These modules also import `camrt.export`: a network must become a model file before it can be compared.
"""
