"""How the pair in `train_tools/mini_pair/` was pretrained: `python -m examples.mini_pair`, in hours on two cores.

Text -> tokens -> embeddings from neighbouring words -> masked language modelling -> replaced token detection -> pair.
"""
