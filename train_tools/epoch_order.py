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
        sampler = sampler_of(train_dataloader)
        if isinstance(sampler, LengthGroupedSampler):
            epoch = epoch_of(args, state, train_dataloader)
            sampler.generator = torch.Generator().manual_seed(seed_of_data(args) + epoch)


def sampler_of(loader):
    """What gives a loader its order.

    Args: loader (`torch.utils.data.DataLoader`): of training, as the Trainer prepared it.
    Returns: a sampler, or `None`.
    """
    return getattr(batches_of(loader), "sampler", None)


def batches_of(loader):
    """What makes batches of places, before processes share them. Args: loader: as above. Returns: a batch sampler."""
    batches = loader.batch_sampler
    while hasattr(batches, "batch_sampler"):  # a process' share of the batches, or those that are left
        batches = batches.batch_sampler
    return batches


def epoch_of(args, state, loader):
    """The number of the epoch that begins: `state.epoch` is 0 at first in a resumed run too.

    Args: args (`TrainingArguments`); state (`TrainerState`); loader (`torch.utils.data.DataLoader`): of training.
    Returns: `int`, from 0 on
    """
    return state.global_step // max(1, -(-len(loader) // args.gradient_accumulation_steps))


def seed_of_data(args):
    """The seed of what is drawn from the text: `int`. Args: args (`TrainingArguments`)."""
    return args.seed if args.data_seed is None else args.data_seed
