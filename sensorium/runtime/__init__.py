"""An exported model in use: onnxruntime and numpy, no torch."""
