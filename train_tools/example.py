"""What `adapt --example` ends with: what a discriminator catches now and did not before, what its encoder knows."""

from dataclasses import dataclass

import torch
from rich.cells import cell_len

from ..hub_tools.constant_answer import verdict
from ..hub_tools.quiet import quiet
from .arguments import SAMPLE
from .counts import BINS, area_under_curve, count_logits
from .data import read_text
from .evaluation.extra import import_extra
from .evaluation.labels import read_labels, split_labels
from .evaluation.probe import naive_bayes, probe
from .evaluation.verdict import compare
from .inspector.inspection import load_reader
from .inspector.pieces import pieces_of_text
from .inspector.reading import CAUGHT, FALSE_ALARM, MISSED, Reading, read_pieces
from .inspector.terminal_view import CLOSING, OPENING, SIGNS
from .summary import VERDICTS


HELD_OUT = SAMPLE / "techdocs_held_out.csv.gz"
LABELLED = {part: SAMPLE / f"techdocs_labelled_{part}.csv.gz" for part in ("train", "test")}
METRIC = "accuracy"
SHOWN = 3  # sentences
WIDTH = 96  # columns of a terminal, beside the margin
MOST_LINES, MOST_TOLD = 2, 8  # lines of a sentence that is shown, and tokens of it that are told of
LONGEST = 128  # tokens
AT_ONCE = 32  # texts in a batch


def example_words(start, adapted):
    """What the discriminator of the adapted pair catches, and what its encoder knows, beside those from before.

    Args: start, adapted (`str` or path): the pair before and after.
    Yields: `str`: two texts of several lines, each when it is known.
    """
    texts = read_text(HELD_OUT, text_column="text").dataset["text"][:]
    with quiet():  # both pairs were loaded before, and what there is to say of them was said
        words = catches(read_twice(start, adapted, texts))
    yield words
    with quiet():
        words = what_encoders_know(start, adapted)
    yield words


@dataclass(frozen=True)
class ReadTwice:
    """A text that both discriminators have read with the same replacements in it.

    Args: before, after ([`Reading`]).
    """

    before: Reading
    after: Reading

    @property
    def pairs(self):
        """The tokens, as each of the two judges them: `list` of two [`Token`]."""
        return list(zip(self.before.tokens, self.after.tokens, strict=True))

    @property
    def gained(self):
        """`int`: how many tokens more are judged rightly than before."""
        return self.before.wrong - self.after.wrong

    @property
    def told(self):
        """`list` of two [`Token`]: replaced ones, and those of which one of the two readings says so."""
        return [pair for pair in self.pairs if pair[0].replaced or FALSE_ALARM in (pair[0].verdict, pair[1].verdict)]

    @property
    def newly_caught(self):
        """`list` of two [`Token`]: replaced ones that are caught now and were not before."""
        return [pair for pair in self.pairs if (pair[0].verdict, pair[1].verdict) == (MISSED, CAUGHT)]


def read_twice(start, adapted, texts):
    """Corrupt texts once, by the generator from before training, and let both discriminators judge them.

    The generator of the adapted pair puts other tokens in, so that two readings with a generator each would not tell
    what the discriminator has learnt.

    Args:
        start, adapted (`str` or path): the pair before and after; texts (`list[str]`)

    Returns:
        `list` of [`ReadTwice`], in the same order; a text longer than a pair reads ends where it does.
    """
    model, tokenizer = load_reader(start)
    trained, _ = load_reader(adapted)
    longest = min(LONGEST, model.config.max_position_embeddings)
    pieces = [pieces_of_text(text, tokenizer, longest)[0] for text in texts]
    before = _read(model, tokenizer, pieces)
    model.discriminator = trained.discriminator
    after = _read(model, tokenizer, pieces)
    return [ReadTwice(*pair) for pair in zip(before, after, strict=True)]


def _read(model, tokenizer, pieces):
    """Readings of pieces, in batches of similar length."""
    order = sorted(range(len(pieces)), key=lambda place: len(pieces[place].input_ids))
    readings: dict[int, Reading] = {}
    for first in range(0, len(order), AT_ONCE):
        places = order[first : first + AT_ONCE]
        read = read_pieces(model, tokenizer, [pieces[place] for place in places], top_k=0)
        readings.update(zip(places, read, strict=True))
    return [readings[place] for place in range(len(pieces))]


def catches(readings, shown=SHOWN):
    """What is caught now and was not before, in words: figures of all texts, and the texts where most is gained.

    Args: readings (`list` of [`ReadTwice`]); shown (`int`): texts at most.
    Returns: `str`: lines of at most 100 columns.
    """
    before, after = (_figures([getattr(one, side) for one in readings]) for side in ("before", "after"))
    more, fewer = (sum(sign * (one.after.caught - one.before.caught) > 0 for one in readings) for sign in (1, -1))
    said = VERDICTS[verdict("disc_auc", before, after)]
    rows = [
        "What the discriminator makes of the same replacements, before and after",
        f"  {len(readings):,} held-out paragraphs, {before['tokens']:,} tokens; {before['replaced']:,} of them were "
        "replaced, by the generator from before",
        f"  {'':<26}{'before':>10}{'after':>10}",
        f"  {'disc_auc':<26}{before['disc_auc']:>10.4f}{after['disc_auc']:>10.4f}  {said}",
    ]
    for label, name, lower in (("replaced tokens caught", "caught", False), ("false alarms", "alarms", True)):
        rows.append(f"  {label:<26}{before[name]:>10,}{after[name]:>10,}  {_word(before[name], after[name], lower)}")
    rows.append(f"  It catches more than before in {more:,} paragraphs, and fewer in {fewer:,}.")
    if not after["caught"] + after["alarms"]:
        rows.append("  It calls every token original now: none has a probability above one half.")
    gained = [one for one in readings if one.newly_caught and one.gained > 0]
    short = [one for one in gained if len(_lines(one)) <= MOST_LINES and len(one.told) <= MOST_TOLD]
    best = sorted(short or gained, key=lambda one: (-one.gained, -_surer(one)))[:shown]
    if not best:
        return "\n".join([*rows, "", "In no paragraph does it gain anything, so none is shown."])
    rows += ["", f"Where it gained most ({OPENING}{CLOSING}: what stands in place of the original), before and after:"]
    for number, one in enumerate(best, 1):
        rows += ["", *_shown(number, one)]
    return "\n".join(rows)


def _figures(readings):
    """Counts of all tokens, and the area under the curve: `dict`, with what its verdict is judged by."""
    tokens = [token for reading in readings for token in reading.tokens]
    replaced = torch.tensor([[int(token.replaced) for token in tokens]])
    logits = torch.logit(torch.tensor([[token.probability for token in tokens]]), eps=1e-6)
    histogram = torch.zeros(2, BINS, dtype=torch.long)
    count_logits(histogram, logits, replaced, torch.ones_like(replaced, dtype=torch.bool))
    return {
        "tokens": len(tokens),
        "replaced": replaced.sum().item(),
        "replaced_share": replaced.sum().item() / max(len(tokens), 1),
        "disc_auc": area_under_curve(histogram),
        "caught": sum(token.verdict == CAUGHT for token in tokens),
        "alarms": sum(token.verdict == FALSE_ALARM for token in tokens),
    }


def _word(before, after, lower):
    if before == after:
        return "same"
    return "better" if (after < before) == lower else "worse"


def _surer(one):
    return sum(after.probability - before.probability for before, after in one.newly_caught)


def _shown(number, one):
    lines = _lines(one)
    rows = [f"  {number}  {lines[0]}", *(f"     {line}" for line in lines[1:])]
    for before, after in one.told:
        change = before.token if not before.replaced else f"{before.token} → {before.discriminator_read}"
        rows.append(f"     {_padded(change, 36)}{_judged(before):>22}{'':>4}{_judged(after)}")
    return rows


def _judged(token):
    """One token's verdict in words and the discriminator's probability."""
    words = {CAUGHT: "caught", MISSED: "missed", FALSE_ALARM: "false alarm"}
    sign = SIGNS[token.verdict] if token.verdict in words else "·"
    return f"{sign} {words.get(token.verdict, 'right')} {token.probability:.0%}"


def _padded(text, width):
    return text + " " * max(1, width - cell_len(text))


def _lines(one):
    """A text as the discriminators read it, in lines that fit."""
    text, at = "", 0
    for token in one.before.tokens:
        text += one.before.text[at : token.start]
        written = one.before.text[token.start : token.end]
        text += f"{OPENING}{token.discriminator_read.removeprefix('##')}{CLOSING}" if token.replaced else written
        at = token.end
    return _wrapped(" ".join((text + one.before.text[at:]).split()), WIDTH - 6)


def _wrapped(text, width):
    """As `textwrap.wrap`, by columns of a terminal: a Korean syllable takes two."""
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and cell_len(lines[-1]) + 1 + cell_len(word) > width:
            lines.append("")
        lines[-1] += f"{' ' if lines[-1] else ''}{word}"
    return lines


def what_encoders_know(start, adapted):
    """What a linear probe reads from the frozen encoders, before and after: which project is a paragraph from?

    Args: start, adapted (`str` or path): the pair before and after.
    Returns: `str`: lines of at most 100 columns; one of them that says what is missing, without scikit-learn.
    """
    try:
        import_extra("sklearn")
    except ValueError:
        return "What the encoders know of labelled text is left out: a linear probe needs `pip install scikit-learn`."
    columns = {"text_columns": "text", "label_column": "project"}
    labels = read_labels(LABELLED["train"], **columns, group_column="block")
    split = split_labels(labels, test=read_labels(LABELLED["test"], **columns), seed=0)
    probed = []
    for checkpoint in (start, adapted):
        model, tokenizer = load_reader(checkpoint)
        options = {"max_length": LONGEST, "batch_size": AT_ONCE, "device": model.device}
        probed.append(probe(model.discriminator.electra, tokenizer, split, **options))
    targets, names = split.test.targets, split.test.names
    before, after = ([one.predictions] for one in probed)
    found = compare("single", METRIC, before, after, targets, names, deterministic=True)
    floor = naive_bayes(split)
    rows = [
        f"What a linear probe reads from the encoders: which of {len(names)} projects is a paragraph from?",
        f"  {len(split.train) + len(split.validation)} labelled paragraphs, and {len(split.test)} of other pages for "
        "the test",
        f"  {'naive Bayes on letters, no encoder':<36}{floor.scores[METRIC]:>8.3f}",
        f"  {'encoder before':<36}{found.before:>8.3f}",
        f"  {'encoder after':<36}{found.after:>8.3f}  {_verdict(found)}",
    ]
    return "\n".join(rows)


def _verdict(found):
    if found.low is None:
        return found.verdict
    return f"{found.verdict}: {found.difference:+.3f}, 95 % interval {found.low:+.3f} to {found.high:+.3f}"
