"""Export: PyTorch to ONNX."""
