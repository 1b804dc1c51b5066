"""What the checks stand on: a small pair, ragged batches of made-up tokens, comparisons that show their figures."""

import contextlib
from unittest import mock

import torch
from transformers import ElectraConfig, ElectraForMaskedLM, ElectraForPreTraining

from electra_rtd import ElectraRTDForPreTraining, objective_electra_rtd
from electra_rtd.train_tools.unpadded_attention import use_unpadded_attention

from .tokens import Tokens


UNK, PAD, CLS, SEP, MASK = range(5)
SPECIAL_IDS = {"unk_token": UNK, "pad_token": PAD, "cls_token": CLS, "sep_token": SEP, "mask_token": MASK}
POSITIONS = 256
# Heads of 64 on a GPU, as every ELECTRA has them. A vocabulary of 2,000: samples are compared, and the larger it is,
# the more often the last bits of a sum over it decide.
SIZES = {
    "cuda": {"vocab_size": 2_000, "generator": 128, "discriminator": 256, "head": 64, "rows": 32, "longest": 128},
    "cpu": {"vocab_size": 80, "generator": 16, "discriminator": 32, "head": 8, "rows": 6, "longest": 24},
}


class Skipped(Exception):
    """A check that cannot run here, and why."""


class NoTime(Exception):
    """A check for which too little time is left: the next run looks."""


class Ground:
    """What a check gets.

    Args:
        device (`torch.device`): whose sizes are taken.
        clock ([`Clock`], *optional*): where time counts.
    """

    def __init__(self, device, clock=None):
        self.device, self.clock = device, clock
        self.sizes = SIZES[device.type]
        self.vocab_size = self.sizes["vocab_size"]

    def model(self, dropout=0.0, attention="sdpa", seed=0, as_adapt=False):
        """A pair of two layers each, with random numbers on every weight, so that each one counts.

        Args: dropout (`float`); attention (`str`): of `transformers`; seed (`int`); as_adapt (`bool`): with attention
            by boundaries, as `adapt` trains on a GPU.
        Returns: [`ElectraRTDForPreTraining`], in eval mode, on the device.
        """
        torch.manual_seed(seed)
        networks = [
            network(self._config(self.sizes[part], dropout))
            for part, network in (("generator", ElectraForMaskedLM), ("discriminator", ElectraForPreTraining))
        ]
        model = ElectraRTDForPreTraining.from_generator_discriminator_pretrained(
            *networks, mask_token_id=MASK, special_token_ids=list(SPECIAL_IDS.values())
        )
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape))
        set_attention(model, attention)
        if as_adapt:
            use_unpadded_attention(model)
        return model.to(self.device).eval()

    def _config(self, hidden_size, dropout):
        return ElectraConfig(
            vocab_size=self.vocab_size,
            embedding_size=self.sizes["generator"],
            hidden_size=hidden_size,
            num_hidden_layers=2,
            num_attention_heads=hidden_size // self.sizes["head"],
            intermediate_size=2 * hidden_size,
            max_position_embeddings=POSITIONS,
            initializer_range=0.05,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
            pad_token_id=PAD,
        )

    def lengths(self):
        """Returns: `list[int]`, tokens of the rows of a ragged batch: one is the longest, one has four."""
        rows, longest = self.sizes["rows"], self.sizes["longest"]
        drawn = torch.randint(4, longest, (rows - 2,), generator=torch.Generator().manual_seed(1)).tolist()
        return [*drawn, longest, 4]

    def rows(self, lengths=None, seed=0):
        """Args: lengths (`list[int]`, *optional*); seed (`int`). Returns: `list[list[int]]`, with special tokens."""
        draw = torch.Generator().manual_seed(seed)
        return [
            [CLS, *torch.randint(len(SPECIAL_IDS), self.vocab_size, (length - 2,), generator=draw).tolist(), SEP]
            for length in lengths or self.lengths()
        ]

    def batch(self, lengths=None, device=None, seed=0):
        """Args: lengths (`list[int]`, *optional*); device, seed. Returns: `dict` of int64 `(B, L)`, padded behind."""
        rows = self.rows(lengths, seed)
        longest = max(map(len, rows))
        input_ids = torch.tensor([[*row, *[PAD] * (longest - len(row))] for row in rows])  # (B, L)
        attention_mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])  # (B, L)
        batch = {"input_ids": input_ids, "attention_mask": attention_mask}
        return {name: values.to(device or self.device) for name, values in batch.items()}

    def tokens(self):
        """Returns: [`Tokens`], sentences for a loader."""
        rows = self.rows([length for length in self.lengths() for _ in range(4)])
        return Tokens(rows, self.vocab_size, SPECIAL_IDS, "made-up tokens", "")

    def autocast(self, dtype):
        """Args: dtype (`torch.dtype`): float32 turns it off. Returns: a context."""
        return torch.autocast(self.device.type, dtype=dtype, enabled=dtype != torch.float32)


def set_attention(model, name):
    """Args: model ([`ElectraRTDForPreTraining`]); name (`str`): of `transformers`, for both networks."""
    for network in (model.generator, model.discriminator):
        network.set_attn_implementation(name)


# ---- Comparisons ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def samples_without_logits():
    """Samples that follow from random numbers alone: where two ways to compute are compared, the last bit of a logit
    must not put another token into the discriminator's batch, which would move every gradient."""

    def sample(logits, temperature, uniform, excluded=None):
        return (uniform * logits.shape[-1]).long()  # (M,)

    with mock.patch.object(objective_electra_rtd, "sample_tokens", sample):
        yield


def step(model, batch, context=None, **arguments):
    """Forward and backward.

    Args: model; batch (`dict`); context (context manager, *optional*): of the forward pass; **arguments: of it.
    Returns: the output; `dict[str, Tensor]`, the gradient of each parameter in float32, a copy.
    """
    model.zero_grad(set_to_none=True)
    with context or contextlib.nullcontext():
        output = model(**batch, **arguments)
    output.loss.backward()
    found = {name: values.grad.float().clone() for name, values in model.named_parameters() if values.grad is not None}
    model.zero_grad(set_to_none=True)
    return output, found


def difference(found, expected):
    """Args: found, expected (0-dimensional tensors or `float`). Returns: `float`, relative; infinite for NaN."""
    found, expected = (float(torch.as_tensor(value).detach()) for value in (found, expected))
    relative = abs(found - expected) / max(abs(expected), 1e-12)
    return relative if relative == relative else float("inf")


def gradient_difference(found, expected):
    """The largest relative difference of a parameter's gradient, by norms. Gradients that are far below the largest,
    as those of keys' biases, which are 0 but for rounding, are held against a thousandth of it.

    Args: found, expected (`dict[str, Tensor]`). Returns: `float` and `str`, the name; infinite for NaN.
    """
    if found.keys() != expected.keys():
        return float("inf"), ", ".join(sorted(found.keys() ^ expected.keys()))
    floor = 1e-3 * max(float(values.norm()) for values in expected.values())
    worst = {}
    for name, values in expected.items():
        error = float((found[name] - values).norm()) / max(float(values.norm()), floor)
        worst[name] = error if error == error else float("inf")
    name = max(worst, key=worst.__getitem__)
    return worst[name], name


def demand(holds, message):
    """A check that is not passed, with its figures. Args: holds (`bool`); message (`str`). Raises: AssertionError."""
    if not holds:
        raise AssertionError(message)


def compare(what, found, expected, loss=1e-5, gradients=1e-4):
    """Two ways to compute the same step.

    Args: what (`str`); found, expected (what [`step`] returns); loss, gradients (`float`): allowed.
    Returns: `dict` of the differences. Raises: AssertionError.
    """
    of_loss = max(difference(found[0][name], expected[0][name]) for name in ("loss", "mlm_loss", "disc_loss"))
    of_gradients, name = gradient_difference(found[1], expected[1])
    demand(of_loss <= loss, f"{what}: a loss differs by {of_loss:.1e} (allowed: {loss:.0e})")
    says = f"{what}: the gradient of {name} differs by {of_gradients:.1e} (allowed: {gradients:.0e})"
    demand(of_gradients <= gradients, says)
    return {f"{what}, loss": of_loss, f"{what}, gradients": of_gradients}
