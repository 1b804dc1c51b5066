"""The order of like-length batches in an epoch."""

import torch
from transformers import TrainerCallback
from transformers.trainer_pt_utils import LengthGroupedSampler


class EpochOrder(TrainerCallback):
    """Gives each epoch its own order of like-length batches, the same in every process and in a resumed run.

    The Trainer's length grouping draws from torch's global generator, whose state a resumed run does not have at the
    beginning of an epoch, nor do several processes share it. Here an epoch's order depends on the seed and the epoch
    alone, as the order of the Trainer's random batches does.
    """

    def on_epoch_begin(self, args, state, control, train_dataloader=None, **kwargs):
        batches = train_dataloader.batch_sampler
        while hasattr(batches, "batch_sampler"):  # a process' share of the batches, or those that are left
            batches = batches.batch_sampler
        sampler = getattr(batches, "sampler", None)
        if isinstance(sampler, LengthGroupedSampler):
            steps_in_epoch = max(1, -(-len(train_dataloader) // args.gradient_accumulation_steps))
            seed = args.seed if args.data_seed is None else args.data_seed
            # `state.epoch` is 0 at first in a resumed run too.
            sampler.generator = torch.Generator().manual_seed(seed + state.global_step // steps_in_epoch)
