"""A face generator that never sees the face it replaces: networks, objective, training, export to ONNX.

`networks` and `objective` are the whole model, a few screens; `export.export_onnx` makes the file that anonymization runs.
Needs the extra `torch`; nothing here is imported before somebody trains or exports.
"""
