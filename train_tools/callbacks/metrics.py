"""The parts of the RTD loss, and more figures, in the logs of the stock Trainer."""

import sys
import time
from typing import NamedTuple

import torch
from accelerate.state import GradientState
from accelerate.utils import gather, reduce
from transformers import TrainerCallback
from transformers.trainer_utils import IntervalStrategy

from ..counts import BEST, HeldOutStatistics, ReadBatch, TrainingStatistics
from .handler import handler_of, move_to_front, write_into_log


LOSS_PARTS = ("mlm_loss", "disc_loss", "gen_acc", "disc_acc")
DISCRIMINATOR_PARTS = ("disc_loss", "disc_acc")


class RTDMetricsCallback(TrainerCallback):
    """Adds `mlm_loss`, `disc_loss`, `gen_acc` and `disc_acc` to everything that the Trainer logs.

    `disc_acc` is balanced: the mean of two accuracies, over masked and over unmasked tokens. Whoever calls everything
    original has 0.5 there, and half the lucky hits. `disc_auc` is the figure to look at.

    `Trainer(..., callbacks=[RTDMetricsCallback()])` is all there is to do. In training the values are averaged over
    the steps since the last log, so that `gen_weight * mlm_loss + disc_weight * disc_loss` is the logged `loss`. In
    evaluation they are averaged over the examples, as `eval_loss` is, stand under `eval_` names in the log and in what
    `evaluate()` returns, and can be the `metric_for_best_model`. Several processes are averaged.

    In training, figures of the tokens since the last log stand beside them, over all processes: `disc_auc` (how often
    a replaced token has a higher logit than an original one), `disc_logit_std` (the standard deviation of the logits
    within a batch), `disc_recall` (of the replaced tokens, those called replaced), `lucky_hits` (of the masked tokens,
    those that the generator put back) and `replaced_share` (of all tokens, those replaced). What would be of nothing
    is left out, and so is what the discriminator did where it was not run ([`RTDWarmUpCallback`]): then all its
    figures are those of the steps in which it was. `tokens_per_second` counts tokens without padding, of all
    processes, and the time outside of evaluating and saving. A resumed run counts from where it goes on.

    With `detailed`, evaluation has `disc_precision`, `disc_recall`, `disc_f1`, `disc_auc`, `gen_perplexity`,
    `gen_top1`, `gen_top5`, `lucky_hits` and `replaced_share` too, over all tokens of all processes: see
    [`HeldOutStatistics`] for what each means and how exact it is.

    The values are read from the model's outputs by forward hooks and stay on the device until the Trainer logs. A
    notebook's table of the Trainer shows them.

    Args:
        detailed (`bool`): more figures in evaluation.
        by_token (`bool`): with `detailed`, also keep counts by original token, in `held_out`.

    Attributes:
        held_out ([`HeldOutStatistics`] or `None`): with `detailed`, of the last evaluation, on the CPU; `None` where
            something of it passed unseen, and then none of the further figures is logged.

    Raises:
        ValueError: `by_token` without `detailed`.
    """

    def __init__(self, detailed=False, by_token=False):
        if by_token and not detailed:
            raise ValueError("`by_token` is True, but `detailed` is False: set both, or neither.")
        self.detailed, self.by_token = detailed, by_token
        self.held_out: HeldOutStatistics | None = None
        self._model: torch.nn.Module | None = None
        self._hooks: list = []
        self._micro_batches = _Mean()  # of the step under way
        self._steps = _Mean()  # since the last log
        self._alone, self._is_alone = 0, False  # of these, those without the discriminator; whether this is one
        self._training = {}  # since the last log, by device
        self._tokens = torch.zeros((), dtype=torch.long)
        self._seconds, self._resumed_at = 0.0, 0.0  # of training since the last log; when its clock went on
        # By device, since the replicas of `DataParallel` run at the same time, one on each.
        self._best = {}  # of the model's forward under way: the generator's first choices, part by part
        self._outputs = {}  # of the evaluation batch under way
        self._eval_dataloader = None
        self._start_evaluation()

    def tokens_seen(self):
        """Tokens without padding that training has read so far, over all processes. Every process has to ask.

        Returns:
            `int`
        """
        return int(reduce(self._tokens.clone(), reduction="sum"))

    def forget_step(self):
        """Leave the step under way out of what is logged, as a step that is not taken ([`RTDFiniteCallback`]).

        What is counted token by token since the last log is forgotten with it, and begins again.
        """
        self._micro_batches, self._training = _Mean(), {}
        self._seconds, self._resumed_at = 0.0, time.perf_counter()

    # ---- Reading the model's outputs ----

    def on_init_end(self, args, state, control, model=None, **kwargs):
        move_to_front(self)
        self._attach(model)

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        move_to_front(self)
        self._attach(model)  # `model_init` makes a new model for each run
        self._micro_batches, self._steps, self._alone = _Mean(), _Mean(), 0
        self._training = {}
        self._seconds, self._resumed_at = 0.0, time.perf_counter()

    def _attach(self, model):
        if model is None or model is self._model:
            return
        for hook in self._hooks:
            hook.remove()
        self._model, self._hooks = model, [model.register_forward_hook(self._read, with_kwargs=True)]
        if self.detailed:
            self._hooks.append(model.register_forward_pre_hook(self._expect_choices, with_kwargs=True))
            self._hooks.append(model.generator.generator_lm_head.register_forward_hook(self._read_choices))

    @torch.compiler.disable
    def _expect_choices(self, module, arguments, named):
        if not module.training:
            self._best[_inputs(arguments, named)[0].device] = []  # without those of a forward that broke off

    @torch.compiler.disable
    def _read_choices(self, module, arguments, logits):
        # The model asks for some of its masked tokens at a time, in order. Who asks for the head alone is not heard.
        if logits.device in self._best:
            logits = logits.detach()  # (m, V)
            self._best[logits.device].append(logits.topk(min(BEST, logits.shape[-1]), dim=-1).indices)

    @torch.compiler.disable
    def _read(self, module, arguments, named, output):
        input_ids, labels = _inputs(arguments, named)
        best = self._best.pop(input_ids.device, [])
        if not hasattr(output, "disc_labels") or output.loss is None:
            return  # a tuple, or a call that asked for no loss
        values = [output[name] if name in output else torch.zeros_like(output.mlm_loss) for name in LOSS_PARTS]
        parts = torch.stack([value.detach().float() for value in values])  # (4,)
        if module.training:
            self._is_alone = output.logits is None
            self._micro_batches.add(parts, weight=1)
            self._count(output)
            return
        batch = None
        if best:
            if labels is not None:  # what a masking collator hid stands in its labels
                hidden = output.masked_positions & (labels >= 0)  # elsewhere a separator of joined sequences may stand
                input_ids = torch.where(hidden, labels, input_ids)  # (B, L)
            read = output.masked_positions, output.disc_labels, output.logits.detach(), output.mlm_loss.detach()
            batch = ReadBatch(input_ids, *read, best_ids=torch.cat(best))
        # The last of a device: whoever else asked the model in between does not count.
        self._outputs[parts.device] = _Output(parts, output.disc_labels.shape[0], batch)

    def _count(self, output):
        device = output.disc_labels.device
        if device not in self._training:
            self._training[device] = TrainingStatistics(device)
        self._training[device].add(output)
        self._tokens = self._tokens.to(device) + (output.disc_labels >= 0).sum()

    def on_step_end(self, args, state, control, **kwargs):
        now = time.perf_counter()
        self._seconds, self._resumed_at = self._seconds + now - self._resumed_at, now
        # The Trainer's loss is a mean over steps of the mean over a step's micro-batches.
        if self._micro_batches.weight:
            self._steps.add(self._micro_batches.mean(), weight=1)
            self._alone += self._is_alone
            self._micro_batches = _Mean()

    def on_evaluate(self, args, state, control, **kwargs):
        self._resumed_at = time.perf_counter()

    def on_save(self, args, state, control, **kwargs):
        self._resumed_at = time.perf_counter()

    def on_prediction_step(self, args, state, control, model=None, eval_dataloader=None, **kwargs):
        if eval_dataloader is not self._eval_dataloader:  # a new evaluation, even where the last one broke off
            self._eval_dataloader = eval_dataloader
            self._start_evaluation()
        outputs, self._outputs = list(self._outputs.values()), {}  # one a device of this process
        if not outputs:
            # Added after the Trainer was made, and evaluated without training: this batch passed unseen, and an
            # average of the others would be a wrong figure. The next evaluation is complete.
            move_to_front(self)
            self._attach(model)
            self._saw_all_batches = False
            return
        rows = sum(output.rows for output in outputs)
        parts = torch.stack([output.parts.to(outputs[0].parts.device) for output in outputs]).mean(dim=0)  # (4,)
        # As the Trainer gathers its losses: a value an example, without those that fill up the last batch.
        values = _without_fill(gather(parts.repeat(rows, 1)))  # (examples, 4)
        self._evaluation.add(values.mean(dim=0), weight=len(values))
        if self.detailed:
            self._count_held_out(outputs, _rows_without_fill(rows, args.process_index))

    def _start_evaluation(self):
        self._evaluation, self._statistics = _Mean(), None
        self._saw_all_batches = self._saw_all_choices = True

    def _count_held_out(self, outputs, rows):
        """Count the first so many rows of this process's outputs, each on the device of the first."""
        if any(output.batch is None for output in outputs):
            self._saw_all_choices = False
            return
        if self._statistics is None:
            assert self._model is not None  # its outputs are here
            vocab_size = self._model.config.vocab_size if self.by_token else None
            self._statistics = HeldOutStatistics(vocab_size, device=outputs[0].parts.device)
        for output in outputs:
            self._statistics.add(output.batch, rows=min(rows, output.rows))
            rows -= min(rows, output.rows)

    # ---- Writing into the logs ----

    def on_log(self, args, state, control, logs=None, **kwargs):
        if logs is None:
            return
        if "loss" in logs and self._steps.weight:
            values = self._training_values()
            write_into_log(values, logs, state)
            if args.eval_strategy == IntervalStrategy.NO:
                _write_in_notebook(values, logs, state, handler_of(self))
        for name in [name for name in logs if name.endswith("_runtime") and name != "train_runtime"]:
            self._write_evaluation(name.removesuffix("runtime"), logs, state)

    def on_predict(self, args, state, control, metrics, **kwargs):
        prefixes = [name.removesuffix("runtime") for name in metrics if name.endswith("_runtime")]
        self._write_evaluation(prefixes[0] if prefixes else "test_", metrics, state=None)

    def _training_values(self):
        means = dict(zip(LOSS_PARTS, reduce(self._steps.mean(), reduction="mean").tolist(), strict=True))
        steps, both = self._steps.weight, self._steps.weight - self._alone
        for name in DISCRIMINATOR_PARTS if self._alone else ():  # summed up as 0 where there were none
            means[name] = means[name] * steps / both if both else None
        counted, *others = self._training.values() or [TrainingStatistics(self._tokens.device)]  # all was forgotten
        for other in others:
            counted.absorb(other)
        figures, tokens = counted.reduce().as_dict()
        self._steps, self._training, self._alone = _Mean(), {}, 0
        values = {name: value for name, value in {**means, **figures}.items() if value is not None}
        if tokens:
            values["tokens_per_second"] = tokens / self._seconds
        self._seconds = 0.0
        return values

    def _write_evaluation(self, prefix, logs, state):
        self.held_out = None
        if self._saw_all_batches and self._evaluation.weight:
            values = dict(zip(LOSS_PARTS, self._evaluation.mean().tolist(), strict=True))
            if self._statistics is not None and self._saw_all_choices:
                self.held_out = self._statistics.reduce()
                values.update(self.held_out.as_dict())
            write_into_log({f"{prefix}{name}": value for name, value in values.items()}, logs, state)
            if f"{prefix}loss" in logs:
                # A notebook's table takes its prefix from the last `..._loss`, to leave out times by their names.
                logs[f"{prefix}loss"] = logs.pop(f"{prefix}loss")
        self._start_evaluation()


class _Output(NamedTuple):
    """Of one evaluation batch on one device: the parts (float32, (4,)), its rows, and what the details need."""

    parts: torch.Tensor
    rows: int
    batch: ReadBatch | None


class _Mean:
    """Weighted mean of tensors, summed where the first of them is."""

    def __init__(self):
        self.total: torch.Tensor | None = None
        self.weight = 0

    def add(self, values, weight):
        weighted = values * weight
        self.total = weighted if self.total is None else self.total + weighted.to(self.total.device)
        self.weight += weight

    def mean(self):
        assert self.total is not None  # who asks has looked at the weight
        return self.total / self.weight


def _inputs(arguments, named):
    """`input_ids` and `labels` of a call of the model."""
    return named["input_ids"] if "input_ids" in named else arguments[0], named.get("labels")


def _without_fill(values):
    """Without the examples that a distributed loader repeats to fill its last batch (see `gather_for_metrics`)."""
    loader = GradientState()
    return values[: loader.remainder] if loader.end_of_dataloader and loader.remainder > 0 else values


def _rows_without_fill(rows, process_index):
    """How many of this process's rows the same leaves: gathered, they stand at `process_index * rows` and after."""
    loader = GradientState()
    if not loader.end_of_dataloader or loader.remainder <= 0:
        return rows
    return min(max(loader.remainder - process_index * rows, 0), rows)


def _write_in_notebook(values, logs, state, handler):
    """The loss parts in a notebook's table of a training without evaluation, whose rows have the loss alone.

    The table's own callback comes later and writes into the row of the same step.
    """
    notebook = sys.modules.get("transformers.utils.notebook")  # where nobody has imported it, there is no table
    if notebook is None or handler is None:
        return
    parts = {name.replace("_", " ").title(): values[name] for name in LOSS_PARTS if name in values}
    for callback in handler.callbacks:
        if isinstance(callback, notebook.NotebookProgressCallback) and callback.training_tracker is not None:
            callback.training_tracker.write_line({"Step": state.global_step, "Training Loss": logs["loss"], **parts})
