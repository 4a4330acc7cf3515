"""Files that ship with camrt: the bundled demo model."""

from pathlib import Path
from typing import Final

DEMO_MODEL: Final = Path(__file__).parent / "demo.onnx"
"""A model file for the synthetic camera; `python -m camrt.export.train.demo` trains it."""
