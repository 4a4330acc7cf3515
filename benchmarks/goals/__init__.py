"""Goals of speed on a machine with an NVIDIA GPU and many cores: measurements, verdicts and a table.

These modules also import `camrt.export`: a network must become a model file before it can be measured.
"""
