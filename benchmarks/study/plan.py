"""What is done, in the order of its worth: the main question first, everything else behind, each with its estimate."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from .adaptation import Adaptation
from .corpora import CORPORA
from .tasks import CONTROLS, PRIMARY, RATED_ON, TASKS


@dataclass(frozen=True)
class Form:
    """Small or whole.

    Args:
        name (`str`)
        rows (`int`): of a batch of training.
        tokens_of (`dict`): start to the tokens that arm c reads.
        rates (`dict`): start to its grid of learning rates, one for every arm; see `RATED_ON`.
        seeds (`int`): of fine-tuning; fine_tuning_rates (`dict`): start to its grid, chosen on validation.
        epochs, max_length (`int`, *optional*): of fine-tuning; by default each task's own.
        timed_steps, timed_rounds (`int`): how the seconds of a step are measured.
    """

    name: str
    rows: int
    tokens_of: dict
    rates: dict
    seeds: int
    fine_tuning_rates: dict
    epochs: int | None = None
    max_length: int | None = None
    timed_steps: int = 40
    timed_rounds: int = 5


FORMS = {
    "small": Form("small", 8, {"tiny": 6_000}, {"tiny": (5e-4,)}, 2, {"tiny": (3e-3,)}, epochs=15, max_length=32),
    "whole": Form(
        "whole",
        32,
        {"mini": 1_000_000, "english": 300_000},
        # At 1.5e-3 RTD killed the mini pair's discriminator, and the English encoder is the better one to lose.
        {"mini": (1.5e-4, 5e-4, 1.5e-3), "english": (1.5e-4, 5e-4)},
        5,
        # From 1,000 rows of `projects` the mini pair learns next to nothing at 1e-4; see docs/study.md.
        {"mini": (3e-4, 1e-3), "english": (1e-4, 3e-4)},
    ),
}
# Tokens a second of arm c on two cores of a server, by trials; and how much faster fine-tuning learns, and reads.
SPEED = {"mini": 3_000, "english": 1_200, "tiny": 3_000}
LEARNS, READS = 1.1, 5.0
TOKENS_A_ROW = {"book_category": 64, "projects": 60, "nsmc": 28, "question_pair": 24, "chemprot": 75, "scicite": 50}
READ_ROWS = {"book_category": 465, "projects": 1_716, "nsmc": 7_000, "question_pair": 1_440}
READ_ROWS |= {"chemprot": 5_896, "scicite": 2_777}
WARM_UP_SECONDS = 600  # of the English start
GRID_SEEDS = 2  # of `evaluate`
ALPHAS = (0.25, 0.5, 0.75)
# Ablations of arm c on the text whose trainings and scores take the least: fields of `AdaptArguments`, or of
# [`Adaptation`]. What may help RTD against MLM stands first.
ABLATED_CORPUS = "ko_techdocs"
ABLATIONS = {
    "disc_weight": [{"changes": (("disc_weight", 10.0),)}, {"changes": (("disc_weight", 25.0),)}],
    "sampling_temperature": [{"changes": (("sampling_temperature", 2.0),)}],
    "learning rate": [{"rate": 1.5e-4}, {"rate": 5e-4}, {"rate": 1.5e-3}],
    "tokens of domain text": [{"share": 0.1}, {"share": 0.3}],
    "epochs": [{"tokens": 250_000}, {"tokens": 4_000_000}],
    "mask_prob": [{"changes": (("mask_prob", 0.25),)}],
    "sharing": [{"changes": (("embedding_sharing", "none"),)}],
    "generator": [{"changes": (("generator", "new"),)}],
}


@dataclass(frozen=True)
class Piece:
    """One piece of the study.

    Args:
        name (`str`): what `--only` looks for, and `--list` shows.
        seconds (`float`): an estimate, where what stands before it is done.
        run (callable): does it, with a [`Work`]; what is in the record already is not done again.
    """

    name: str
    seconds: float
    run: Callable


def plan(form):
    """Args: form ([`Form`]). Returns: `list` of [`Piece`], no two of one name."""
    pieces = _small(form) if form.name == "small" else _whole(form)
    first: dict = {}
    for piece in pieces:
        first.setdefault(piece.name, piece)
    return list(first.values())


def _small(form):
    base = Adaptation("tiny", "sample", "none")
    rtd = Adaptation("tiny", "sample", "rtd", form.tokens_of["tiny"])
    merged = [replace(rtd, arm="merged", alpha=alpha) for alpha in (0.0, 0.5)]
    for one in (base, replace(rtd, arm="mlm"), rtd, *merged):
        yield score(one, "latin", form)
    yield floor("latin")


def _whole(form):
    mini = form.tokens_of["mini"]
    corpora = ("ko_techdocs", "ko_book")
    # The main question: c against b, at equal tokens and at equal wall time, where the domain's own task is scored.
    for corpus in corpora:
        rtd = Adaptation("mini", corpus, "rtd", mini)
        yield score(Adaptation("mini", corpus, "none"), PRIMARY[corpus], form)
        yield floor(PRIMARY[corpus])
        for arm in ("rtd", "mlm"):
            yield choose(replace(rtd, arm=arm), form)
            yield score(replace(rtd, arm=arm), PRIMARY[corpus], form, trains=corpus != RATED_ON["mini"])
        yield timing(rtd, "mlm", form)
        yield score(replace(rtd, arm="mlm", budget="time"), PRIMARY[corpus], form, trains=True)
    # What it forgets.
    for corpus in corpora:
        for task in CONTROLS[corpus]:
            yield floor(task)
            for arm, budget in (("none", "tokens"), ("rtd", "tokens"), ("mlm", "tokens"), ("mlm", "time")):
                yield score(Adaptation("mini", corpus, arm, mini, budget), task, form)
    yield from _random(corpora, form)
    yield from _curves(corpora, mini, form)
    yield from _merged("mini", corpora, mini, form)
    yield from _further_seeds(corpora, mini, form)
    for arm in ("replay", "frozen", "article"):
        yield from _further_arm("mini", corpora, arm, mini, form)
    yield from ablations(form)
    yield from _english(form)


def _random(corpora, form):
    for corpus in corpora:
        yield score(Adaptation("mini", corpus, "random"), PRIMARY[corpus], form)
    yield score(Adaptation("mini", corpora[0], "random"), "nsmc", form)


def _curves(corpora, tokens, form):
    for corpus in corpora:
        for rows in TASKS[PRIMARY[corpus]].curve:
            yield floor(PRIMARY[corpus], rows)
            for arm, budget in (("none", "tokens"), ("rtd", "tokens"), ("mlm", "tokens"), ("mlm", "time")):
                yield score(Adaptation("mini", corpus, arm, tokens, budget), PRIMARY[corpus], form, rows)


def _merged(start, corpora, tokens, form):
    for corpus in corpora:
        for task in (PRIMARY[corpus], *CONTROLS[corpus][:1]):
            for alpha in ALPHAS:
                yield score(Adaptation(start, corpus, "merged", tokens, alpha=alpha), task, form)


def _further_seeds(corpora, tokens, form):
    """Two more trainings of each arm: how much is the training's own chance?"""
    for seed in (1, 2):
        for corpus in corpora:
            for arm, budget in (("rtd", "tokens"), ("mlm", "tokens"), ("mlm", "time")):
                yield score(Adaptation("mini", corpus, arm, tokens, budget, seed), PRIMARY[corpus], form, trains=True)


def _further_arm(start, corpora, arm, tokens, form):
    for corpus in corpora:
        adaptation = Adaptation(start, corpus, arm, tokens)
        yield choose(adaptation, form)
        for task in (PRIMARY[corpus], *CONTROLS[corpus][:1]):
            yield score(adaptation, task, form, trains=task == PRIMARY[corpus] and corpus != RATED_ON[start])
        yield timing(adaptation, arm, form)
        yield score(replace(adaptation, budget="time"), PRIMARY[corpus], form, trains=True)


def ablations(form):
    """Pieces of the ablations. Args: form ([`Form`]). Returns: iterator of [`Piece`]."""
    for adaptation in ablated(form).values():
        for one in adaptation:
            yield score(one, PRIMARY[ABLATED_CORPUS], form, trains=one.rate is None)


def ablated(form):
    """What is changed to what. Args: form ([`Form`]). Returns: `dict[str, list]` of [`Adaptation`]."""
    plain = Adaptation("mini", ABLATED_CORPUS, "rtd", form.tokens_of["mini"])
    return {name: [replace(plain, **change) for change in changes] for name, changes in ABLATIONS.items()}


def _english(form):
    tokens, corpus = form.tokens_of["english"], "en_biomed"
    rtd = Adaptation("english", corpus, "rtd", tokens)
    yield Piece("start: english", WARM_UP_SECONDS, lambda work: work.start("english"))
    for task in (PRIMARY[corpus], *CONTROLS[corpus]):
        yield floor(task)
        yield score(Adaptation("english", corpus, "none"), task, form)
        for arm in ("rtd", "mlm"):
            if task == PRIMARY[corpus]:
                yield choose(replace(rtd, arm=arm), form)
            yield score(replace(rtd, arm=arm), task, form)
        if task == PRIMARY[corpus]:
            yield timing(rtd, "mlm", form)
        yield score(replace(rtd, arm="mlm", budget="time"), task, form, trains=task == PRIMARY[corpus])
    yield from _merged("english", (corpus,), tokens, form)
    for arm in ("frozen", "replay", "article"):
        yield from _further_arm("english", (corpus,), arm, tokens, form)


# ---- Pieces ---------------------------------------------------------------------------------------------------------


def score(adaptation, task, form, rows=None, trains=False):
    """An encoder on a task.

    Args: adaptation ([`Adaptation`]); task (`str`); form ([`Form`]); rows (`int`, *optional*): by default the task's;
        trains (`bool`): the training is still to be done, which the estimate is to say.
    Returns: [`Piece`]
    """
    rows = rows or TASKS[task].rows
    seconds = _fine_tunings(form, adaptation.start, form.seeds) * _fine_tuning(adaptation.start, task, rows)
    seconds += adaptation.tokens / SPEED[adaptation.start] if trains else 0
    name = f"score: {adaptation.name()}; {task}, {rows} rows"
    return Piece(name, seconds, lambda work: work.score(adaptation, task, rows))


def choose(adaptation, form):
    """The learning rate of an arm, by a training at each. Args: adaptation ([`Adaptation`]); form ([`Form`])."""
    adaptation = replace(adaptation, corpus=RATED_ON[adaptation.start])
    task = PRIMARY[adaptation.corpus]
    each = adaptation.tokens / SPEED[adaptation.start]
    each += _fine_tunings(form, adaptation.start, 1) * _fine_tuning(adaptation.start, task, TASKS[task].rows)
    return Piece(
        f"rate: {adaptation.name()}",
        len(form.rates[adaptation.start]) * each,
        lambda work: work.chosen_rate(adaptation),
    )


def timing(adaptation, arm, form):
    """Steps in turn with arm c. Args: adaptation ([`Adaptation`]); arm (`str`); form ([`Form`])."""
    steps = 2 * form.timed_rounds * form.timed_steps
    seconds = steps * form.rows * 40 / SPEED[adaptation.start] + form.timed_rounds * 20
    name = f"timing: {adaptation.start}, {adaptation.corpus}, {arm}"
    return Piece(name, seconds, lambda work: work.timing(adaptation.start, adaptation.corpus, arm))


def floor(task, rows=None):
    """Args: task (`str`); rows (`int`, *optional*). Returns: [`Piece`]: naive Bayes."""
    rows = rows or TASKS[task].rows
    return Piece(f"floor: {task}, {rows} rows", 20, lambda work: work.floor(task, rows))


def _fine_tunings(form, start, seeds):
    """How many: some seeds try all rates, the others the chosen one."""
    return seeds + min(seeds, GRID_SEEDS) * (len(form.fine_tuning_rates[start]) - 1)


def _fine_tuning(start, task, rows):
    """Seconds of one fine-tuning, roughly."""
    tokens = TOKENS_A_ROW.get(task, 20)
    epochs = max(TASKS[task].epochs, 1)
    learnt, read = rows * tokens * epochs, READ_ROWS.get(task, 100) * tokens
    return 2 + learnt / (LEARNS * SPEED[start]) + read / (READS * SPEED[start])


assert all(task in TASKS for corpus in CORPORA for task in (PRIMARY[corpus], *CONTROLS[corpus]))
