"""From a pair, or any ELECTRA or BERT encoder, to sentence-transformers: `python -m examples.sentence_encoder --help`.

Scored pairs of sentences -> similarity by every layer -> the layer that agrees best -> the encoder cut behind it, as a
folder that `SentenceTransformer(folder)` loads.
"""
