"""Decoders of videos, for files and network streams."""
