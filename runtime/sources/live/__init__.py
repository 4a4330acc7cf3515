"""Connections to cameras and streams that may be lost."""
