"""Classifier (torch or ONNX) in, model file out. Needs the extra ``export``: torch and onnx."""
