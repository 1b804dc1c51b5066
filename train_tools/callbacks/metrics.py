"""The parts of the RTD loss in the logs of the stock Trainer."""

import sys

import torch
from accelerate.state import GradientState
from accelerate.utils import gather, reduce
from transformers import TrainerCallback
from transformers.trainer_callback import CallbackHandler


LOSS_PARTS = ("mlm_loss", "disc_loss", "gen_acc", "disc_acc")


class RTDMetricsCallback(TrainerCallback):
    """Adds `mlm_loss`, `disc_loss`, `gen_acc` and `disc_acc` to everything that the Trainer logs.

    `Trainer(..., callbacks=[RTDMetricsCallback()])` is all there is to do. In training the values are averaged over
    the steps since the last log, so that `gen_weight * mlm_loss + disc_weight * disc_loss` is the logged `loss`. In
    evaluation they are averaged over the examples, as `eval_loss` is, stand under `eval_` names in the log and in what
    `evaluate()` returns, and can be the `metric_for_best_model`. Several processes are averaged.

    The values are read from the model's outputs by a forward hook and stay on the device until the Trainer logs.
    """

    def __init__(self):
        self._model = None
        self._hook = None
        self._micro_batches = _Mean()  # of the step under way
        self._steps = _Mean()  # since the last log
        self._tokens = torch.zeros((), dtype=torch.long)
        self._outputs = []  # of the evaluation batch under way: the parts and the rows of each output
        self._evaluation = _Mean()
        self._eval_dataloader = None
        self._saw_all_batches = True

    def tokens_seen(self):
        """Tokens without padding that training has read so far, over all processes. Every process has to ask.

        Returns:
            `int`
        """
        return int(reduce(self._tokens.clone(), reduction="sum"))

    # ---- Reading the model's outputs ----

    def on_init_end(self, args, state, control, model=None, **kwargs):
        self._move_to_front()
        self._attach(model)

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self._move_to_front()
        self._attach(model)  # `model_init` makes a new model for each run
        self._micro_batches, self._steps = _Mean(), _Mean()

    def _attach(self, model):
        if model is None or model is self._model:
            return
        if self._hook is not None:
            self._hook.remove()
        self._model, self._hook = model, model.register_forward_hook(self._read)

    @torch.compiler.disable
    def _read(self, module, arguments, output):
        if not hasattr(output, "disc_labels") or output.loss is None:
            return  # a tuple, or a call that asked for no loss
        parts = torch.stack([output[name].detach().float() for name in LOSS_PARTS])  # (4,)
        labels = output.disc_labels  # (B, L)
        if module.training:
            self._micro_batches.add(parts, weight=1)
            self._tokens = self._tokens.to(labels.device) + (labels >= 0).sum()
        else:
            self._outputs.append((parts, labels.shape[0]))

    def on_step_end(self, args, state, control, **kwargs):
        # The Trainer's loss is a mean over steps of the mean over a step's micro-batches.
        if self._micro_batches.weight:
            self._steps.add(self._micro_batches.mean(), weight=1)
            self._micro_batches = _Mean()

    def on_prediction_step(self, args, state, control, model=None, eval_dataloader=None, **kwargs):
        if eval_dataloader is not self._eval_dataloader:  # a new evaluation, even where the last one broke off
            self._eval_dataloader, self._evaluation, self._saw_all_batches = eval_dataloader, _Mean(), True
        outputs, self._outputs = self._outputs[-max(1, args.n_gpu) :], []  # one a device of this process
        if not outputs:
            # Added after the Trainer was made, and evaluated without training: this batch passed unseen, and an
            # average of the others would be a wrong figure. The next evaluation is complete.
            self._move_to_front()
            self._attach(model)
            self._saw_all_batches = False
            return
        parts = torch.stack([parts.to(outputs[0][0].device) for parts, _ in outputs]).mean(dim=0)  # (4,)
        # As the Trainer gathers its losses: a value an example, without those that fill up the last batch.
        values = _without_fill(gather(parts.repeat(sum(rows for _, rows in outputs), 1)))  # (examples, 4)
        self._evaluation.add(values.mean(dim=0), weight=len(values))

    # ---- Writing into the logs ----

    def on_log(self, args, state, control, logs=None, **kwargs):
        if logs is None:
            return
        if "loss" in logs and self._steps.weight:
            values = reduce(self._steps.mean(), reduction="mean")
            self._steps = _Mean()
            self._write(values, "", logs, state)
        for name in [name for name in logs if name.endswith("_runtime") and name != "train_runtime"]:
            self._write_evaluation(name.removesuffix("runtime"), logs, state)

    def on_predict(self, args, state, control, metrics, **kwargs):
        prefixes = [name.removesuffix("runtime") for name in metrics if name.endswith("_runtime")]
        self._write_evaluation(prefixes[0] if prefixes else "test_", metrics, state=None)

    def _write_evaluation(self, prefix, logs, state):
        if self._saw_all_batches and self._evaluation.weight:
            self._write(self._evaluation.mean(), prefix, logs, state)
        self._evaluation, self._saw_all_batches = _Mean(), True

    def _write(self, values, prefix, logs, state):
        named = {f"{prefix}{name}": value for name, value in zip(LOSS_PARTS, values.tolist(), strict=True)}
        logs.update(named)
        if state is not None and state.log_history:
            state.log_history[-1].update(named)  # a copy of `logs`, made before the callbacks were asked

    def _move_to_front(self):
        """Stand before the reporters (TensorBoard, W&B, ...), which the Trainer puts before a user's callbacks.

        They read `logs` in `on_log`, so what is added after them never reaches them. No public way leads from a
        callback to the list that holds it; the handler is the caller of an event, and is taken only where it is one.
        """
        handler = sys._getframe(2).f_locals.get("self")  # this method, the event's method, who called the event
        if isinstance(handler, CallbackHandler) and self in handler.callbacks and handler.callbacks[0] is not self:
            handler.callbacks.remove(self)
            handler.callbacks.insert(0, self)


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


def _without_fill(values):
    """Without the examples that a distributed loader repeats to fill its last batch (see `gather_for_metrics`)."""
    loader = GradientState()
    return values[: loader.remainder] if loader.end_of_dataloader and loader.remainder > 0 else values
