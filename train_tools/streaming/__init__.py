"""Text that is larger than memory and disk: read, tokenized, packed and shuffled while a run trains on it.

`shards.py` says what a source of text consists of, and `lane_text.py` which of it one lane reads, in which order; a
lane is one worker process of one training process. `source_rows.py` makes rows of token ids of it, `lane.py` mixes
sources, shuffles, and gives batches, `rows.py` is what the Trainer gets, and `callback.py` writes where a stream is
into its checkpoints. `begin.py` reads the beginning of each source: what is held out, what is looked at first.
"""
