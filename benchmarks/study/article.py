"""Arm d: the recipe of the Korean article on domain adaptation of ELECTRA, from its description and notebooks, anew.

https://github.com/yangoos57/Electra_for_Domain_Adaptation (commit 3837a27a30c1, `[tutorial] domain adaptation.ipynb`,
after lucidrains/electra-pytorch). What it does:

- two published networks are loaded and trained together, none of their weights shared;
- tokens that are not `[PAD]`, `[CLS]` or `[SEP]` may be masked, `[UNK]` among them; of each row about `ceil(0.15 n)`,
  and one more where there is room, since its count begins one token late; a masked token becomes `[MASK]` with
  probability 0.85 and stays otherwise (of rows of a single token it would mask padding too, which is not repeated
  here);
- the generator's loss is the mean over masked tokens; its logits are computed for every token of the batch;
- replacements are drawn with Gumbel noise at temperature 1; one that equals the original counts as original;
- the discriminator's loss is the mean over tokens that are not `[PAD]`; the sum is `mlm + 50 * disc`;
- the stock Trainer with its defaults: 5e-5 falling linearly, no warm-up, no weight decay, batches of 16 rows in random
  order, 2 epochs; text beyond 128 tokens is cut off.

Where that differs from ELECTRA's objective: the attention mask never reaches the networks (the model's `forward` does
not name it, so the Trainer drops the column), so that real tokens attend to padding, and what a row is padded to
changes its result; the embeddings are not shared; now and then a token too many is masked. The rest is ELECTRA's.
"""

import math

import torch
from torch import nn
from torch.nn import functional
from transformers import DataCollatorWithPadding, ElectraForMaskedLM, ElectraForPreTraining, set_seed
from transformers.utils import ModelOutput

from electra_rtd.hub_tools.loading import load_tokenizer
from electra_rtd.train_tools.data import read_text
from electra_rtd.train_tools.fast import DEFAULTS, GROUPING

from .training import MAX_LENGTH, keep_encoder, train_stock, training_arguments


MASKED, HIDDEN, DISC_WEIGHT = 0.15, 0.85, 50.0


class ArticleModel(nn.Module):
    """Both networks, as the article joins them.

    Args:
        generator (`ElectraForMaskedLM`), discriminator (`ElectraForPreTraining`)
        tokenizer (`PreTrainedTokenizerFast`): of the ids of special tokens.
    """

    accepts_loss_kwargs = False  # the losses are means over a batch

    def __init__(self, generator, discriminator, tokenizer):
        super().__init__()
        self.generator, self.discriminator = generator, discriminator
        self.mask_id, self.pad_id = tokenizer.mask_token_id, tokenizer.pad_token_id
        self.kept = torch.tensor([tokenizer.pad_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id])

    def forward(self, input_ids, attention_mask=None):
        """Args: input_ids (int64, (B, L)); attention_mask: not looked at. Returns: `ModelOutput` with `loss`."""
        masked = article_mask(~torch.isin(input_ids, self.kept.to(input_ids.device)))  # (B, L)
        hidden = masked & (torch.rand(input_ids.shape, device=input_ids.device) < HIDDEN)
        logits = self.generator(input_ids.masked_fill(hidden, self.mask_id)).logits  # (B, L, V)
        mlm_loss = functional.cross_entropy(logits[masked], input_ids[masked])
        noise = torch.rand_like(logits[masked]).clamp(min=1e-9)
        sampled = (logits[masked].detach() - (-noise.log()).clamp(min=1e-9).log()).argmax(dim=-1)  # (M,)
        read = input_ids.masked_scatter(masked, sampled)  # (B, L)
        real = input_ids != self.pad_id
        judged = self.discriminator(read).logits.view_as(input_ids)
        replaced = (read != input_ids).float()
        disc_loss = functional.binary_cross_entropy_with_logits(judged[real], replaced[real])
        return ModelOutput(loss=mlm_loss + DISC_WEIGHT * disc_loss)


def article_mask(candidates):
    """Which tokens are masked.

    Each row has as many places as `ceil(0.15 L)`, for the candidates that are drawn first. A place is taken while the
    candidates up to that column number no more than `ceil(0.15 n)`. The first column holds `[CLS]`, no candidate, so
    that one place more is taken than that, where there is one.

    Args: candidates (bool, (B, L)). Returns: bool, (B, L).
    """
    most = math.ceil(MASKED * candidates.shape[1])
    wanted = (candidates.sum(dim=1, keepdim=True) * MASKED).ceil()  # (B, 1)
    taken = candidates.cumsum(dim=1)[:, :most] <= wanted  # (B, most)
    drawn = torch.rand(candidates.shape, device=candidates.device).masked_fill(~candidates, -1.0)
    places = drawn.topk(most, dim=1).indices  # (B, most)
    return torch.zeros_like(candidates).scatter(1, places, taken) & candidates


def train_article(job):
    """Train by the article's recipe, for as many steps as `job` says.

    Args: job ([`Job`]). Returns: the fields of [`Trained`], a `dict`.
    """
    tokenizer = load_tokenizer(job.start.discriminator)
    rows = first_parts(read_text([str(job.corpus.train)]).dataset, tokenizer)
    set_seed(job.seed)
    networks = (
        ElectraForMaskedLM.from_pretrained(job.start.generator),
        ElectraForPreTraining.from_pretrained(job.start.discriminator),
    )
    model = ArticleModel(*networks, tokenizer)
    arguments = training_arguments(
        job.folder / "run",
        job.steps,
        job.rate,
        rows=job.rows,
        seed=job.seed,
        warmup_steps=0,
        weight_decay=0.0,
        **{GROUPING[0]: DEFAULTS[GROUPING[0]]},
    )
    counter, log = train_stock(model, rows, DataCollatorWithPadding(tokenizer), tokenizer, arguments)
    return keep_encoder(model.discriminator.electra, tokenizer, job, counter, log)


def first_parts(texts, tokenizer):
    """The first `MAX_LENGTH` tokens of each text; the rest is lost.

    Args: texts (`Dataset`): with `text`; tokenizer (`PreTrainedTokenizerFast`). Returns: `Dataset` with `input_ids`.
    """

    def cut(batch):
        return {"input_ids": tokenizer(batch["text"], truncation=True, max_length=MAX_LENGTH)["input_ids"]}

    return texts.map(cut, batched=True, remove_columns=texts.column_names, desc="Tokenizing")
