"""Decode videos, for files and network streams: with PyAV (extra ``video``) or OpenCV."""
