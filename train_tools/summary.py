"""The closing words of a run, for a person."""

import json
import math
import textwrap

from ..hub_tools.constant_answer import states, verdict
from .shell import command_name, line, python_name


# The discriminator's area under the curve first: the one figure that neither the share of replaced tokens nor lucky
# hits can move. Those that a run does not have are left out.
LABELS = {
    "disc_auc": "disc_auc",
    "disc_loss": "disc_loss (discriminator)",
    "disc_acc": "disc_acc  (balanced)",
    "mlm_loss": "mlm_loss  (generator)",
    "gen_acc": "gen_acc",
    "loss": "loss",
}
VERDICTS = {
    "better": "better",
    "worse": "worse",
    "same": "same",
    "chance": "no better than chance",
    "constant": "no better than a constant answer",
    "empty": "empty: there was nothing to do",
}
# Where two texts stand side by side there is room for less.
SHORT = {**VERDICTS, "chance": "at chance", "constant": "a constant", "empty": "empty"}
LEAST_SHOWN = 0.0005  # what shows in three digits
SHORT_NOTE = "(at chance, a constant: no better than chance, or than a constant answer)"
# Signs after which going on, or publishing, makes no sense; and what to try for each of them.
RATE = "a lower --learning_rate, a tenth of this one at first, and a longer warm-up (--warmup_steps)"
TRY = {
    "discriminator_collapsed": RATE,
    "not_a_number": RATE,
    "generator_rises": RATE,
    "nothing_masked": "other text or another tokenizer: no token could be masked. What tokenizer.tokenize(TEXT) gives "
    "must not be all [UNK]",
    "generator_copies": "more text, or a smaller generator: it puts nearly every token back, so nothing is replaced",
    "labels_constant": "a look at the labels: they say one thing of nearly every token",
    "discriminator_says_original": "more steps or more text, or another --learning_rate: it calls everything original",
    "discriminator_stuck": "more steps or more text, or another --learning_rate: the discriminator has learnt nothing",
    "generator_stuck": "another --learning_rate: the generator has learnt nothing",
}
DISCRIMINATOR_SIGNS = {"discriminator_collapsed", "discriminator_says_original", "discriminator_stuck"}
GENERATOR_SIGNS = {"generator_rises", "generator_stuck"}
TELLS_NOTHING = "more text or more steps, or another --learning_rate: the discriminator tells nothing apart yet"
# From random weights the loss is above a constant answer's at first, and again where a text was learnt by heart.
TOO_FEW_OR_MANY = "more steps if disc_loss was still falling at the end, more text or fewer epochs if it was rising"
NOT_LEARNT = {
    "chance": TELLS_NOTHING,
    "constant": "more text; more steps where disc_loss still falls, fewer epochs where it rises: the discriminator is "
    "surer than it may be",
    "empty": TRY["labels_constant"],
}
LOST = "a lower --learning_rate: the generator knows less than the frequencies of tokens say"


def summary(result):
    """What a run did, whether that is a success, and what one would type next.

    Args:
        result ([`AdaptResult`])

    Returns:
        `str`: several lines.
    """
    return f"{what_it_did(result)}\n\n{what_next(result)}"


def what_it_did(result):
    """The figures of a run. Args: result ([`AdaptResult`]). Returns: `str`: several lines."""
    rows = _figures(result) if result.general_after is None else _figures_of_both(result)
    minutes, seconds = divmod(round(result.seconds), 60)
    rows += [
        *_figures_of_sources(result),
        "",
        f"  {result.steps:,} steps; {result.tokens_seen:,} tokens read in {minutes} min {seconds} s "
        f"({result.tokens_per_second:,.0f} tokens a second)",
        f"  pair           {result.checkpoint}",
        f"  discriminator  {result.discriminator}  (stock ELECTRA, for fine-tuning)",
        *([f"  SKIPPED        {result.skipped:,} steps whose numbers were not finite"] if result.skipped else []),
        *(line for row in result.health for line in _sign(row)),
    ]
    return "\n".join(rows)


def what_next(result):
    """What to do with it, or otherwise. Args: result ([`AdaptResult`]). Returns: `str`: several lines."""
    advice = what_to_try(result)
    rows = [
        *(["This pair is not worth keeping as it is. Try:", *(f"  {line}" for line in advice), ""] if advice else []),
        "Next:",
        *(f"  {command}" for command in next_commands(result)),
    ]
    return "\n".join(rows)


def _figures(result):
    rows = [f"  {'held-out':<26}{'before':>10}{'after':>10}"]
    for name, label in _known(result.before, result.after):
        said = _said(name, result.before, result.after, result, VERDICTS)
        rows.append(f"  {label:<26}{result.before[name]:>10.4f}{result.after[name]:>10.4f}  {said}".rstrip())
    return rows


def _figures_of_both(result):
    """What the pair gained on the domain's text and what it lost on general text, side by side; and in words."""
    sides = ((result.before, result.after), (result.general_before, result.general_after))
    rows = [
        f"  {'held-out':<26}   {'the domain: gained?':<32}general text: forgotten?",
        f"  {'':<26}" + f"{'before':>9}{'after':>10}{'':>13}" * 2,
    ]
    used = set()
    for name, label in _known(*sides[0], *sides[1]):
        cells = ""
        for before, after in sides:
            said = _said(name, before, after, result, SHORT)
            used.add(said)
            cells += f"{before[name]:>9.4f}{after[name]:>10.4f}  {said:<11}"
        rows.append(f"  {label:<26}{cells}".rstrip())
    rows[1] = rows[1].rstrip()
    notes = [f"  {SHORT_NOTE}"] if used & {SHORT["chance"], SHORT["constant"]} else []
    return [*rows, *notes, "", f"  {forgetting(result)}"]


def _figures_of_sources(result):
    """Of each source of a mixture: the losses of both networks, before and after."""
    if not result.sources_after:
        return []
    head = f"  {'held-out, by source':<26}{'mlm_loss before':>17}{'after':>9}{'disc_loss before':>19}{'after':>9}"
    rows = ["", head]
    for name, after in result.sources_after.items():
        before = result.sources_before[name]
        rows.append(
            f"  {name:<26}{before['mlm_loss']:>17.4f}{after['mlm_loss']:>9.4f}"
            f"{before['disc_loss']:>19.4f}{after['disc_loss']:>9.4f}"
        )
    return rows


def _known(*evaluations):
    return [(name, label) for name, label in LABELS.items() if all(name in figures for figures in evaluations)]


def _said(name, before, after, result, words):
    return words.get(verdict(name, before, after, result.vocab_size) or "", "")


def forgetting(result):
    """What general text says of what the pair has forgotten.

    Args: result ([`AdaptResult`]): with figures of general text. Returns: `str`, a line or two.
    """
    before, after = result.general_before, result.general_after
    lost = [
        f"{name} {word} by {worse * (after[name] - before[name]):.3f}"
        for name, worse, word in (("mlm_loss", 1, "rose"), ("disc_loss", 1, "rose"), ("disc_auc", -1, "fell"))
        if name in before and name in after and worse * (after[name] - before[name]) >= LEAST_SHOWN
    ]
    if not lost:
        return "Nothing was forgotten, as far as the held-out general text tells."
    return (
        f"The pair forgot something: on general text {', '.join(lost)}.\n"
        "  A larger --replay_share or a lower --learning_rate keeps more."
    )


def _sign(row):
    """What was seen, in lines that fit a terminal. What to do about it, `what_to_try` says."""
    seen = row["message"].partition(". ")[0].rstrip(".")
    return textwrap.wrap(
        f"{row['health']}, {seen}.",
        width=98,
        initial_indent="  HEALTH         ",
        subsequent_indent=" " * 17,
        break_long_words=False,
        break_on_hyphens=False,
    )


def what_to_try(result):
    """What to do otherwise, where the run was no success.

    Args:
        result ([`AdaptResult`])

    Returns:
        `list[str]`: empty where nothing speaks against the pair
    """
    generator, discriminator = states(result.after, result.vocab_size)
    forgets = result.after["mlm_loss"] >= result.before["mlm_loss"]
    over = set()  # signs of something that the run came out of
    if not result.stopped:
        over |= set() if discriminator else DISCRIMINATOR_SIGNS
        over |= set() if generator or forgets else GENERATOR_SIGNS
    tried = [TRY[row["health"]] for row in result.health if row["health"] not in over]
    if generator == "empty":
        tried.append(TRY["nothing_masked"])
    elif not math.isfinite(result.after["loss"]):
        tried.append(TRY["not_a_number"])
    elif not tried and discriminator:
        falls = result.after["disc_loss"] < result.before["disc_loss"]
        tried.append(TOO_FEW_OR_MANY if discriminator == "constant" and falls else NOT_LEARNT[discriminator])
    elif not tried and generator and forgets:
        tried.append(LOST)
    return list(dict.fromkeys(tried))


def next_commands(result):
    """Commands that work as they stand, but for names in capitals: to look at a run, and to use what was a success.

    Args:
        result ([`AdaptResult`])

    Returns:
        `list[str]`
    """
    command, adapted = command_name(), result.checkpoint
    report = f"{command} {line('report', '--run', adapted)}"
    inspect = f"{command} {line('inspect', '--checkpoint', adapted, '--file', 'TEXT.txt')}"
    if what_to_try(result):
        return [report, inspect]
    folder = json.dumps(result.discriminator, ensure_ascii=False)  # quoted as in Python
    code = (
        f"from transformers import AutoModelForSequenceClassification as M; M.from_pretrained({folder}, num_labels=2)"
    )
    compare = line("evaluate", "--labels", "LABELS.csv", "--before", "START", "--after", result.discriminator)
    more = line("adapt", "--checkpoint", adapted, "--train_file", "MORE.txt", "--output_dir", f"{adapted}-2")
    return [
        report,
        inspect,
        f"{command} {compare}",
        f"{python_name()} {line('-c', code)}",
        f"{command} {more}",
        f"{command} {line('push', adapted, 'USER/NAME', '--private')}",
    ]
