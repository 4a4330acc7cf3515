"""Quantize a model file and measure its fidelity to the float model."""
