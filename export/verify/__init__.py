"""Proofs that a model file must pass before it is written."""
