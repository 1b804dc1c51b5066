"""What text says about a pair: counts that grow batch by batch on the device, in memory that does not.

Shapes: B sequences in a batch, L tokens in the longest, M masked tokens in the batch, V tokens in the vocabulary.
"""

import math
import unicodedata
from typing import NamedTuple

import torch
from accelerate.utils import reduce


BEST = 5  # first choices of the generator that are looked at
COLUMNS = ("tokens", "masked", "gen_top1", "gen_top5", "replaced", "caught", "false_alarms")
DETAILED = (
    "disc_precision",
    "disc_recall",
    "disc_f1",
    "disc_auc",
    "gen_perplexity",
    "gen_top1",
    "gen_top5",
    "lucky_hits",
    "replaced_share",
)
BINS, LARGEST_LOGIT = 2**14, 20.0  # of the histogram of the discriminator's logits
CALIBRATION_BINS = 20
LARGEST_EXPONENT = 700.0  # exp(710) is infinite, which JSON does not know

FREQUENT_SHARE = 0.8


class ReadBatch(NamedTuple):
    """What the model made of one batch.

    Args:
        original_ids (int64, (B, L)); masked_positions (bool, (B, L)).
        disc_labels (int64, (B, L)): 1 = replaced, 0 = original, -100 = no token.
        disc_logits (float, (B, L)): above 0 = called replaced.
        mlm_loss (float, ()): mean cross-entropy of the masked tokens in nats.
        best_ids (int64, (M, up to 5)): the generator's first choices for the masked tokens, row by row, best first.
    """

    original_ids: torch.Tensor
    masked_positions: torch.Tensor
    disc_labels: torch.Tensor
    disc_logits: torch.Tensor
    mlm_loss: torch.Tensor
    best_ids: torch.Tensor


class RunningSums:
    """Tensors that are sums, and can be added up over processes. Built without arguments, on the CPU."""

    def reduce(self):
        """The sums over all processes, on the CPU. Every process has to ask.

        Returns:
            another one of the same class
        """
        reduced = type(self)()
        for name, value in vars(self).items():
            setattr(reduced, name, None if value is None else reduce(value, reduction="sum").cpu())
        return reduced


class TrainingStatistics(RunningSums):
    """What the figures of training are made of that are counted token by token: the sums since the last log.

    The spread of the logits is that within a batch: each logit's distance from the mean of the logits of its own
    forward. Around one mean of all steps, a discriminator that gives every token the same logit, and moves it from
    step to step, would look alive.

    Args:
        device (`torch.device` or `str`): where they are kept.
    """

    def __init__(self, device="cpu"):
        # Tokens, masked, replaced; and read by the discriminator: tokens, replaced, caught.
        self._counts = torch.zeros(6, dtype=torch.long, device=device)
        self._logits = torch.zeros(2, BINS, dtype=torch.long, device=device)  # by label and bin
        self._squares = torch.zeros((), dtype=_exact(device), device=device)  # distances from the mean, squared

    @torch.no_grad()
    def add(self, output):
        """Count a batch, without waiting for the device.

        Args: output ([`ElectraRTDOutput`]), on that device; without `logits` where the generator learns alone.
        """
        attended, replaced = output.disc_labels >= 0, output.disc_labels == 1  # (B, L)
        counted = [attended, output.masked_positions, replaced]
        if output.logits is None:
            self._counts[: len(counted)] += torch.stack(counted).sum(dim=(1, 2))
            return
        counted += [attended, replaced, replaced & (output.disc_predictions == 1)]
        self._counts += torch.stack(counted).sum(dim=(1, 2))
        logits = output.logits.float()
        count_logits(self._logits, logits, output.disc_labels.clamp(min=0), attended)
        mean = logits.masked_fill(~attended, 0).sum() / attended.sum().clamp(min=1)
        distances = (logits - mean).masked_fill(~attended, 0)
        self._squares += distances.square().sum().to(self._squares.dtype)

    def absorb(self, other):
        """Add the sums of another one, of another device. Args: other ([`TrainingStatistics`])."""
        for name, value in vars(other).items():
            getattr(self, name).add_(value.to(self._counts.device))

    def as_dict(self):
        """The figures, those of nothing left out.

        Returns:
            (`dict[str, float]`, `int`): `disc_auc` (where there are replaced and original tokens), `disc_logit_std`,
            `disc_recall`, `lucky_hits`, `replaced_share`; and the number of tokens
        """
        tokens, masked, replaced, read, replaced_read, caught = self._counts.tolist()
        figures = {}
        if 0 < replaced_read < read:
            figures["disc_auc"] = area_under_curve(self._logits)
        if read:
            figures["disc_logit_std"] = math.sqrt(self._squares.item() / read)
        if replaced_read:
            figures["disc_recall"] = caught / replaced_read
        if masked:
            figures["lucky_hits"] = (masked - replaced) / masked  # only masked tokens are ever replaced
        if tokens:
            figures["replaced_share"] = replaced / tokens
        return figures, tokens


class HeldOutStatistics(RunningSums):
    """Figures of a held-out text, accumulated batch by batch on the device in constant memory.

    The positive class is "replaced"; all attended tokens count, special ones too. A share of nothing is 0 (precision
    where nothing is called replaced, recall where nothing is replaced), and the area under the curve is 0.5 where one
    of the two classes is empty. That area comes from a histogram of the logits, 16384 bins over [-20, 20] and what is
    beyond in the outermost: pairs of a replaced and an original token that share a bin count half, so that it is wrong
    by at most half the share of such pairs, which is `auc_error`.

    Args:
        vocab_size (`int`, *optional*): V; also keep a table of counts by original token.
        device (`torch.device` or `str`): where the counts are kept.

    Attributes:
        totals (int64, (7,)): counts of tokens, in the order of `COLUMNS`.
        table (int64, (V, 7), or `None`): the same by original token.
    """

    def __init__(self, vocab_size=None, device="cpu"):
        exact = _exact(device)
        self.totals = torch.zeros(len(COLUMNS), dtype=torch.long, device=device)
        self.table: torch.Tensor | None = None
        if vocab_size is not None:
            self.table = torch.zeros(vocab_size, len(COLUMNS), dtype=torch.long, device=device)
        # By label (original, replaced) and bin, of logits and of probabilities.
        self._logits = torch.zeros(2, BINS, dtype=torch.long, device=device)
        self._probabilities = torch.zeros(2, CALIBRATION_BINS, dtype=torch.long, device=device)
        self._sum_of_probabilities = torch.zeros(CALIBRATION_BINS, dtype=exact, device=device)
        self._cross_entropy = torch.zeros((), dtype=exact, device=device)  # of the masked tokens, summed, in nats

    @torch.no_grad()
    def add(self, batch, rows=None):
        """Count a batch.

        Args:
            batch ([`ReadBatch`])
            rows (`int`, *optional*): count the first so many sequences alone. The mean cross-entropy of the whole
                batch then stands for theirs, as it does in the Trainer's `eval_loss`.
        """
        batch = ReadBatch(*(tensor.to(self.totals.device) for tensor in batch))
        attended = batch.disc_labels >= 0  # (B, L)
        if rows is not None:
            attended[rows:] = False
        self._count_tokens(batch, attended)
        self._count_logits(batch, attended)
        masked = (batch.masked_positions & attended).sum()
        self._cross_entropy += batch.mlm_loss.to(self._cross_entropy.dtype) * masked

    def _count_tokens(self, batch, attended):
        masked, replaced, called = batch.masked_positions, batch.disc_labels == 1, batch.disc_logits > 0
        hits = batch.best_ids == batch.original_ids[masked][:, None]  # (M, up to 5)
        first, among_best = torch.zeros_like(masked), torch.zeros_like(masked)
        first[masked], among_best[masked] = hits[:, 0], hits.any(dim=-1)
        columns = (attended, masked, first, among_best, replaced, replaced & called, called & ~replaced)
        counts = (torch.stack(columns, dim=-1) & attended[..., None]).flatten(0, 1).long()  # (B * L, 7)
        self.totals += counts.sum(dim=0)
        if self.table is not None:
            # Whatever stands where there is no token: it may be no id at all.
            self.table.index_add_(0, batch.original_ids.masked_fill(~attended, 0).flatten(), counts)

    def _count_logits(self, batch, attended):
        labels = batch.disc_labels.clamp(min=0)  # (B, L)
        counts = attended.flatten().long()
        logits = batch.disc_logits.float().nan_to_num()  # a run that broke down is still to be described
        count_logits(self._logits, logits, labels, attended)
        probabilities = torch.sigmoid(logits)
        bins = (probabilities * CALIBRATION_BINS).long().clamp(max=CALIBRATION_BINS - 1)
        self._probabilities.view(-1).index_add_(0, (labels * CALIBRATION_BINS + bins).flatten(), counts)
        weights = (probabilities * attended).flatten().to(self._sum_of_probabilities.dtype)
        self._sum_of_probabilities.index_add_(0, bins.flatten(), weights)

    @property
    def auc(self):
        """`float` in [0, 1]: chance that a replaced token has a higher logit than an original one."""
        return area_under_curve(self._logits)

    @property
    def auc_error(self):
        """`float` in [0, 0.5]: the most by which `auc` can be wrong."""
        return largest_area_error(self._logits)

    def as_dict(self):
        """`dict[str, float]`: the figures that `DETAILED` names, in its order."""
        count = dict(zip(COLUMNS, self.totals.tolist(), strict=True))
        precision = _share(count["caught"], count["caught"] + count["false_alarms"])
        recall = _share(count["caught"], count["replaced"])
        cross_entropy = _share(self._cross_entropy.item(), count["masked"])
        figures = (
            precision,
            recall,
            _share(2 * precision * recall, precision + recall),
            self.auc,
            math.exp(min(cross_entropy, LARGEST_EXPONENT)),
            _share(count["gen_top1"], count["masked"]),
            _share(count["gen_top5"], count["masked"]),
            _share(count["masked"] - count["replaced"], count["masked"]),  # only masked tokens are ever replaced
            _share(count["replaced"], count["tokens"]),
        )
        return dict(zip(DETAILED, figures, strict=True))

    def calibration(self):
        """How often tokens that the discriminator gives a probability of "replaced" are replaced.

        Returns:
            `dict`: `edges` (21 `float`) of 20 bins of probabilities, and for each bin `count` and `replaced`
            (`int`, tokens) and `mean_probability` (`float`, or `None` where no token is).
        """
        counts = self._probabilities.sum(dim=0).tolist()
        sums = self._sum_of_probabilities.tolist()
        return {
            "edges": [edge / CALIBRATION_BINS for edge in range(CALIBRATION_BINS + 1)],
            "count": counts,
            "replaced": self._probabilities[1].tolist(),
            "mean_probability": [total / count if count else None for total, count in zip(sums, counts, strict=True)],
        }


def count_logits(histogram, logits, labels, attended):
    """Add logits to a histogram: `BINS` bins over [-20, 20], and what is beyond in the outermost.

    Args:
        histogram (int64, (2, `BINS`)): originals and replaced ones, changed in place.
        logits (float32, (B, L)); labels (int64, (B, L)): 0 or 1; attended (bool, (B, L)): which of them count.
    """
    logits = logits.nan_to_num().clamp(-LARGEST_LOGIT, LARGEST_LOGIT)
    bins = ((logits + LARGEST_LOGIT) / (2 * LARGEST_LOGIT) * BINS).long().clamp(max=BINS - 1)
    histogram.view(-1).index_add_(0, (labels * BINS + bins).flatten(), attended.flatten().long())


def area_under_curve(histogram):
    """Area under the ROC curve from a histogram; pairs within a bin count half.

    Args:
        histogram (int64, (2, bins)): negatives and positives by score, lowest first.

    Returns:
        `float` in [0, 1]; 0.5 where one of the two is empty
    """
    negatives, positives = histogram.cpu().double()
    pairs = (negatives.sum() * positives.sum()).item()
    below = negatives.cumsum(dim=0) - negatives / 2
    return (positives * below).sum().item() / pairs if pairs else 0.5


def largest_area_error(histogram):
    """The most by which [`area_under_curve`] can be wrong: half the share of pairs that share a bin.

    Args:
        histogram (int64, (2, bins)): negatives and positives by score, lowest first.

    Returns:
        `float` in [0, 0.5]
    """
    negatives, positives = histogram.cpu().double()
    return _share((positives * negatives).sum().item(), (negatives.sum() * positives.sum()).item()) / 2


def script_of(token):
    """What a token is written in.

    Args:
        token (`str`): as it stands in the vocabulary; a leading `##` does not count.

    Returns:
        `str`: `digit` (nothing but digits), `korean` (some Hangul), `latin` (Latin letters and no Hangul) or `other`
    """
    characters = token.removeprefix("##")
    names = [unicodedata.name(character, "") for character in characters]
    if characters.isdigit():
        return "digit"
    if any("HANGUL" in name for name in names):
        return "korean"
    return "latin" if any("LATIN" in name for name in names) else "other"


def frequent_ids(counts, share=FREQUENT_SHARE):
    """The most frequent tokens that together make up a share of a text.

    Args:
        counts (int64, (V,)): occurrences by token id; equally frequent ones are taken in the order of their ids.
        share (`float` in [0, 1])

    Returns:
        bool, (V,): the fewest that suffice
    """
    ordered, ids = counts.sort(descending=True, stable=True)
    before = ordered.cumsum(dim=0) - ordered  # (V,): occurrences of all that are more frequent
    needed = (before < share * counts.sum()) & (ordered > 0)
    return torch.zeros_like(counts, dtype=torch.bool).index_put((ids,), needed)


def _exact(device):
    return torch.float32 if torch.device(device).type == "mps" else torch.float64  # that one has no float64


def _share(part, whole):
    return part / whole if whole else 0.0
