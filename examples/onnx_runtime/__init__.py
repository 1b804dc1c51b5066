"""An encoder or a fine-tuned classifier in ONNX Runtime: `python -m examples.onnx_runtime --help`.

A checkpoint -> one graph for batches of any size and length (`graph.py`) -> the same numbers as torch over batches of
many kinds (`agreement.py`) -> how fast it is beside torch on this machine (`speed.py`).
"""
