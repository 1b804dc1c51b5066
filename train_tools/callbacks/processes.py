"""Random numbers of each process its own: the Trainer seeds all of them alike."""

import torch
from transformers import TrainerCallback, set_seed


APART = 0x9E3779B1  # between the seeds of neighbours: no seed of a person is one of another process
SEEDS = 2**32  # numpy takes no larger ones


class RTDProcessesCallback(TrainerCallback):
    """Gives each of several processes random numbers of its own while they train.

    The Trainer seeds all processes alike. Batches of the same shape then have their masks at the same places, the same
    draws of the generator and the same dropout in each process, so that more processes bring less than they cost. With
    this callback the first process draws as it would alone, and each other from a seed of its own. Checkpoints hold
    the state of each process, so that a resumed run goes on with them.

    What all of them draw together stays together: the order of the rows, and of held-out batches where a release
    shuffles them. With one process it does nothing. It should stand last among the callbacks of a Trainer, since it
    has to know whether another one asks for an evaluation.
    """

    def __init__(self):
        self._state: torch.Tensor | None = None  # of this process's generator, while held-out text is read

    def on_train_begin(self, args, state, control, **kwargs):
        if args.process_index > 0:
            set_seed(seed_of_process(args.seed, args.process_index))

    def on_step_end(self, args, state, control, **kwargs):
        if args.world_size > 1 and control.should_evaluate and self._state is None:
            self._state = torch.get_rng_state()
            torch.manual_seed(args.seed + state.global_step)

    on_epoch_end = on_step_end

    def on_evaluate(self, args, state, control, **kwargs):
        if self._state is not None:
            torch.set_rng_state(self._state)
            self._state = None

    def on_train_end(self, args, state, control, **kwargs):
        self.on_evaluate(args, state, control)
        if args.process_index > 0:  # another training begins with one order of the rows in all of them
            set_seed(args.seed)


def seed_of_process(seed, process_index):
    """Args: seed (`int`): of the run; process_index (`int`), from 0 on. Returns: `int` in [0, 2**32)."""
    return (seed + process_index * APART) % SEEDS
