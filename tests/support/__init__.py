"""What several test modules build on."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
