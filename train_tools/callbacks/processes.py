"""Several processes: random numbers of each its own, and one model that all of them train."""

import torch
from transformers import TrainerCallback, set_seed

from .handler import move_to_back, trainer_of


APART = 0x9E3779B1  # between the seeds of neighbours: no seed of a person is one of another process
SEEDS = 2**32  # numpy takes no larger ones
INPUT_EMBEDDINGS = "get_input_embeddings"
# What an evaluation leaves on a model; `forward` with automatic mixed precision.
PREPARED = ("_is_accelerate_prepared", "_original_forward", "forward")


class RTDProcessesCallback(TrainerCallback):
    """What training in several processes needs, under a stock Trainer. With one process it does nothing.

    *Random numbers.* The Trainer seeds all processes alike. Batches of the same shape then have their masks at the
    same places, the same draws of the generator and the same dropout in each process, so that more processes bring
    less than they cost. Here the first process draws as it would alone, and each other from a seed of its own.
    Checkpoints hold the state of each process, so that a resumed run goes on with them. What all of them draw together
    stays together: the order of the rows, and of held-out batches where a release shuffles them.

    *One model.* `trainer.evaluate()` before `trainer.train()` prepares the model, and `accelerate` does not do so
    again: each process would then train alone, without DDP, and nothing would say so. Here that is forgotten.

    *FSDP2.* `accelerate` takes the input embeddings for a unit of their own, and torch refuses units that share
    weights: where the embeddings are tied, they stay with the rest. What is saved is saved with the model's own code
    files.
    """

    def __init__(self):
        self._state: torch.Tensor | None = None  # of this process's generator, while held-out text is read

    def on_init_end(self, args, state, control, model=None, **kwargs):
        if args.world_size > 1 and model is not None and model.config.embedding_sharing == "tied":
            model.__dict__[INPUT_EMBEDDINGS] = _none

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        # It has to know whether another one asks for an evaluation, or keeps the random numbers from before it.
        move_to_back(self)
        model.__dict__.pop(INPUT_EMBEDDINGS, None)  # it is in parts by now
        _keep_module(model)
        if args.process_index > 0:
            set_seed(seed_of_process(args.seed, args.process_index))

    def on_step_end(self, args, state, control, **kwargs):
        if args.world_size > 1 and control.should_evaluate and self._state is None:
            self._state = torch.get_rng_state()
            torch.manual_seed(args.seed + state.global_step)

    on_epoch_end = on_step_end

    def on_evaluate(self, args, state, control, model=None, **kwargs):
        trainer = trainer_of(self) if args.world_size > 1 else None
        if trainer is not None and not trainer.is_in_train:
            forget_preparation(model)
        if self._state is not None:
            torch.set_rng_state(self._state)
            self._state = None

    def on_train_end(self, args, state, control, **kwargs):
        if args.process_index > 0:  # another training begins with one order of the rows in all of them
            set_seed(args.seed)


def forget_preparation(model):
    """Let `accelerate` prepare a model again that it prepared for an evaluation.

    Args: model (`PreTrainedModel`): not wrapped by DDP or taken apart yet, or else nothing changes.
    """
    for name in PREPARED if "_is_accelerate_prepared" in model.__dict__ else ():
        model.__dict__.pop(name, None)


def _keep_module(model):
    """FSDP2 makes a class of its own of the model's, of torch's module: torch's files would be saved as its code."""
    own = next(kind for kind in type(model).__mro__ if not kind.__module__.startswith("torch.distributed"))
    if own is not type(model):
        type(model).__module__ = own.__module__


def _none():
    return None


def seed_of_process(seed, process_index):
    """Args: seed (`int`): of the run; process_index (`int`), from 0 on. Returns: `int` in [0, 2**32)."""
    return (seed + process_index * APART) % SEEDS
