"""The step benchmark on a GPU: ours, the plain step, and stock MLM of one network, on batches that fill the card."""

from dataclasses import dataclass, replace

from ..batches import FULL_LENGTH, draw_batches
from ..contenders import BY_BOUNDARIES as OURS
from ..contenders import CONTENDERS, build
from ..contenders.common import Setup
from ..flops import data_sheet_rate, useful_flops
from ..shapes import pair_configs
from .lanes import ROUNDS, WARMUP, Lane, TooLarge, free_memory, take_turns


DTYPE = "bfloat16"
WORDS = {"ragged": "ragged", "like-length": "similar length", "full": f"rows of {FULL_LENGTH}"}
WHO = (OURS, "ours", "plain", "mlm")


@dataclass(frozen=True)
class Case:
    """What is measured.

    Args:
        shape (`str`): in `benchmarks.shapes.SHAPES`.
        batches (`str`): in `benchmarks.batches.SCENARIOS`.
        rows (`int`): of a batch.
        who (`tuple[str, ...]`): in `benchmarks.contenders.CONTENDERS`.
    """

    shape: str
    batches: str
    rows: int
    who: tuple[str, ...] = WHO

    def name(self):
        """Returns: `str`."""
        return f"{self.shape}, {WORDS[self.batches]}, {self.rows} rows"


# By what they tell: the goals first. 32 rows of small are what `adapt` takes.
CASES = [
    Case("base", "full", 64),
    Case("base", "ragged", 256),
    Case("small", "ragged", 256),
    Case("small", "ragged", 32),
    Case("base", "like-length", 256),
    Case("small", "full", 64),
    Case("small", "like-length", 256),
]
TINY_CASES = [Case("tiny", "ragged", 8), Case("tiny", "full", 1), Case("tiny", "like-length", 8)]


class Bench:
    """What measures: contenders, built once for each shape, and the batches.

    Args:
        tokens ([`Tokens`])
        tokenizer (`str`): a folder with its tokenizer.
        device (`torch.device`)
        clock ([`Clock`])
        warmup, rounds (`int`)
    """

    def __init__(self, tokens, tokenizer, device, clock, warmup=WARMUP, rounds=ROUNDS):
        self.tokens, self.tokenizer, self.device, self.clock = tokens, tokenizer, device, clock
        self.warmup, self.rounds = warmup, rounds
        self._built = {}

    def training(self, shape, who, again=0):
        """Args: shape, who (`str`); again (`int`): tells those of one kind apart. Returns: [`TrainingStep`]."""
        key = shape, who, again
        if key not in self._built:
            setup = Setup(shape, self.tokens.vocab_size, self.tokenizer, DTYPE, self.device.type)
            self._built[key] = build(CONTENDERS[who].module, setup)
        return self._built[key]

    def forget(self, *key):
        """Args: *key: shape, who and again of a training that is not needed any longer."""
        self._built.pop(key, None)
        free_memory()

    def draw(self, case):
        """Args: case ([`Case`]). Returns: `list[list[list[int]]]`, the rows of each round's batch."""
        return draw_batches(self.tokens.rows, case.batches, case.rows, self.warmup + self.rounds)

    def useful(self, shape, who):
        """Args: shape, who (`str`). Returns: a function from rows to their useful operations."""
        configs = pair_configs(shape, self.tokens.vocab_size)
        return lambda rows: useful_flops(who, configs, rows)

    def lane(self, case, who, before=None, training=None, batches=None):
        """Args: case ([`Case`]); who (`str`); the others as of [`Lane`]. Returns: [`Lane`]."""
        arguments = {} if before is None else {"before": before}
        training = training or self.training(case.shape, who)
        return Lane(training, batches or self.draw(case), self.useful(case.shape, who), **arguments)

    def measure(self, case, make_lanes):
        """Let lanes take turns; where the memory of the card is too small, with half as many rows, and again.

        Args: case ([`Case`]); make_lanes (callable): from a case to `dict[str, Lane]`.
        Returns: `dict`, what goes into the record. Raises: TooLarge: one row is too many.
        """
        notes = []
        while True:
            too_large = None
            try:
                figures, failed = take_turns(make_lanes(case), self.clock, self.warmup, self.rounds)
            except TooLarge as error:
                too_large = str(error)
                if case.rows == 1:
                    raise
            if too_large is not None:
                free_memory()
                notes.append(f"{too_large} ran out of memory at {case.rows} rows: all of them take half as many")
                case = replace(case, rows=case.rows // 2)
                continue
            return {
                "case": {"shape": case.shape, "batches": WORDS[case.batches], "rows": case.rows, "dtype": DTYPE},
                "notes": notes,
                "data_sheet_rate": data_sheet_rate(DTYPE) if self.device.type == "cuda" else None,
                "lanes": figures,
                "failed": failed,
            }

    def contenders(self, case):
        """The step benchmark of a case. Args: case ([`Case`]). Returns: `dict`, of [`measure`]."""

        def lanes(case):
            batches = self.draw(case)
            return {who: self.lane(case, who, batches=batches) for who in case.who}

        return self.measure(case, lanes)
