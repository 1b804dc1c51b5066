"""What is looked at on a GPU, in the order of its worth: the card, the checks, the step benchmark, the rest."""

from collections.abc import Callable
from dataclasses import dataclass

from ..batches import MAX_LENGTH
from .card import attention_kernels, matrix_product
from .checks import CHECKS
from .ground import Ground
from .more import compiled, each_way, head_bounds, rows_of
from .profiling import profile_steps
from .steps import CASES, OURS, TINY_CASES, Case
from .trainer import each_setting


PRODUCT, TINY_PRODUCT = 8_192, 256  # rows and columns
TOKENS, TINY_TOKENS = (4_000, 16_000, 64_000), (100,)  # of a step of small
MOST_LOGITS = 2**31  # in bfloat16 4 GiB, and three times 8 GiB in float32 on the way to their gradient
TRAINER_STEPS, TINY_TRAINER_STEPS = (60, 20), (4, 2)  # all, and those that are not counted
# The least time that each needs on a GPU, in seconds.
SECONDS, COMPILING, TRAINING = 15, 75, 40
# Checks that take a minute each, which comes after the step benchmark.
COMPILED_LAYERS, COMPILED_MODEL = "compiled layers", "torch.compile"


@dataclass(frozen=True)
class Station:
    """One thing that is looked at.

    Args:
        name (`str`): in the record.
        look (callable): returns a `dict` of what it found; raises AssertionError or [`Skipped`].
        is_check (`bool`): it says whether the timings can be trusted.
        seconds (`float`): the least time that it needs on a GPU.
    """

    name: str
    look: Callable
    is_check: bool = False
    seconds: float = SECONDS


def plan(bench, shapes):
    """All of it.

    Args: bench ([`Bench`]); shapes (`list[str]`): in `benchmarks.shapes.SHAPES`. Returns: `list[Station]`.
    """
    tiny = shapes == ["tiny"]
    cases = [case for case in (TINY_CASES if tiny else CASES) if case.shape in shapes]
    ground = Ground(bench.device, bench.clock)
    return [
        Station("the card: kernels of attention", lambda: attention_kernels(bench.device)),
        Station("the card: matrix product", lambda: matrix_product(bench.device, TINY_PRODUCT if tiny else PRODUCT)),
        *(check(name, ground) for name in CHECKS if name not in (COMPILED_LAYERS, COMPILED_MODEL)),
        *(Station(f"step: {case.name()}", lambda case=case: bench.contenders(case)) for case in cases),
        *(_tiny_rest(bench, ground) if tiny else _rest(bench, ground, shapes)),
    ]


def check(name, ground, seconds=SECONDS):
    """Args: name (`str`): in [`CHECKS`]; ground ([`Ground`]); seconds (`float`). Returns: [`Station`]."""
    return Station(f"check: {name}", lambda: CHECKS[name](ground), is_check=True, seconds=seconds)


def _rest(bench, ground, shapes):
    full, ragged, few = Case("base", "full", 64), Case("base", "ragged", 256), Case("small", "ragged", 32)
    stations = [
        *(_ways(bench, case) for case in (full, ragged)),
        *(_profile(bench, case) for case in (full, few)),
        _bounds(bench, full),
        *_by_tokens(bench, "small", TOKENS),
        _trainer(bench, few, TRAINER_STEPS),  # before compilers run, whose threads forked loader workers would copy
        check(COMPILED_LAYERS, ground, COMPILING),
        _compiled(bench, few),
        check(COMPILED_MODEL, ground, COMPILING),
        _compiled(bench, ragged),
        _bounds(bench, ragged),
        _with_graphs(bench, few),
    ]
    names = tuple(f": {shape}," for shape in shapes)
    return [one for one in stations if one.is_check or any(name in one.name for name in names)]


def _tiny_rest(bench, ground):
    few = TINY_CASES[0]
    return [
        _ways(bench, few),
        _profile(bench, few),
        _bounds(bench, few),
        *_by_tokens(bench, "tiny", TINY_TOKENS),
        _trainer(bench, few, TINY_TRAINER_STEPS),
        check(COMPILED_LAYERS, ground),
        check(COMPILED_MODEL, ground),
    ]


def _ways(bench, case):
    return Station(f"ways of attention: {case.name()}", lambda: each_way(bench, case))


def _bounds(bench, case):
    return Station(f"bounds of the vocabulary head: {case.name()}", lambda: head_bounds(bench, case))


def _profile(bench, case):
    return Station(f"profile: {case.name()}", lambda: profile_steps(bench, case))


def _compiled(bench, case):
    return Station(f"compiled layers: {case.name()}", lambda: compiled(bench, case), seconds=COMPILING)


def _with_graphs(bench, case):
    """A graph of CUDA for each shape: nothing is launched one by one, but each shape is compiled by itself."""
    settings = {"multiple": 1_024, "options": {"triton.cudagraphs": True}}
    name = f"compiled layers with CUDA graphs: {case.name()}"
    return Station(name, lambda: compiled(bench, case, **settings), seconds=2 * COMPILING)


def _trainer(bench, case, steps):
    return Station(f"Trainer: {case.name()}", lambda: each_setting(bench, case, *steps), seconds=TRAINING)


def _by_tokens(bench, shape, sizes):
    for tokens in sizes:
        rows = rows_of(tokens, bench)
        # Stock MLM has logits at every token and at padding: a card would halve the rows until they fit.
        mlm = ("mlm",) if rows * MAX_LENGTH * bench.tokens.vocab_size < MOST_LOGITS else ()
        case = Case(shape, "ragged", rows, (OURS, *mlm))
        yield Station(f"tokens a step: {shape}, about {tokens:,}", lambda case=case: bench.contenders(case))
