"""Comparisons of camrt with other libraries, of execution providers, and of numbers of cameras.

These modules also import `camrt.export`: a network must become a model file before it can be compared.
"""

import sys

# OpenVINO sends usage data to its maker and to Google as soon as it is imported, unless this package is missing.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
