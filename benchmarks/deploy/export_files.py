"""The formats of ``dsnet export`` and the files that they make, for whoever needs no more than their names."""

FILE_NAMES = {"onnx": "model.onnx", "torchscript": "model.ts.pt", "pt2": "model.pt2"}
"""The name of the file of each format."""
