"""Sources of frames: cameras, network streams, video files, images and a synthetic scene."""

from camrt.runtime.sources.names import short_names
from camrt.runtime.sources.options import SourceOptions
from camrt.runtime.sources.registry import open_source
from camrt.runtime.sources.several import open_sources

__all__ = ["SourceOptions", "open_source", "open_sources", "short_names"]
