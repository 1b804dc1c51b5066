"""The generator learns alone at first, so that the discriminator meets samples that are worth telling apart."""

import logging

from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, extract_model_from_parallel
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from ..start import check_generator_is_apart, freeze_generator
from .handler import handler_of
from .metrics import RTDMetricsCallback


logger = logging.getLogger(__name__)

UNTIL_FLAT = "until-flat"
LOSS = "eval_mlm_loss"
EVERY, AT_MOST = 0.05, 0.5  # shares of the steps: between two looks at the held-out loss; of the whole phase
GAIN, PATIENCE = 0.01, 2  # the least share of the best loss that is a gain; looks without one that are enough
ROW = "generator_warmup"  # in the log, where the phase ends


class RTDWarmUpCallback(TrainerCallback, ExportableState):
    """Trains the generator alone at first; then both networks, or the discriminator alone.

    `Trainer(..., callbacks=[RTDMetricsCallback(), RTDHealthCallback(), RTDWarmUpCallback(0.1)])`. In that phase the
    discriminator is not run in training, and its weights stay as they are, bit for bit: no gradient, no weight decay,
    no state of the optimiser. What it shares with the generator (`embedding_sharing="tied"`) moves. The logged `loss`
    is the generator's, and training logs no figures of the discriminator; evaluations run both networks, as ever. The
    learning rate's schedule runs over all steps of the run: the discriminator begins at the rate of that moment.

    The end of the phase is said, and kept in `state.log_history` as a row with `step`, `epoch`, `generator_warmup`
    (`"ended"`) and `message`. A run that is resumed in any phase goes on in it.

    Args:
        length (`float` in (0, 1), or `"until-flat"`): a share of the steps of the run. Or until the held-out
            `eval_mlm_loss` stops falling: the callback has it evaluated whenever another 5 % of the steps are over,
            and the phase ends when it was not lower by 1 % or more than its best so far in two of these evaluations
            in a row; after half of the steps in any case. Other evaluations do not count.
        then_freeze (`bool`): after the phase the generator keeps its weights and samples without dropout
            (Fast-ELECTRA, https://arxiv.org/abs/2310.07347).

    Raises:
        ValueError: a length that cannot be. When training begins: `then_freeze` where the networks share embeddings;
            `"until-flat"` without [`RTDMetricsCallback`]; processes (DDP) that do not look for unused parameters.
    """

    def __init__(self, length, then_freeze=False):
        self.length, self.then_freeze = warm_up_length(length), then_freeze
        self._start()

    def _start(self):
        self.best: float | None = None  # held-out loss of the generator
        self.without_gain = 0  # evaluations in a row
        self.judged_at = 0  # step of the last evaluation that counted
        self.flat_at: int | None = None  # step
        self._is_frozen = False  # in this session

    def state(self):
        names = ("best", "without_gain", "judged_at", "flat_at")
        return {
            "args": {"length": self.length, "then_freeze": self.then_freeze},
            "attributes": {name: getattr(self, name) for name in names},
        }

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self._start()
        if state.global_step == 0:
            state.stateful_callbacks[type(self).__name__] = self.state()
        # The Trainer gives callbacks their states back on request alone, but it has read them all.
        stored = state.stateful_callbacks.setdefault(type(self).__name__, self.state())
        for name, value in stored["attributes"].items():
            setattr(self, name, value)
        pair = extract_model_from_parallel(model)
        if pair.config.gen_weight == 0:
            raise ValueError("`generator_warmup`: `gen_weight` is 0, so that the generator learns nothing. Give 1.")
        if self.then_freeze:
            check_generator_is_apart(pair)
        if self.length == UNTIL_FLAT and not _has_metrics(handler_of(self)):
            raise ValueError(
                f"`generator_warmup={UNTIL_FLAT}` goes by `{LOSS}`, which RTDMetricsCallback logs: give the Trainer "
                "callbacks=[RTDMetricsCallback(), RTDWarmUpCallback(...)]."
            )
        _check_processes(args, pair)
        if state.global_step < self._end(state.max_steps):
            _say(self._announcement(state), state)

    def on_step_begin(self, args, state, control, model=None, **kwargs):
        pair, end = extract_model_from_parallel(model), self._end(state.max_steps)
        pair.generator_alone = state.global_step < end
        if pair.generator_alone:
            return
        if end and not any(ROW in row for row in state.log_history):
            message = f"{self._why(state, end)}: from here on {self._who()}."
            epoch = {} if state.epoch is None else {"epoch": state.epoch}
            state.log_history.append({**epoch, ROW: "ended", "message": message, "step": state.global_step})
            _say(f"Generator's warm-up ends at step {state.global_step}, since {message}", state)
        if self.then_freeze and not self._is_frozen:
            freeze_generator(pair)
            self._is_frozen = True

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        # Mostly there are none. Where there are (all zeros, as some ways to train in parallel leave them), weight
        # decay and momentum would move the weights.
        pair = extract_model_from_parallel(model)
        resting = []
        if pair.generator_alone:
            resting = _own_parameters(pair)
        elif self._is_frozen:
            resting = pair.generator.parameters()
        for parameter in resting:
            parameter.grad = None

    def on_step_end(self, args, state, control, model=None, **kwargs):
        extract_model_from_parallel(model).generator_alone = False  # it is a matter of training steps alone
        if self._is_look(state):
            control.should_evaluate = True
            if args.load_best_model_at_end:  # which looks for the weights of every evaluation
                control.should_save = True

    def on_evaluate(self, args, state, control, metrics=None, **kwargs):
        if not self._is_look(state) or state.global_step == self.judged_at or LOSS not in (metrics or {}):
            return
        self.judged_at, loss = state.global_step, metrics[LOSS]
        if self.best is None or loss <= (1 - GAIN) * self.best:
            self.best, self.without_gain = loss, 0
            return
        self.without_gain += 1
        if self.without_gain == PATIENCE:
            self.flat_at = state.global_step

    def _is_look(self, state):
        """Whether the held-out loss after this step decides how long the phase is."""
        if self.length != UNTIL_FLAT or not 0 < state.global_step < self._end(state.max_steps):
            return False
        return state.global_step % max(1, round(EVERY * state.max_steps)) == 0

    def _end(self, max_steps):
        """Steps of the phase, as far as it is known."""
        if self.flat_at is not None:
            return self.flat_at
        share = AT_MOST if self.length == UNTIL_FLAT else self.length
        return min(max(1, round(share * max_steps)), max_steps - 1)

    def _announcement(self, state):
        end, steps = self._end(state.max_steps), state.max_steps
        until = f"for {end:,} of {steps:,} steps (generator_warmup={self.length})"
        if self.length == UNTIL_FLAT:
            until = (
                f"until held-out mlm_loss, every {max(1, round(EVERY * steps)):,} steps, has not been {GAIN:.0%} "
                f"below its best {PATIENCE} times in a row; for {end:,} of {steps:,} steps at most"
            )
        return f"Generator's warm-up: it learns alone {until}. The learning rate's schedule is that of all steps."

    def _why(self, state, end):
        if self.length != UNTIL_FLAT:
            return f"its share of the steps is over ({self.length:g} of {state.max_steps:,})"
        if self.flat_at is not None:
            return f"held-out mlm_loss was not {GAIN:.0%} below {self.best:.4f}, its best, {PATIENCE} times in a row"
        seen = f"held-out mlm_loss fell to {self.best:.4f}" if self.best is not None else f"no `{LOSS}` was seen"
        return f"{AT_MOST:.0%} of the steps are over, which is the most it gets ({seen})"

    def _who(self):
        return "the discriminator learns alone, and the generator is frozen" if self.then_freeze else "both learn"


def warm_up_length(value):
    """How long the generator learns alone, as a user gave it.

    Args: value (`float` or `str`). Returns: `float` in (0, 1), or `"until-flat"`. Raises: ValueError: it is neither.
    """
    if value == UNTIL_FLAT:
        return value
    try:
        share = float(value)
    except (TypeError, ValueError):
        share = 0.0
    if not 0 < share < 1:
        raise ValueError(
            f"`generator_warmup={value}`: give a share of the steps between 0 and 1, such as 0.1, or {UNTIL_FLAT}."
        )
    return share


def _own_parameters(pair):
    """Parameters of the discriminator that are not the generator's too."""
    shared = set(map(id, pair.generator.parameters()))
    return [parameter for parameter in pair.discriminator.parameters() if id(parameter) not in shared]


def _has_metrics(handler):
    return handler is None or any(isinstance(one, RTDMetricsCallback) for one in handler.callbacks)


def _check_processes(args, pair):
    """DDP waits for the gradient of every parameter, unless it looks for those that are not used."""
    looks = args.ddp_find_unused_parameters
    if looks is None:  # as the Trainer decides
        looks = not any(getattr(module, "gradient_checkpointing", False) for module in pair.modules())
    if AcceleratorState().distributed_type in (DistributedType.MULTI_CPU, DistributedType.MULTI_GPU) and not looks:
        raise ValueError(
            "`generator_warmup` in several processes: DDP would wait for gradients of the discriminator, and there "
            "are none. Give `ddp_find_unused_parameters=True`, which is not the default with gradient checkpointing."
        )


def _say(message, state):
    if state.is_world_process_zero:
        logger.info(message)
