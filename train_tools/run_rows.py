"""From the texts of a run to rows of token ids: tokenized or packed, replayed, and looked at for `[UNK]`."""

from dataclasses import dataclass
from typing import Any

from .check_options import check_rows
from .epoch_order import seed_of_data
from .replay import ReplayDraw, ReplayedText, say_replay, warn_of_other_replay
from .run_text import read_general, read_texts
from .text.packed import pack_texts
from .text.tokenizing import tokenize_texts
from .unknown_tokens import check_unknown_tokens


@dataclass(frozen=True)
class RunTexts:
    """What was read.

    Args:
        train, held_out (`datasets.Dataset`): with the column `text`, and `document` where rows are packed.
        general (two such, or empty): general text that is replayed, and that of it which is held out.
    """

    train: Any
    held_out: Any
    general: Any = ()


@dataclass(frozen=True)
class RunRows:
    """What is trained and evaluated on.

    Args:
        train: what the Trainer gets: `domain`, or [`ReplayedText`].
        domain, held_out (`datasets.Dataset`): with `input_ids`, and `token_type_ids` where rows are packed.
        general (two such, or empty): of general text.
        callbacks (`list` of `TrainerCallback`): that `train` needs.
    """

    train: Any
    domain: Any
    held_out: Any
    general: Any
    callbacks: list


def read_run_texts(arguments, training_args):
    """Read all texts of a run, in the main process first: the others read the cache.

    Args: arguments ([`RunArguments`]); training_args (`TrainingArguments`). Returns: [`RunTexts`].
    Raises: ValueError: a text cannot be read, or is too short.
    """
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


def _replays(arguments):
    return not arguments.from_random_weights and bool(arguments.replay_file)
