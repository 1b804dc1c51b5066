"""What a person is told of an extended vocabulary, and how long its new rows have to be trained."""

import math
import statistics
import textwrap

from rich.cells import cell_len

from .shell import command_name, line


SHOWN = 10
BATCH = 32  # sequences in a step of `adapt`, where nobody says otherwise
LENGTH = 128  # tokens in a sequence at most
# Occurrences after which the generator's loss at new entries had come nearly two thirds of the way to that at old ones
# that are as frequent: measured, see `docs/vocabulary.md`.
SEEN = 400


def describe(extension, output_dir):
    """What was added, what it saves, and what to do next.

    Args:
        extension ([`VocabularyExtension`]); output_dir (`str` or path): where the pair is.

    Returns:
        `str`: several lines.
    """
    before, after, entries = extension.before, extension.after, extension.entries
    rows = [
        f"  {len(entries):,} new entries; the vocabulary has {len(extension.tokenizer):,} now",
        "",
        f"  {'the text':<22}{'before':>12}{'after':>12}",
        f"  {'tokens a word':<22}{before.tokens_per_word:>12.3f}{after.tokens_per_word:>12.3f}",
        f"  {'[UNK] of the tokens':<22}{_percent(before.unknown_share):>12}{_percent(after.unknown_share):>12}",
        f"  {'tokens':<22}{before.tokens:>12,}{after.tokens:>12,}",
        f"  {'[UNK]':<22}{before.unknown:>12,}{after.unknown:>12,}",
    ]
    if extension.left_out:
        rows.append(f"  (without {extension.left_out:,} words that are too rare to be held in memory)")
    rows += ["", f"  {'the most useful':<24}{'occurrences':>12}  was"]
    rows += [f"  {_padded(new.entry, 24)}{new.occurrences:>12,}  {' '.join(new.parts)}" for new in entries[:SHOWN]]
    again = line("adapt", "--checkpoint", output_dir, "--train_file", "TEXT.txt", "--output_dir", "ADAPTED")
    return "\n".join([*rows, "", *_steps_in_words(extension), "", "Next:", f"  {command_name()} {again}"])


def steps_needed(extension, share):
    """Steps of `adapt` until so many of the new rows have been seen often enough.

    Args:
        extension ([`VocabularyExtension`]); share (`float`): of the entries, those that occur most.

    Returns:
        `int`: of batches of `BATCH` sequences, of text like this one.
    """
    counts = sorted((new.occurrences for new in extension.entries), reverse=True)
    count = max(1, counts[math.ceil(share * len(counts)) - 1])
    # A sequence is a text; a longer one becomes several, so that a step never reads more than this.
    tokens_a_step = BATCH * min(LENGTH, extension.after.tokens / extension.texts)
    return math.ceil(SEEN * extension.after.tokens / (count * tokens_a_step))


def _steps_in_words(extension):
    counts = [new.occurrences for new in extension.entries]
    half, most = (f"{steps_needed(extension, share):,}" for share in (0.5, 0.9))
    said = (
        f"New rows have to be trained. After about {SEEN} occurrences they had come two thirds of the way to old ones "
        f"(measured once: docs/vocabulary.md). This text has {statistics.median_low(counts):,} of the median entry, "
        f"{min(counts):,} of the rarest: so far is half of the rows after about {half} steps of {BATCH} sequences of "
        f"`adapt`, nine tenths after {most}."
    )
    return textwrap.wrap(said, width=98, initial_indent="  ", subsequent_indent="  ")


def _percent(share):
    return f"{100 * share:.3f} %"


def _padded(text, width):
    """A text that fills columns of a terminal, of which a Korean syllable takes two."""
    return text + " " * max(1, width - cell_len(text))
