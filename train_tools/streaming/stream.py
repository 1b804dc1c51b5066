"""The stream of a run, from what a person gives to what the Trainer gets."""

import logging
import os
import shutil
import tempfile
import weakref
from functools import cached_property
from pathlib import Path

from datasets import concatenate_datasets
from transformers.trainer_callback import TrainerState

from ...hub_tools.run_record import STATE_FILE
from ..epoch_order import seed_of_data
from ..fast import DEFAULTS, GROUPING
from ..text.packed import pack_text
from ..text.tokenizing import tokenize_text
from .callback import StreamCallback, lanes_of, read_state
from .lane import block_size
from .rows import StreamedRows, StreamPlan
from .source_rows import Encoding


logger = logging.getLogger(__name__)

TOKENIZERS = "TOKENIZERS_PARALLELISM"  # a variable of the library
PREFETCHED = 2  # batches that torch lets a worker make in advance


class Stream:
    """What is streamed in a run. It becomes rows, [`open`], when the batches of the run are settled.

    Args:
        arguments ([`RunArguments`]); begin ([`Begin`]); tokenizer (`PreTrainedTokenizerFast`)
    """

    def __init__(self, arguments, begin, tokenizer):
        self._arguments, self._begin, self._tokenizer = arguments, begin, tokenizer
        self._groups = False

    @cached_property
    def held_out(self):
        """Rows that are held out: `datasets.Dataset`."""
        return concatenate_datasets(self._held_out)

    @property
    def sources(self):
        """Those of each source: `dict[str, datasets.Dataset]` by its short name; empty where they are not apart."""
        if len(self._held_out) < 2:
            return {}
        return dict(zip(self._begin.names, self._held_out, strict=True))

    @cached_property
    def looked_at(self):
        """Rows of the beginning, which are trained on too: `datasets.Dataset`."""
        return rows_of(self._arguments, self._begin.looked_at, self._tokenizer)

    @cached_property
    def _held_out(self):
        return [rows_of(self._arguments, text, self._tokenizer) for text in self._begin.held_out]

    def fields(self, choices, training_args, given, checkpoint):
        """Fields of `TrainingArguments` that a stream settles itself.

        Length grouping is done within a block, not by the Trainer, which would look at the length of every row; and a
        run that goes on has as many workers as before, where nobody gives another number.

        Args:
            choices (`list` of [`Choice`]), training_args (`TrainingArguments`), given (collection of `str`)
            checkpoint (`str` or `None`): of the run that goes on.

        Returns:
            `dict`
        """
        name, value = GROUPING
        self._groups = not self._arguments.packs and (
            any(choice.setting == name for choice in choices) or getattr(training_args, name) == value
        )
        fields = {name: DEFAULTS[name]}
        lanes = lanes_of(checkpoint) if checkpoint else None
        if lanes and "dataloader_num_workers" not in given and lanes % training_args.world_size == 0:
            workers = lanes // training_args.world_size
            fields["dataloader_num_workers"] = workers if workers > 1 else min(1, training_args.dataloader_num_workers)
        return fields

    def open(self, training_args, checkpoint):
        """The rows, and the callback that belongs to them.

        Args:
            training_args (`TrainingArguments`): as they are in effect.
            checkpoint (`str` or `None`): of the run that goes on.

        Returns:
            [`StreamedRows`] and [`StreamCallback`]

        Raises:
            ValueError: the run that goes on read otherwise.
        """
        readers = training_args.world_size * max(1, training_args.dataloader_num_workers)
        lanes = (checkpoint and lanes_of(checkpoint)) or readers
        if lanes % readers:
            raise ValueError(
                f"The run that is resumed divided its text among {lanes} readers, and {training_args.world_size} "
                f"process(es) of {training_args.dataloader_num_workers} workers cannot share these evenly. Give "
                f"`dataloader_num_workers` so that processes x workers divide {lanes}."
            )
        arguments, accumulation = self._arguments, training_args.gradient_accumulation_steps
        plan = StreamPlan(
            sources=self._begin.sources,
            weights=tuple(arguments.mixture or [1.0]),
            encoding=Encoding(self._tokenizer, arguments.max_seq_length, arguments.packs),
            buffer=arguments.shuffle_buffer,
            batch=training_args.train_batch_size,
            lanes=lanes,
            seed=seed_of_data(training_args),
            groups=self._groups,
        )
        settings = self._settings(plan)
        steps = training_args.world_size * accumulation  # batches of one
        starts = read_state(checkpoint, settings, _steps_of(checkpoint) * steps) if checkpoint else {}
        folder = tempfile.mkdtemp(prefix="electra-rtd-stream-")
        kept = (training_args.dataloader_prefetch_factor or PREFETCHED) + accumulation + 4
        rows = StreamedRows(plan, training_args.max_steps * steps, folder, kept=kept, starts=starts)
        if training_args.process_index == 0:
            self._say(plan)
        if training_args.dataloader_num_workers:
            os.environ.setdefault(TOKENIZERS, "false")  # a worker has one core, and the library warns of the fork
        callback = StreamCallback(rows, settings)
        weakref.finalize(callback, _remove, folder, os.getpid())
        return rows, callback

    def _settings(self, plan):
        """What a run that goes on must have alike, by the field that says it."""
        arguments = self._arguments
        return {
            "train_file": [shard.name for source in plan.sources for shard in source.shards],
            "mixture": list(arguments.mixture or []),
            "validation_rows": arguments.validation_rows,
            "text_column": [source.column for source in plan.sources],
            "shuffle_buffer": plan.buffer,
            "max_seq_length": arguments.max_seq_length,
            "packing": arguments.packs,
            "data_seed": plan.seed,
            "per_device_train_batch_size": plan.batch,
            "fast (batches of similar length)": plan.groups,
            "lanes": plan.lanes,
        }

    def _say(self, plan):
        block = block_size(plan.buffer, plan.batch)
        how = f"shuffled among {block:,}" if plan.buffer else "in the order of the text"
        logger.info(f"Stream: {plan.lanes} reader(s); rows are {how}, of up to {plan.encoding.max_length} tokens.")
        total = sum(plan.weights)
        if len(plan.sources) > 1:
            shares = zip(self._begin.names, plan.weights, strict=True)
            logger.info("Stream: of the rows, " + ", ".join(f"{w / total:.1%} {name}" for name, w in shares) + ".")
        for source in plan.sources:
            number = len(source.shards)
            if number % plan.lanes:
                logger.warning(
                    f"Stream: {source.name} has {number} file(s) for {plan.lanes} readers: each reads all of them and "
                    f"keeps one text in {plan.lanes}. With a multiple of {plan.lanes} files each would read its own."
                )


def _steps_of(checkpoint):
    return TrainerState.load_from_json(str(Path(checkpoint) / STATE_FILE)).global_step


def _remove(folder, process):
    if os.getpid() == process:  # and not one of its workers
        shutil.rmtree(folder, ignore_errors=True)


def rows_of(arguments, text, tokenizer):
    """Rows of a text that is in memory. Args: text (`datasets.Dataset`); the others as above. Returns: `Dataset`."""
    make = pack_text if arguments.packs else tokenize_text
    return make(text, tokenizer, max_length=arguments.max_seq_length)
