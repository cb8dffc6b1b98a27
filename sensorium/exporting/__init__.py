"""A trained model as ONNX graphs, preprocessing included, compared with torch before it is kept."""
