"""Model file and frames in; predictions, maps, overlays and streams out. Needs ONNX Runtime, never torch or onnx."""
