"""Measures: what ``camrt bench`` runs, and the comparisons with what one would use instead."""
