"""NaN and Inf in training: seen before the optimiser takes the step, named and written down; then stop, or go on."""

import inspect
import json
import logging
from collections import deque
from pathlib import Path

import torch
from accelerate.optimizer import AcceleratedOptimizer
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, extract_model_from_parallel, gather, gather_object
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from ..nonfinite import LARGE, MicroBatch, find, largest_of_files, local_part, losses_of, not_finite
from ..nonfinite_error import NonFiniteError
from ..nonfinite_folder import MOST_FOLDERS, first_words, folders_of, write_step
from ..whole_checkpoints import saved_checkpoints, why_not_whole
from .handler import handler_of
from .metrics import RTDMetricsCallback


logger = logging.getLogger(__name__)

ROW = "nonfinite"  # in the log: a step that was left out
MOST_IN_A_ROW = 10  # steps left out: after so many nothing comes back
# A scaler begins at 2**16 and halves itself at each overflow: after so many in a row it is far below 1, not to blame.
MOST_OVERFLOWS = 24
REMEMBERED = 100  # steps whose losses are kept, to see whether they rose
SHOWN = 3  # rows of a batch in a message
PARTED = (DistributedType.FSDP, DistributedType.DEEPSPEED)  # a process has but a part of the weights
ADVICE = {
    "start": "Start from other weights.",
    "precision": "Give `bf16=True` in place of `fp16`, or neither of them.",
    "learning_rate": "Give a lower `learning_rate`, a fifth of this one at first, and a longer warm-up.",
    "data": "Look at this text, or leave such steps out with `on_nonfinite=skip`.",
    "unknown": "Give a lower `learning_rate`, or leave such steps out with `on_nonfinite=skip`.",
}
# A resumed run takes the same step with the same numbers: these changes are heeded there, others need a new run.
HEEDED_AT_RESUME = ("precision", "data", "unknown")


class RTDFiniteCallback(TrainerCallback, ExportableState):
    """Stops before a step whose loss or gradient is NaN or infinite, or leaves that step out.

    `Trainer(..., callbacks=[RTDFiniteCallback("skip")])`. Seen are the losses of each micro-batch of a step and its
    gradients, in the moment before the optimiser would use them. What is said then: the step, what is not finite
    (`mlm_loss`, `disc_loss`, which gradient), the micro-batch and how its rows begin, and the likely cause, with what
    speaks for it: weights that are not finite; half precision, where the same batch is finite in float32; the
    learning rate, where the loss rose before, or the batch of the step before is not finite either; or this text
    alone. What it takes to take the step again is written to `_nonfinite-step-N` in `folder`, three of these at most:
    see [`reproduce`]. It holds rows of the text.

    `"stop"` raises, and no checkpoint holds anything of the step. `"skip"` drops the gradients, so that weights and
    the state of the optimiser stay as they are, bit for bit; the step counts as one (learning rate and data go on),
    is logged as a row with `step`, `epoch`, `nonfinite` (`"skipped"`) and `message`, and is in no figure of
    [`RTDMetricsCallback`]. After 10 steps in a row that were left out it stops too.

    With `fp16` a gradient that overflows is the scaler's business, which leaves that step out itself and halves its
    scale: only a loss that is not finite is told, or 24 overflows in a row, with which training stops.

    All processes of a run do the same. Where each of them has but a part of every weight (FSDP), no step is taken
    again, so that gradients are not told apart and the weights are not written down. DeepSpeed takes its step before
    a callback is asked: there the run stops one step late, and nothing can be left out.

    What it costs: reading all gradients once a step, and on an accelerator waiting once a step for them. The Trainer
    itself waits for each loss (`logging_nan_inf_filter`), only to put a mean in its place in the log: that hides it.

    Args:
        on_nonfinite (`str`): `"stop"` or `"skip"`.
        folder (`str` or path, *optional*): by default the run's `output_dir`.

    Attributes:
        skipped (`int`): steps that the run left out.

    Raises:
        ValueError: another `on_nonfinite`; when training begins, weights that are not finite, or DeepSpeed and
            `"skip"`.
        NonFiniteError: in training.
    """

    def __init__(self, on_nonfinite="stop", *, folder=None):
        if on_nonfinite not in ("stop", "skip"):
            raise ValueError(f"`on_nonfinite` is {on_nonfinite!r}: it must be 'stop' or 'skip'.")
        self.on_nonfinite, self.folder = on_nonfinite, folder
        self._model: torch.nn.Module | None = None
        self._hooks: list = []
        self._start()

    def _start(self):
        self.skipped = self.in_a_row = self.overflows = 0  # the last two: steps in a row
        self._batches: list[MicroBatch] = []  # of the step under way
        self._open: dict[torch.device, MicroBatch] = {}  # of the forward under way, by device
        self._before: MicroBatch | None = None  # of the last step that was well
        self._history: deque = deque(maxlen=REMEMBERED)

    def state(self):
        return {
            "args": {"on_nonfinite": self.on_nonfinite},
            "attributes": {name: getattr(self, name) for name in ("skipped", "in_a_row", "overflows")},
        }

    # ---- What a step is made of ----

    def on_init_end(self, args, state, control, model=None, **kwargs):
        self._attach(model)

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self._attach(model)
        self._start()
        if state.global_step == 0:
            state.stateful_callbacks[type(self).__name__] = self.state()
        # As in the warm-up: the Trainer has read the states of callbacks, and gives them back on request alone.
        stored = state.stateful_callbacks.setdefault(type(self).__name__, self.state())
        for name, value in stored["attributes"].items():
            setattr(self, name, value)
        if self.on_nonfinite == "skip" and AcceleratorState().distributed_type == DistributedType.DEEPSPEED:
            raise ValueError("`on_nonfinite=skip`: DeepSpeed takes its steps by itself. Give `on_nonfinite=stop`.")
        broken = not_finite(model.named_parameters())
        if broken:
            name, count = next(iter(broken.items()))
            raise ValueError(
                f"The weights to train hold numbers that are not finite: {count:,} in {name}, and {len(broken) - 1} "
                "more tensors have some. No step can go on from there: start from other weights."
            )

    def on_step_begin(self, args, state, control, **kwargs):
        self._batches, self._open = [], {}

    def on_train_end(self, args, state, control, **kwargs):
        self._batches, self._open, self._before = [], {}, None

    def _attach(self, model):
        model = model and extract_model_from_parallel(model)
        if model is None or model is self._model:
            return
        for hook in self._hooks:
            hook.remove()
        self._model = model
        self._names = list(inspect.signature(type(model).forward).parameters)[1:]
        self._hooks = [
            model.register_forward_pre_hook(self._expect, with_kwargs=True),
            model.register_forward_hook(self._read),
        ]

    @torch.compiler.disable
    def _expect(self, module, arguments, named):
        if not module.training:
            return
        given = {**dict(zip(self._names, arguments, strict=False)), **named}
        inputs = {name: value for name, value in given.items() if isinstance(value, torch.Tensor)}
        options = {name: value for name, value in given.items() if isinstance(value, (bool, int, float, str))}
        if "input_ids" in inputs:
            device = inputs["input_ids"].device
            self._open[device] = MicroBatch(inputs, options, _random_states(device))

    @torch.compiler.disable
    def _read(self, module, arguments, output):
        if not module.training or not hasattr(output, "mlm_loss") or output.loss is None:
            return
        batch = self._open.pop(output.loss.device, None)
        if batch is not None:
            batch.losses = losses_of(output)
            self._batches.append(batch)

    # ---- Whether it may be taken ----

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        if not self._batches:  # a forward of somebody else's
            return
        has_loss, has_gradient = self._signs()
        if args.fp16 and not has_loss:  # the scaler's
            self.overflows = self.overflows + 1 if has_gradient else 0
            if has_gradient and self.overflows < MOST_OVERFLOWS:
                return
        if not has_loss and not has_gradient:
            self.in_a_row = 0
            self._before = self._batches[0]
            self._history.append(self._losses().mean(dim=0))
            return
        self._refuse(args, state, **kwargs)

    def _losses(self):
        """Of the step's micro-batches, of which `DataParallel` has some on other devices: float32, (batches, 3)."""
        return torch.stack([batch.losses.to(self._batches[0].losses.device) for batch in self._batches])

    def _signs(self):
        """Whether a loss, and a gradient, of any process is not finite."""
        assert self._model is not None  # its outputs are here
        losses = self._losses()
        gradients = [local_part(one.grad) for one in self._model.parameters() if one.grad is not None]
        gradients = [gradient for gradient in gradients if gradient.numel()]
        # In one kernel a few tensors: a number that is not finite makes a norm that is not finite.
        norms = [norm.float().to(losses.device) for norm in (torch._foreach_norm(gradients) if gradients else ())]
        signs = [~torch.isfinite(torch.stack(one)).all() for one in (list(losses), norms or list(losses))]
        flags = torch.stack(signs)[None]  # (1, 2)
        if AcceleratorState().num_processes > 1:
            flags = gather(flags.long())  # (processes, 2)
        return flags.any(dim=0).tolist()  # on an accelerator, the one time that it waits

    def _refuse(self, args, state, optimizer=None, processing_class=None, **kwargs):
        """Name the step, write it down, and stop or leave it out: all processes alike."""
        _drop_gradients(self._model, optimizer)
        process, finding = self._find(args)
        is_overflow = self.overflows >= MOST_OVERFLOWS
        self.in_a_row += 1
        stops = self.on_nonfinite == "stop" or self.in_a_row > MOST_IN_A_ROW or is_overflow
        folder, step, message, checkpoint = Path(self.folder or args.output_dir), state.global_step + 1, "", None
        writes = stops or len(folders_of(folder)) < MOST_FOLDERS
        if writes:  # which reads all of it
            checkpoint = newest_sound_checkpoint(args.output_dir)
        if args.process_index == process:  # who has the batch
            said = {
                "epoch": state.epoch,
                "process": process,
                "seed": args.seed,
                "data_seed": args.data_seed,
                "learning_rate": optimizer.param_groups[0]["lr"],
                "checkpoint": checkpoint and checkpoint.name,
            }
            message = self._words(step, finding, said, processing_class, is_overflow)
            if not writes:  # what comes again and again need not be told at length
                message = message.partition("\n")[0]
            else:
                message += self._write(folder, step, finding, _precision(args), said, processing_class)
        [message] = [one for one in gather_object([message]) if one]
        if stops:
            raise NonFiniteError(f"{message}\n{self._way_on(finding, checkpoint)}")
        self._leave_out(state, step, f"{message}\nThe step is left out.")

    def _find(self, args):
        """The process to blame, and its [`Finding`]; those of the first one where nobody is."""
        finding = find(
            self._model,
            self._batches,
            before=self._before,
            history=list(self._history),
            dtype=_precision(args),
            again=AcceleratorState().distributed_type not in PARTED,
        )
        findings = gather_object([finding])
        blamed = [number for number, one in enumerate(findings) if one.values or one.gradients or one.weights]
        return (blamed or [0])[0], findings[(blamed or [0])[0]]

    def _words(self, step, finding, said, tokenizer, is_overflow):
        number = finding.micro_batch
        place = "" if number is None else f", in micro-batch {number + 1} of {len(self._batches)}"
        place = place if len(self._batches) > 1 else ""
        who = f" of process {said['process']}" if AcceleratorState().num_processes > 1 else ""
        batch = self._batches[number or 0]
        shown = [json.dumps(words, ensure_ascii=False) for words in first_words(batch, tokenizer)[:SHOWN]]
        overflow = f" in {self.overflows} steps in a row, whatever the scale" if is_overflow else ""
        return (
            f"step {step}: {finding.what()}{overflow}{place}{who}.\n"
            f"Its {len(batch.inputs['input_ids'])} rows begin with {', '.join(shown)}.\n"
            f"Likely cause: {finding.cause.replace('_', ' ')}, since {finding.why}. The learning rate is "
            f"{said['learning_rate']:.3g}."
        )

    def _write(self, folder, step, finding, dtype, said, tokenizer):
        has_weights = not finding.weights and AcceleratorState().distributed_type not in PARTED
        try:
            written = write_step(
                folder,
                step,
                self._model,
                self._batches,
                finding,
                dtype=dtype,
                said=said,
                tokenizer=tokenizer,
                with_weights=has_weights,
            )
        except OSError as error:  # what was found is worth more than the copy of it
            return f"\nThe step could not be written down: {error}."
        return f"\n{written} holds what it takes to take this step again: electra_rtd.train_tools.reproduce(FOLDER)."

    def _way_on(self, finding, checkpoint):
        gives_up = self.in_a_row > MOST_IN_A_ROW
        words = "The step was not taken: no weights were changed."
        if gives_up:
            words = f"{MOST_IN_A_ROW} steps in a row were left out before this one, so it is not the text of one."
        cause = "learning_rate" if gives_up and finding.cause == "data" else finding.cause
        if cause == "start" or checkpoint is None:
            return f"{words} Start again. {ADVICE[cause]}"
        if cause in HEEDED_AT_RESUME:
            return f"{words} {ADVICE[cause]}\nGo on from {checkpoint} with `resume=True`."
        return (
            f"{words} {ADVICE[cause]}\n`resume=True` would keep the rate: go on from its weights in a new run, with "
            f"`checkpoint={checkpoint}` and another `output_dir`."
        )

    def _leave_out(self, state, step, message):
        self.skipped += 1
        epoch = {} if state.epoch is None else {"epoch": state.epoch}
        state.log_history.append({**epoch, ROW: "skipped", "message": message, "step": step})
        handler = handler_of(self)
        for callback in handler.callbacks if handler is not None else ():
            if isinstance(callback, RTDMetricsCallback):
                callback.forget_step()
        if state.is_world_process_zero:
            logger.warning(message)


def newest_sound_checkpoint(output_dir):
    """The newest whole checkpoint of a run that has no weight of a size that breaks it already.

    Args: output_dir (`str` or path). Returns: `Path` or `None`.
    """
    for checkpoint in reversed(saved_checkpoints(output_dir)):
        if why_not_whole(checkpoint) is None and largest_of_files(checkpoint.glob("model*.safetensors")) <= LARGE:
            return checkpoint
    return None


def say_what_is_not_finite(args, on_nonfinite):
    """Fields under which the Trainer neither hides a loss that is not finite nor waits for each loss to find one.

    Where steps are skipped it goes on to put a mean in the place of their losses.

    Args: args (`TrainingArguments`); on_nonfinite (`str`). Returns: `dict`, of `TrainingArguments`.
    """
    return {"logging_nan_inf_filter": args.logging_nan_inf_filter and on_nonfinite == "skip"}


def _precision(args):
    """`torch.dtype` of mixed precision, or `None`. Args: args (`TrainingArguments`)."""
    return torch.float16 if args.fp16 else torch.bfloat16 if args.bf16 else None


def _random_states(device):
    """`dict[str, torch.Tensor]` of torch's generators, by kind of device."""
    states = {"cpu": torch.get_rng_state()}
    if device.type in ("cuda", "xpu"):  # where its number stands on the host: nobody waits
        states[device.type] = getattr(torch, device.type).get_rng_state(device)
    return states


def _drop_gradients(model, optimizer):
    """An optimiser leaves a weight without a gradient, and what it keeps of it, as they are.

    A scaler has to have seen gradients before it is asked to step, so it is shown them first.
    """
    scaler = optimizer.scaler if isinstance(optimizer, AcceleratedOptimizer) else None
    if scaler is not None:
        while isinstance(optimizer, AcceleratedOptimizer):
            optimizer = optimizer.optimizer
        try:
            scaler.unscale_(optimizer)
        except RuntimeError as error:  # clipping has done it already
            if "unscale_" not in str(error):
                raise
    model.zero_grad(set_to_none=True)
