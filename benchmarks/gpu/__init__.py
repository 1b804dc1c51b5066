"""A check of a GPU, and what a training step costs there, in one call: `make gpu`.

It needs `torch`, `transformers` and `accelerate`, a checkout, and a file of token ids (`make gpu-data`, on any machine
that has the package installed): no `datasets`, no network. `python -m benchmarks.gpu --help` lists its options.
"""
