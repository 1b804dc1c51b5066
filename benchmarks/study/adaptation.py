"""One training of the study, as data: what names it in the record, and what it is trained with."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Adaptation:
    """A training, or none.

    Args:
        start (`str`): in `STARTS`; corpus (`str`): in `CORPORA`; arm (`str`): in `ARMS`.
        tokens (`int`): that arm c reads: the budget.
        budget (`str`): `"tokens"`: as many tokens as arm c; `"time"`: as many seconds.
        seed (`int`): of the training.
        rate (`float`, *optional*): of the learning; by default the one that was chosen for the arm.
        changes (`tuple` of pairs): fields of `AdaptArguments` and values, for an ablation.
        share (`float`): of the corpus' rows.
        alpha (`float`, *optional*): of the arm `merged`: how far from the base, 0, to arm c, 1.
    """

    start: str
    corpus: str
    arm: str
    tokens: int = 0
    budget: str = "tokens"
    seed: int = 0
    rate: float | None = None
    changes: tuple = ()
    share: float = 1.0
    alpha: float | None = None

    @property
    def trains(self):
        """`bool`: whether something is trained, by this arm or the one that it is merged from."""
        return self.arm not in ("none", "random")

    @property
    def source(self):
        """The training that a merged arm is made of; any other is its own: [`Adaptation`]."""
        return self if self.alpha is None else replace(self, arm="rtd", alpha=None)

    def name(self, with_rate=True):
        """As in the record. Args: with_rate (`bool`): the learning rate too. Returns: `str`."""
        if not self.trains:
            return f"{self.start}, {self.arm}"
        parts = [f"{self.start}, {self.corpus}, {self.arm}", shown_tokens(self.tokens)]
        parts += ["equal time"] if self.budget == "time" else []
        parts += [f"{self.share:.0%} of the rows"] if self.share != 1 else []
        parts += [f"alpha {self.alpha:g}"] if self.alpha is not None else []
        parts += [f"{field}={value}" for field, value in self.changes]
        parts += [f"rate {self.rate:g}"] if with_rate and self.rate is not None else []
        return ", ".join([*parts, f"seed {self.seed}"])


def shown_tokens(tokens):
    """Args: tokens (`int`). Returns: `str`, such as `4M tokens`."""
    return f"{tokens / 1e6:g}M tokens" if tokens >= 100_000 else f"{tokens} tokens"
