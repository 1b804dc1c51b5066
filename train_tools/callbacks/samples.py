"""Held-out text seen through both networks while they learn: in the terminal, TensorBoard and W&B."""

import logging
import shutil
import sys
from itertools import islice

from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType
from tqdm.auto import tqdm
from transformers import TrainerCallback

from ..inspector.inspector_texts import TEXTS
from ..inspector.pieces import piece_of_ids, pieces_of_text
from ..inspector.reading import read_pieces
from ..language import choose_language
from ..lazy_names import refuse_without
from .handler import handler_of, reporter


logger = logging.getLogger(__name__)

IN_PARTS = (DistributedType.FSDP, DistributedType.DEEPSPEED)
LONGEST = 64  # tokens of a sample: as much as one looks at
COLUMNS = ("step", "epoch", "text", "place", "token", "generator_read", "discriminator_read", "probability", "verdict")


class RTDSampleCallback(TrainerCallback):
    """Shows what becomes of some held-out sentences: what is masked, what the generator puts there, what is caught.

    `Trainer(..., callbacks=[RTDSampleCallback(texts)])`. The same sentences each time, corrupted as in evaluation: so
    no random number is drawn, and a run with the callback equals one without, bit for bit. It prints, and writes to
    TensorBoard (as text) and to W&B (as a table) where the Trainer reports to them. Only the main process works; under
    FSDP and DeepSpeed, whose weights lie in parts, it says so and shows nothing.

    Args:
        examples (`str`, `list[str]`, or `datasets.Dataset` with `input_ids` or `text`, *optional*): by default the
            first rows of the Trainer's evaluation data, once it has evaluated.
        every (`int`, *optional*): steps; by default with each training log, so every `logging_steps`.
        rows (`int`): sentences, up to 64 tokens of each.
        lang (`str`, *optional*): `"ko"` or `"en"`; by default that of the locale.

    Raises:
        ValueError: an argument is out of range, or the examples hold no text.
        ModuleNotFoundError: `rich`, which sets the texts for a terminal, is not installed.
    """

    def __init__(self, examples=None, *, every=None, rows=2, lang=None):
        if every is not None and every < 1:
            raise ValueError(f"`every` is {every}: it must be 1 step or more, or left out.")
        if rows < 1:
            raise ValueError(f"`rows` is {rows}: it must be 1 sentence or more.")
        refuse_without("rich", "RTDSampleCallback")
        self.every, self.rows, self.lang = every, rows, choose_language(lang)
        self._examples = None if examples is None else _first_examples(examples, rows)
        self._pieces = None
        self._said_why_not = False

    def on_train_begin(self, args, state, control, **kwargs):
        self._pieces = None  # the tokenizer may be another one

    def on_log(self, args, state, control, logs=None, **kwargs):
        if self.every is None and "loss" in (logs or {}):
            self._show(args, state, **kwargs)

    def on_step_end(self, args, state, control, **kwargs):
        if self.every is not None and state.global_step % self.every == 0:
            self._show(args, state, **kwargs)

    def _show(self, args, state, model=None, processing_class=None, eval_dataloader=None, **kwargs):
        if not state.is_world_process_zero:
            return
        pieces = self._pieces_to_read(args, model, processing_class, eval_dataloader)
        if not pieces:
            return
        readings = read_pieces(model, processing_class, pieces, top_k=0)
        self._print(readings, state)
        handler = handler_of(self)
        _to_tensorboard(reporter(handler, "TensorBoardCallback"), readings, state, self.lang)
        _to_wandb(reporter(handler, "WandbCallback"), readings, state)

    def _print(self, readings, state):
        from rich.console import Console  # here: the other callbacks do without

        from ..inspector.terminal_view import sample_view

        width = min(shutil.get_terminal_size().columns, 120)
        console = Console(width=width)
        with console.capture() as captured:
            console.print(
                sample_view(readings, step=state.global_step, epoch=state.epoch, width=width, lang=self.lang)
            )
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        shown = captured.get().encode(encoding, "replace").decode(encoding)  # no sign is worth a run
        tqdm.write(shown, end="")  # above a progress bar, not through it

    def _pieces_to_read(self, args, model, tokenizer, eval_dataloader):
        if self._pieces is not None:
            return self._pieces
        if AcceleratorState().distributed_type in IN_PARTS:
            return self._say_why_not("the weights lie in parts (FSDP, DeepSpeed), which one process cannot read.")
        if tokenizer is None:
            return self._say_why_not("the Trainer has no tokenizer. Give it processing_class=tokenizer.")
        examples = self._examples
        if examples is None and eval_dataloader is not None:
            examples = _first_examples(eval_dataloader.dataset, self.rows)
        if examples is None:
            return self._say_why_not(
                "no evaluation has been yet, so it knows no held-out text. Give it some: RTDSampleCallback(texts)."
            )
        longest = min(LONGEST, model.config.max_position_embeddings)
        self._pieces = [piece for example in examples for piece in _piece(example, tokenizer, longest)]
        return self._pieces

    def _say_why_not(self, reason):
        if not self._said_why_not:
            self._said_why_not = True
            logger.warning(f"RTDSampleCallback shows nothing: {reason}")
        return []


def _first_examples(examples, rows):
    """The first texts (`str`) or token ids (`list[int]`) of what a user gave."""
    examples = [examples] if isinstance(examples, str) else examples
    found = []
    for example in islice(examples, 20 * rows):  # some may be empty
        if not isinstance(example, str):
            example = example["input_ids"] if "input_ids" in example else example.get("text")
        if example is not None and len(example) > 0 and not (isinstance(example, str) and not example.strip()):
            found.append(example)
    if not found:
        raise ValueError("`examples` holds no text: give strings, or a dataset with `input_ids` or `text`.")
    return found[:rows]


def _piece(example, tokenizer, longest):
    if isinstance(example, str):
        return pieces_of_text(example, tokenizer, longest)[:1]
    ids = [int(token_id) for token_id in example if int(token_id) != tokenizer.pad_token_id]
    ids = ids if len(ids) <= longest else [*ids[: longest - 1], ids[-1]]  # with its [SEP]
    return [piece_of_ids(ids, tokenizer)]


def _to_tensorboard(callback, readings, state, lang):
    from ..inspector.terminal_view import closing

    writer = getattr(callback, "tb_writer", None)
    if writer is not None:
        texts = TEXTS[lang]
        parts = [markdown_table(reading, texts) + "\n\n" + closing(reading, texts) for reading in readings]
        writer.add_text("rtd_samples", "\n\n".join(parts), state.global_step)
        writer.flush()


def _to_wandb(callback, readings, state):
    wandb = getattr(callback, "_wandb", None)
    if wandb is None or getattr(wandb, "run", None) is None:
        return
    when = [state.global_step, state.epoch]
    rows = [
        [*when, number, place, *(getattr(token, name) for name in COLUMNS[4:])]
        for number, reading in enumerate(readings)
        for place, token in enumerate(reading.tokens)
    ]
    table = wandb.Table(columns=list(COLUMNS), data=rows)
    wandb.log({"rtd_samples": table, "train/global_step": state.global_step})


def markdown_table(reading, texts):
    """The tokens of a reading as a table in Markdown, replacements in bold.

    Args: reading ([`Reading`]); texts (`dict`), of [`TEXTS`]. Returns: `str`.
    """
    rows = {
        "original": [_cell(token.token) for token in reading.tokens],
        "generator": [_cell(token.generator_read) for token in reading.tokens],
        "replacement": [
            f"**{_cell(token.discriminator_read)}**" if token.replaced else _cell(token.discriminator_read)
            for token in reading.tokens
        ],
        "verdict": [f"{texts[token.verdict]} {token.probability:.0%}" for token in reading.tokens],
    }
    lines = [[texts[name], *cells] for name, cells in rows.items()]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(token):
    for character in "\\|*_`<>[]#":
        token = token.replace(character, f"\\{character}")
    return token
