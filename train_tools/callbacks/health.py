"""Runs that look alive and are dead: seen from the logged quantities alone, said once, with the mend."""

import logging
import math
from collections import deque
from dataclasses import dataclass
from itertools import pairwise

from transformers import TrainerCallback

from ...hub_tools.constant_answer import entropy
from .finite import RTDFiniteCallback
from .handler import handler_of
from .warm_up import ROW


logger = logging.getLogger(__name__)

WINDOW = 5  # training logs in a row that have to agree
PATIENCE = 2000  # steps after the warm-up in which networks from scratch may have learnt nothing
# Standard deviation of the logits within a batch. Fresh heads have 0.02 (tiny) to 0.13 (base), in bf16 too; on the way
# from there to the constant answer a healthy run from scratch fell to 0.004 in single steps; a dead one has 1e-7.
NO_SPREAD = 1e-3
UNSPREAD = 10  # steps in a row: bf16 rounds logits to 0.008, so that one step alone may show none
# With dropout, a dead discriminator's logits still differ by noise: 0.05 to 0.21 were seen, and an area of chance.
# Healthy runs from scratch had left both (0.5 and 0.6) some 50 steps after the warm-up.
NOISE_SPREAD, AREA_OF_CHANCE, NOISE_PATIENCE = 0.25, 0.02, 300
UNMASKED = 20  # steps in a row without a masked token
NO_RECALL = 0.01  # share of replaced tokens that are called replaced
ALL_LUCKY = 0.95  # share of masked tokens whose sample is the original
KNOWS_THEM = 0.9  # a generator whose samples are all originals has to be right in its first choices this often
ALL_REPLACED = 0.98  # share of all tokens that are labelled replaced
RISE = 0.5  # nats
JUMPS = 3.5  # and so many times what the loss jumps by anyway, where a log holds few tokens
ABOVE_CHANCE = 1.0  # nats above ln(V), the loss of a generator that knows nothing
AT_CHANCE = 0.1  # nats below ln(V)
OF_CONSTANT = 0.98  # share of the loss of the best constant answer
OF_CONSTANT_SILENT = 0.95  # likewise, where almost nothing is called replaced

FINITE = ("loss", "mlm_loss", "disc_loss")  # and every `eval_..._loss`, of whatever set


@dataclass(frozen=True)
class Sign:
    """A sign of a dead run.

    Args: name (`str`), as in `state.log_history`; message (`str`): figures and mend.
    """

    name: str
    message: str


class RTDHealthCallback(TrainerCallback):
    """Says when a run is dead, once a sign, with step, figures and mend.

    `Trainer(..., callbacks=[RTDMetricsCallback(), RTDHealthCallback()])`. It reads what [`RTDMetricsCallback`] adds to
    the log and computes nothing on the model. A sign is said as a warning and kept in `state.log_history`, as a row
    with `step`, `epoch`, `health` (its name) and `message`.

    | `health` | seen where |
    | --- | --- |
    | `not_a_number` | a loss, or the gradient norm without fp16, is NaN or infinite in one log; in training only \
where no [`RTDFiniteCallback`] tells of it |
    | `discriminator_collapsed` | `disc_logit_std` is 0.001 or less in 10 steps or more; or (see below) 0.25 or less \
while `disc_auc` is within 0.02 of 0.5, in 5 logs: one logit for every token, but for dropout |
    | `nothing_masked` | no token was masked in 20 steps or more: the objective is empty |
    | `generator_rises` | `mlm_loss` is 0.5 nats above its lowest, or above ln(V) + 1 (see below) |
    | `generator_copies` | `lucky_hits` is 0.95 or more and `gen_acc` 0.9 or more, in 5 logs |
    | `labels_constant` | `lucky_hits` is 0.95 or more with a lower `gen_acc`; or `replaced_share` is 0.98 or more |
    | `discriminator_says_original` | `disc_recall` is 0.01 or less and `disc_loss` 0.95 of a constant's, in 5 logs |
    | `discriminator_stuck` | `disc_loss` is 0.98 of a constant's or more, in 5 logs |
    | `generator_stuck` | `mlm_loss` is within 0.1 nats of ln(V), the loss of random choice, in 5 logs |

    V is the size of the vocabulary. The generator's loss rises where the mean of 5 logs is above the lowest such mean
    by 0.5 nats and by 3.5 times its noise (of one log, from the differences of neighbouring ones); or where all 5 are
    worse by 1 nat than random choice. "A constant's" is the loss of the best constant answer: the entropy of
    `replaced_share`. The last three are judged `patience` steps after the warm-up, since a run from scratch begins
    there; a spread of noise alone after `patience`, or 300 steps where that is less. Where the generator learns alone
    at first ([`RTDWarmUpCallback`]), nothing is said of the discriminator until then, and its steps count from there.
    While `mask_prob` changes, the generator's loss is compared with that of random choice alone.

    Args:
        on_collapse (`str`): `"warn"`, or `"stop"` to stop training too.
        window (`int`): training logs in a row that have to agree.
        patience (`int`): steps. A released pair needs none of it: 100 is enough there.

    Attributes:
        stopped (`bool`): whether it stopped the last training.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(self, on_collapse="warn", *, window=WINDOW, patience=PATIENCE):
        if on_collapse not in ("warn", "stop"):
            raise ValueError(f"`on_collapse` is {on_collapse!r}: it must be 'warn' or 'stop'.")
        if window < 1 or patience < 0:
            raise ValueError(f"`window` is {window} and `patience` {patience}: at least 1 log, and 0 steps.")
        self.on_collapse, self.window, self.patience = on_collapse, window, patience
        self.stopped = False
        self._start()

    def _start(self):
        self._rows: deque = deque(maxlen=self.window)  # the last training logs
        self._losses: deque = deque(maxlen=4 * self.window)  # `mlm_loss` of the last logs
        self._lowest = math.inf  # mean of `mlm_loss` over a window
        self._highest_rate = 0.0  # of the logs: what it has sunk to since is not what broke a run
        self._masked_at = self._spread_at = 0  # steps of the last logs with a masked token, and with a spread
        self._both_from: int | None = None  # step where the discriminator began; not known while it is not run
        self._said_missing = False

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self.stopped = False
        self._start()
        self._masked_at = self._spread_at = state.global_step
        self._read_earlier(args, state, model.config)

    def on_log(self, args, state, control, logs=None, model=None, **kwargs):
        logs = logs or {}
        signs = list(_not_a_number(logs, with_gradients=not args.fp16, is_seen=self._guard() is not None))
        if "loss" in logs and not signs:
            signs += self._judge(logs, state.global_step, state, model.config, args)
        for sign in signs:
            self._say(sign, state, control)

    def _read_earlier(self, args, state, config):
        """What the sessions before have logged, so that a resumed run is judged as one that nobody disturbed."""
        rows = [row for row in state.log_history if "loss" in row and "replaced_share" in row]
        if rows:
            self._masked_at = self._spread_at = 0
        for row in rows:
            if not list(_not_a_number(row, with_gradients=not args.fp16, is_seen=self._guard() is not None)):
                self._judge(row, row["step"], state, config, args)  # what it finds has been said

    def _judge(self, logs, step, state, config, args):
        warmed_up = args.get_warmup_steps(state.max_steps)
        if "mlm_loss" not in logs or "replaced_share" not in logs:
            guard = self._guard()
            if guard is None or guard.in_a_row == 0:  # else all steps of this log were left out
                self._say_missing()
            return []
        if "lucky_hits" in logs:  # a share of the masked tokens, which is left out where there are none
            self._masked_at = step
        if logs.get("disc_logit_std", math.inf) > NO_SPREAD:
            self._spread_at = step
        if "disc_loss" not in logs:
            self._both_from = None
        elif self._both_from is None:
            self._both_from = _end_of_warm_up(state)
        self._highest_rate = max(self._highest_rate, logs.get("learning_rate") or 0.0)
        self._rows.append({"disc_weight": config.disc_weight, **logs, "step": step})
        rows = [row for row in self._rows if "disc_loss" in row]  # the discriminator's
        judged_from = max(warmed_up, self._both_from or 0) + self.patience
        collapsed = self._collapsed(rows, step, judged_from) if rows else None
        signs = [collapsed, _nothing_masked(logs, step - self._masked_at), *self._judge_generator(config)]
        if self._is_full(rows, judged_from) and collapsed is None:  # who has collapsed is stuck too, and worse off
            signs.append(_discriminator_stuck(rows))
        if self._is_full(self._rows, warmed_up + self.patience):
            signs.append(_generator_stuck(list(self._rows), config))
        return [sign for sign in signs if sign is not None]

    def _guard(self):
        """Who tells of numbers in training that are not finite: [`RTDFiniteCallback`], or `None`."""
        handler = handler_of(self)
        callbacks = handler.callbacks if handler is not None else ()
        return next((one for one in callbacks if isinstance(one, RTDFiniteCallback)), None)

    def _is_full(self, rows, judged_from):
        return len(rows) == self.window and rows[0]["step"] >= judged_from

    def _collapsed(self, rows, step, judged_from):
        if rows[-1]["disc_weight"] == 0:  # nothing trains it, which another sign says
            return None
        if step - self._spread_at >= UNSPREAD:
            return _one_logit(rows[-1], f"for {step - self._spread_at} steps", self._highest_rate)
        noise_from = judged_from - max(self.patience - NOISE_PATIENCE, 0)
        if self._is_full(rows, noise_from) and all(_is_noise(row) for row in rows):
            return _one_logit(rows[-1], f"no more than dropout makes, for {self.window} logs", self._highest_rate)
        return None

    def _judge_generator(self, config):
        self._losses.append(self._rows[-1]["mlm_loss"])
        if len(self._rows) < self.window:
            return []
        rows = list(self._rows)
        if rows[0].get("mask_prob") != rows[-1].get("mask_prob"):
            self._lowest = math.inf  # with more tokens to predict from fewer, a loss is another one
        signs = [_rises(rows, self._losses, self._lowest, config), _copies(rows), _labels_constant(rows)]
        self._lowest = min(self._lowest, _mean(rows, "mlm_loss"))
        return signs

    def _say(self, sign, state, control):
        if self.on_collapse == "stop":
            self.stopped = control.should_training_stop = True
        if any(row.get("health") == sign.name for row in state.log_history):
            return  # said before, in this run or in the one that it resumes
        message = f"step {state.global_step}: {sign.message}"
        epoch = {} if state.epoch is None else {"epoch": state.epoch}
        state.log_history.append({**epoch, "health": sign.name, "message": message, "step": state.global_step})
        if state.is_world_process_zero:
            stops = " Training stops (on_collapse='stop')." if self.on_collapse == "stop" else ""
            logger.warning(f"health: {sign.name}, {message}{stops}")

    def _say_missing(self):
        if not self._said_missing:
            self._said_missing = True
            logger.warning(
                "RTDHealthCallback sees nothing: it reads what RTDMetricsCallback logs. Give the Trainer "
                "callbacks=[RTDMetricsCallback(), RTDHealthCallback()]."
            )


def _end_of_warm_up(state):
    """The step where the generator's warm-up ended: 0 where there was none."""
    return max((row["step"] for row in state.log_history if ROW in row), default=0)


# ---- The signs: training logs in, a sign or nothing out ----------------------------------------------------------


def _not_a_number(logs, with_gradients, is_seen):
    evaluated = [name for name in logs if name.startswith("eval_") and name.endswith("loss")]
    gradients = ["grad_norm"] if with_gradients else []  # fp16 skips steps whose gradients overflow
    names = [*(() if is_seen else (*FINITE, *gradients)), *evaluated]
    broken = [f"{name} is {logs[name]}" for name in names if name in logs and not math.isfinite(logs[name])]
    if broken:
        yield Sign(
            "not_a_number",
            f"{' and '.join(broken)}. What is learnt from here on is lost. Go back to the last checkpoint with a "
            "lower learning rate (5e-5 from a released pair) and max_grad_norm=1; with fp16, try bf16.",
        )


def _is_noise(row):
    of_chance = abs(row.get("disc_auc", 1.0) - 0.5) <= AREA_OF_CHANCE
    return of_chance and row.get("disc_logit_std", math.inf) <= NOISE_SPREAD


def _one_logit(row, how_long, highest_rate):
    area = f", disc_auc is {row['disc_auc']:.3f}" if "disc_auc" in row else ""
    rate = f" than {highest_rate:.1g}" if highest_rate else ""
    return Sign(
        "discriminator_collapsed",
        f"the discriminator gives every token the same answer: its logits have a standard deviation of "
        f"{row['disc_logit_std']:.1g} within a batch, {how_long}{area}. It does not come back from there, however the "
        f"losses look. Start again, from the last checkpoint before or anew, with a lower learning rate{rate} (5e-5 "
        "from a released pair, 5e-4 from scratch) and a warm-up over the first tenth of the steps or more.",
    )


def _nothing_masked(logs, steps):
    if "lucky_hits" in logs or steps < UNMASKED:
        return None
    return Sign(
        "nothing_masked",
        f"no token was masked in the last {steps} steps, so there is nothing to learn, and a loss near 0 is no "
        "success. Special tokens are never masked, [UNK] among them: look at what the tokenizer makes of the text "
        "(tokenizer.tokenize(text)). If all is [UNK], its casing, accents or Unicode form (NFC) do not fit the text.",
    )


def _rises(rows, losses, lowest, config):
    now, chance = _mean(rows, "mlm_loss"), math.log(config.vocab_size)
    if now > lowest + max(RISE, JUMPS * _noise(losses)):
        seen = f"mlm_loss rises: {now:.2f} over {len(rows)} logs, from {lowest:.2f} at its lowest"
    elif all(row["mlm_loss"] > chance + ABOVE_CHANCE for row in rows):
        seen = f"mlm_loss is {now:.2f}, and random choice has {chance:.2f}"
    else:
        return None
    return Sign(
        "generator_rises",
        f"{seen}. The generator forgets what it knew. Lower the learning rate (5e-5 from a released pair), warm up "
        "over the first tenth of the steps, and check that tokenizer and networks belong together.",
    )


def _copies(rows):
    if not (_all(rows, "lucky_hits", ALL_LUCKY) and _all(rows, "gen_acc", KNOWS_THEM)):
        return None
    return Sign(
        "generator_copies",
        f"{rows[-1]['lucky_hits']:.1%} of the masked tokens get their original back (gen_acc "
        f"{rows[-1]['gen_acc']:.1%}): almost nothing is replaced, so there is nothing to detect. Either the generator "
        "sees what it has to predict (replace_prob below 1 leaves tokens as they are: 0.85 is usual), or it knows the "
        "text by heart: take a smaller generator, more text, or a higher sampling_temperature.",
    )


def _labels_constant(rows):
    never = _all(rows, "lucky_hits", ALL_LUCKY) and not _all(rows, "gen_acc", KNOWS_THEM)
    always = _all(rows, "replaced_share", ALL_REPLACED)
    if not (never or always):
        return None
    label, share = ("replaced", rows[-1]["replaced_share"]) if always else ("original", 1 - rows[-1]["replaced_share"])
    return Sign(
        "labels_constant",
        f"{share:.1%} of all tokens are labelled {label}, and the generator is right in "
        f"{rows[-1]['gen_acc']:.1%} of its places: the discriminator learns to say one thing. Its labels have to "
        "compare what it reads with the original tokens: if you changed the forward pass, look there.",
    )


def _discriminator_stuck(rows):
    constants = [entropy(row["replaced_share"]) for row in rows]
    if not all(constants):
        return None  # nothing, or all, is replaced: other signs say so
    shares = [row["disc_loss"] / constant for row, constant in zip(rows, constants, strict=True)]
    mend = (
        "disc_weight is 0, so nothing trains it: 50 is the paper's."
        if rows[-1]["disc_weight"] == 0
        else "From scratch this may last for some thousand steps; from a released pair it must not. Check disc_weight "
        "(50), that the discriminator's weights were loaded and are not frozen, and the learning rate."
    )
    figures = f"disc_loss is {rows[-1]['disc_loss']:.4f}, the best constant answer has {constants[-1]:.4f}"
    silent = all(row.get("disc_recall", 1.0) <= NO_RECALL for row in rows)
    if silent and min(shares) >= OF_CONSTANT_SILENT:
        return Sign(
            "discriminator_says_original",
            f"the discriminator calls everything original: it finds {rows[-1]['disc_recall']:.1%} of the replaced "
            f"tokens, which are {rows[-1]['replaced_share']:.1%} of all; {figures}. {mend}",
        )
    if min(shares) >= OF_CONSTANT:
        return Sign("discriminator_stuck", f"the discriminator has learnt nothing: {figures}. {mend}")
    return None


def _generator_stuck(rows, config):
    chance = math.log(config.vocab_size)
    if not all(abs(row["mlm_loss"] - chance) <= AT_CHANCE for row in rows):
        return None
    why = (
        "gen_weight is 0, so nothing trains it: 1 is the paper's."
        if config.gen_weight == 0
        else (
            "Check gen_weight (1), that the generator's weights were loaded and are not frozen, and the learning rate."
        )
    )
    return Sign(
        "generator_stuck",
        f"the generator has learnt nothing: mlm_loss is {rows[-1]['mlm_loss']:.2f}, random choice among "
        f"{config.vocab_size} tokens has {chance:.2f}. {why}",
    )


def _all(rows, name, least):
    return all(row.get(name, 0.0) >= least for row in rows)


def _noise(losses):
    """Standard deviation of one log around its trend, from the differences of neighbouring ones."""
    differences = [later - earlier for earlier, later in pairwise(losses)]
    return math.sqrt(sum(one**2 for one in differences) / (2 * len(differences))) if differences else 0.0


def _mean(rows, name):
    return sum(row[name] for row in rows) / len(rows)
