"""From the texts of a run to rows of token ids: tokenized or packed, replayed, and looked at for `[UNK]`."""

from dataclasses import dataclass
from typing import Any

from datasets import concatenate_datasets

from .check_options import check_rows
from .epoch_order import seed_of_data
from .replay import ReplayDraw, ReplayedText, say_replay, warn_of_other_replay
from .run_text import read_general, read_texts
from .streaming.begin import begin
from .streaming.callback import refuse_other_reading
from .streaming.stream import Stream
from .text.packed import pack_texts
from .text.tokenizing import check_length, tokenize_texts
from .unknown_tokens import check_unknown_tokens


@dataclass(frozen=True)
class RunTexts:
    """What was read.

    Args:
        train, held_out (`datasets.Dataset`): with the column `text`, and `document` where rows are packed.
        general (two such, or empty): general text that is replayed, and that of it which is held out.
        begin ([`Begin`], *optional*): of text that is streamed; `train` is then what is looked at of it.
    """

    train: Any
    held_out: Any
    general: Any = ()
    begin: Any = None


@dataclass(frozen=True)
class RunRows:
    """What is trained and evaluated on.

    Args:
        train: what the Trainer gets: `domain`, or [`ReplayedText`].
        domain, held_out (`datasets.Dataset`): with `input_ids`, and `token_type_ids` where rows are packed.
        general (two such, or empty): of general text.
        callbacks (`list` of `TrainerCallback`): that `train` needs.
        stream ([`Stream`], *optional*): in place of `train`, which is then as `domain`: rows that are looked at.
    """

    train: Any
    domain: Any
    held_out: Any
    general: Any
    callbacks: list
    stream: Any = None


def read_run_texts(arguments, training_args):
    """Read all texts of a run, in the main process first: the others read the cache.

    Args: arguments ([`RunArguments`]); training_args (`TrainingArguments`). Returns: [`RunTexts`].
    Raises: ValueError: a text cannot be read, or is too short.
    """
    if arguments.streaming:
        begun = begin(arguments, arguments.from_random_weights and not arguments.tokenizer)
        return RunTexts(begun.looked_at, concatenate_datasets(begun.held_out), begin=begun)
    with training_args.main_process_first(desc="reading text"):
        train, held_out = read_texts(arguments, training_args.seed)
        general = read_general(arguments, training_args.seed, len(held_out)) if _replays(arguments) else ()
    return RunTexts(train, held_out, general)


def make_rows(arguments, training_args, texts, tokenizer, longest, last_checkpoint):
    """Make rows of the texts, and refuse those that nothing can be learnt from.

    Args:
        arguments ([`RunArguments`]); training_args (`TrainingArguments`); texts ([`RunTexts`])
        tokenizer (`PreTrainedTokenizerFast`); longest (`int`): tokens that the pair reads at most.
        last_checkpoint (`str` or `None`): of the run that is resumed.

    Returns:
        [`RunRows`]

    Raises:
        ValueError: rows longer than the pair reads, all `[UNK]`, or no whole batch.
    """
    if last_checkpoint is not None:
        refuse_other_reading(last_checkpoint, is_streamed=arguments.streaming)
    if arguments.streaming:
        return _rows_of_stream(arguments, training_args, texts, tokenizer, longest)
    domain_texts = (texts.train, texts.held_out)
    with training_args.main_process_first(desc="tokenizing text"):
        if arguments.packs:
            options = {"seed": training_args.seed, "num_proc": arguments.preprocessing_num_workers}
            domain, held_out = pack_texts(domain_texts, tokenizer, max_length=arguments.max_seq_length, **options)
        else:
            domain, held_out = tokenize_texts(arguments, domain_texts, tokenizer, longest)
        general = texts.general and tokenize_texts(arguments, texts.general, tokenizer, longest, "general text")
    check_unknown_tokens(domain, texts.train, tokenizer)
    train, callbacks = domain, []
    if general:
        check_unknown_tokens(general[0], texts.general[0], tokenizer, "of general text")
        train = ReplayedText(domain, general[0], arguments.replay_share, seed_of_data(training_args))
        say_replay(train, arguments.replay_share)
        check_rows(training_args, len(train), len(general[1]))
        callbacks = [ReplayDraw(train)]
    warn_of_other_replay(last_checkpoint, train)
    check_rows(training_args, len(train), len(held_out))
    return RunRows(train, domain, held_out, general, callbacks)


def _rows_of_stream(arguments, training_args, texts, tokenizer, longest):
    check_length(arguments, longest)
    stream = Stream(arguments, texts.begin, tokenizer)
    check_unknown_tokens(stream.looked_at, texts.train, tokenizer, "at the beginning of the stream")
    check_rows(training_args, training_args.max_steps * training_args.train_batch_size, len(stream.held_out))
    return RunRows(stream.looked_at, stream.looked_at, stream.held_out, (), [], stream)


def _replays(arguments):
    return not arguments.from_random_weights and bool(arguments.replay_file)
