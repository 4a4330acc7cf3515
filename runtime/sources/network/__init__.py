"""Cameras and videos at a network address."""
