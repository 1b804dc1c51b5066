# Copyright 2026 the electra-rtd authors. Licensed under the Apache License, Version 2.0.
"""ELECTRA's generator and discriminator as one model, trained by replaced token detection (RTD).

Source: Clark et al., "ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators", ICLR 2020,
https://arxiv.org/abs/2003.10555; "paper" below. Top-down: the model, then the steps of the objective, then numbers.

Shapes: B sequences in a batch, L tokens in the longest, M masked tokens in the batch, V tokens in the vocabulary, H width.
"""

from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import nn
from transformers import (
    AutoTokenizer,
    ElectraForMaskedLM,
    ElectraForPreTraining,
    ElectraPreTrainedModel,
    PreTrainedModel,
)
from transformers.utils import ModelOutput, has_file, logging

from .configuration_electra_rtd import ElectraRTDConfig


logger = logging.get_logger(__name__)

NOT_A_LABEL = -100  # the index that losses ignore, as everywhere in `transformers`

# The whole embedding block is shared: Google's code builds tables and LayerNorm of both networks in one variable scope.
EMBEDDING_WEIGHTS = (
    "word_embeddings.weight",
    "position_embeddings.weight",
    "token_type_embeddings.weight",
    "LayerNorm.weight",
    "LayerNorm.bias",
)


@dataclass
class ElectraRTDOutput(ModelOutput):
    """Output of [`ElectraRTDForPreTraining`].

    Args:
        loss (`torch.FloatTensor` of shape `()`): `gen_weight * mlm_loss + disc_weight * disc_loss`.
        logits (`torch.FloatTensor` of shape `(B, L)`): the discriminator's, above 0 = replaced; 0 on padding.
        mlm_loss (`torch.FloatTensor` of shape `()`): the generator's cross-entropy in nats, mean over masked tokens.
        disc_loss (`torch.FloatTensor` of shape `()`): binary cross-entropy in nats, mean over attended tokens.
        gen_acc (`torch.FloatTensor` of shape `()`): share of masked tokens whose original is the generator's first choice.
        disc_acc (`torch.FloatTensor` of shape `()`): mean of the accuracies over masked and over unmasked tokens.
        disc_labels (`torch.LongTensor` of shape `(B, L)`): 1 = replaced, 0 = original, -100 = no token.
        disc_predictions (`torch.LongTensor` of shape `(B, L)`): 1 = replaced, 0 = original or no token.
        masked_positions (`torch.BoolTensor` of shape `(B, L)`): where the generator had to predict.
        masked_input_ids (`torch.LongTensor` of shape `(B, L)`): what the generator read.
        disc_input_ids (`torch.LongTensor` of shape `(B, L)`): what the discriminator read.
        hidden_states, attentions (`tuple` of `torch.FloatTensor`): the discriminator's, on request.
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    mlm_loss: torch.FloatTensor | None = None
    disc_loss: torch.FloatTensor | None = None
    gen_acc: torch.FloatTensor | None = None
    disc_acc: torch.FloatTensor | None = None
    disc_labels: torch.LongTensor | None = None
    disc_predictions: torch.LongTensor | None = None
    masked_positions: torch.BoolTensor | None = None
    masked_input_ids: torch.LongTensor | None = None
    disc_input_ids: torch.LongTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None


class ElectraRTDForPreTraining(PreTrainedModel):
    """Generator and discriminator of ELECTRA, trained together (paper, section 2).

    Both parts are stock classes: `model.discriminator.save_pretrained(folder)` writes a stock checkpoint.
    """

    config_class = ElectraRTDConfig
    _auto_class = "AutoModel"  # `save_pretrained` copies the code files of classes that carry this
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    # The losses are means over a batch, not sums over `num_items_in_batch`: the Trainer has to average them.
    accepts_loss_kwargs = False
    _no_split_modules = ["ElectraLayer"]
    # Whatever attention stock ELECTRA has in the installed release.
    _supports_sdpa = ElectraPreTrainedModel._supports_sdpa
    _supports_flash_attn = ElectraPreTrainedModel._supports_flash_attn
    _supports_flex_attn = ElectraPreTrainedModel._supports_flex_attn
    _supports_attention_backend = ElectraPreTrainedModel._supports_attention_backend

    def __init__(self, config):
        super().__init__(config)
        self.generator = ElectraForMaskedLM(config.generator_config)
        self.discriminator = ElectraForPreTraining(config.discriminator_config)
        if config.embedding_sharing == "tied":
            # Target to source. Releases before 5 read the targets alone and tie in `_tie_weights`.
            self._tied_weights_keys = {
                f"discriminator.electra.embeddings.{name}": f"generator.electra.embeddings.{name}"
                for name in EMBEDDING_WEIGHTS
            }
        self.post_init()

    @classmethod
    def from_generator_discriminator_pretrained(cls, generator, discriminator, *, tokenizer=None, **config_overrides):
        """Join two pretrained networks, as `EncoderDecoderModel.from_encoder_decoder_pretrained` does.

        Args:
            generator (`str`, path or `ElectraForMaskedLM`): a checkpoint folder, a Hub id, or a loaded model.
            discriminator (`str`, path or `ElectraForPreTraining`): likewise.
            tokenizer (`PreTrainedTokenizerBase`, *optional*): gives the special ids; by default the tokenizer beside
                the discriminator (else the generator), if that is a checkpoint and not a loaded model.
            **config_overrides: fields of [`ElectraRTDConfig`]. With `generator_` or `discriminator_` before it, an
                argument of that network's `from_pretrained` (`discriminator_revision="..."`).

        Returns:
            `ElectraRTDForPreTraining`

        Raises:
            ValueError: the two have different vocabularies, a checkpoint lacks weights that its part needs, or the
                tokenizer has no mask token.
        """
        generator_kwargs = _pop_prefixed(config_overrides, "generator_")
        discriminator_kwargs = _pop_prefixed(config_overrides, "discriminator_")
        if tokenizer is None:
            tokenizer = _common_tokenizer([(discriminator, discriminator_kwargs), (generator, generator_kwargs)])
        if tokenizer is not None:
            config_overrides = {**_token_ids(tokenizer), **config_overrides}
        generator = _load_part("generator", ElectraForMaskedLM, generator, generator_kwargs)
        discriminator = _load_part("discriminator", ElectraForPreTraining, discriminator, discriminator_kwargs)
        config = cls.config_class.from_generator_discriminator_configs(
            generator.config, discriminator.config, **config_overrides
        )
        if tokenizer is not None and len(tokenizer) > config.vocab_size:
            raise ValueError(
                f"The tokenizer has {len(tokenizer)} tokens, the networks {config.vocab_size}. Take the tokenizer they "
                "were trained with, or build the pair first and call `resize_token_embeddings(len(tokenizer))` on it."
            )
        model = cls(config)
        model.generator.load_state_dict(generator.state_dict())
        # Last, so that tied embeddings hold the discriminator's values: its encoder is what users keep.
        model.discriminator.load_state_dict(discriminator.state_dict())
        if config.embedding_sharing == "tied":
            _warn_if_embeddings_differ(generator, discriminator)
        return model.eval()

    def forward(
        self,
        input_ids,
        attention_mask=None,
        token_type_ids=None,
        position_ids=None,
        output_hidden_states=None,
        output_attentions=None,
        return_loss=True,
        return_dict=None,
        **kwargs,
    ):
        """One step of replaced token detection. In training mode the corruption is drawn from torch's global generator, in
        eval mode from `config.eval_seed` and each sequence's own tokens.

        Args:
            input_ids (`torch.LongTensor` of shape `(B, L)`): the original tokens.
            attention_mask (`torch.Tensor` of shape `(B, L)`, *optional*): 1 = token, 0 = padding. By default every
                token counts that is not `config.pad_token_id`.
            token_type_ids, position_ids (`torch.LongTensor` of shape `(B, L)`, *optional*): as in ELECTRA. Positions count
                from a sequence's first token by default, so that padding on the left changes nothing.
            output_hidden_states, output_attentions (`bool`, *optional*): return the discriminator's.
            return_loss (`bool`): `False` leaves the three losses out.
            return_dict (`bool`, *optional*): `False` returns a tuple.
            labels (`torch.LongTensor` of shape `(B, L)`, *optional*, by keyword): from a masked language modelling
                collator; the original ids where it masked, -100 elsewhere. Its masking is then kept.

        Returns:
            [`ElectraRTDOutput`] or `tuple`

        Raises:
            ValueError: wrong shapes, ids outside the vocabulary (checked on the CPU), unset `mask_token_id`.
        """
        labels = kwargs.get("labels")
        self._check_inputs(input_ids, attention_mask, token_type_ids, position_ids, labels)
        attended = self._attended(input_ids, attention_mask)  # (B, L)
        if position_ids is None:
            position_ids = positions_from_first_token(attended)  # (B, L)
        shared = {"attention_mask": encoder_mask(attended), "position_ids": position_ids, "return_dict": True}

        # Mask, or keep the collator's masking and restore what it hid.
        if labels is None:
            original_ids = input_ids
            uniform = self._uniform_numbers(original_ids, attended)
            masked_positions, masked_input_ids = self._mask(original_ids, attended, uniform)
        else:
            masked_positions, masked_input_ids = (labels != NOT_A_LABEL) & attended, input_ids
            original_ids = torch.where(masked_positions, labels, input_ids)
            uniform = self._uniform_numbers(original_ids, attended)
        masked = masked_positions.nonzero(as_tuple=True)  # rows and columns, (M,) each
        masked_ids = original_ids[masked]  # (M,)

        # Generate: vocabulary logits exist at masked positions only.
        generator_types = _known_types(token_type_ids, self.config.generator_config)
        hidden = self.generator.electra(masked_input_ids, token_type_ids=generator_types, **shared)[0]  # (B, L, H)
        gen_logits = self._vocabulary_logits(hidden[masked])  # (M, V)

        # Sample, without gradient. A sample that equals the original counts as original.
        sampled_ids = sample_tokens(gen_logits, self.config.sampling_temperature, uniform(SAMPLE)[masked])
        disc_input_ids = original_ids.index_put(masked, sampled_ids)  # (B, L)
        disc_labels = (disc_input_ids != original_ids).long().masked_fill(~attended, NOT_A_LABEL)  # (B, L)

        # Discriminate.
        discriminated = self.discriminator(
            disc_input_ids,
            token_type_ids=_known_types(token_type_ids, self.config.discriminator_config),
            output_hidden_states=_or_default(output_hidden_states, self.config.output_hidden_states),
            output_attentions=_or_default(output_attentions, self.config.output_attentions),
            **shared,
        )
        # What stands in padding makes no difference to anybody, so its logits say nothing.
        logits = discriminated.logits.masked_fill(~attended, 0.0)  # (B, L)
        disc_predictions = (logits > 0).long()

        loss = mlm_loss = disc_loss = None
        if return_loss:
            mlm_loss = masked_language_modeling_loss(gen_logits, masked_ids)
            disc_loss = replaced_token_detection_loss(logits, disc_labels, attended)
            loss = self.config.gen_weight * mlm_loss + self.config.disc_weight * disc_loss
        output = ElectraRTDOutput(
            loss=loss,
            logits=logits,
            mlm_loss=mlm_loss,
            disc_loss=disc_loss,
            gen_acc=mean_or_zero(gen_logits.argmax(dim=-1) == masked_ids),
            disc_acc=detection_accuracy(disc_predictions == disc_labels, masked_positions, attended),
            disc_labels=disc_labels,
            disc_predictions=disc_predictions,
            masked_positions=masked_positions,
            masked_input_ids=masked_input_ids,
            disc_input_ids=disc_input_ids,
            hidden_states=discriminated.hidden_states,
            attentions=discriminated.attentions,
        )
        return output if _or_default(return_dict, self.config.return_dict) else output.to_tuple()

    def get_input_embeddings(self):
        """`nn.Embedding`: the discriminator's word embeddings (the generator's too where they are tied)."""
        return self.discriminator.get_input_embeddings()

    def set_input_embeddings(self, value):
        """Set the discriminator's word embeddings; with tied embeddings the generator's too.

        Args:
            value (`nn.Embedding`): of shape `(V, embedding_size)`.
        """
        self.discriminator.set_input_embeddings(value)
        if self.config.embedding_sharing == "tied":
            self.generator.set_input_embeddings(value)
            self.tie_weights()

    def resize_token_embeddings(self, new_num_tokens=None, pad_to_multiple_of=None, mean_resizing=True):
        """Resize the vocabulary of both networks; arguments and result as in `PreTrainedModel`.

        Returns:
            `nn.Embedding`: the discriminator's word embeddings.
        """
        arguments = (new_num_tokens, pad_to_multiple_of, mean_resizing)
        resized = self.generator.resize_token_embeddings(*arguments)
        if self.config.embedding_sharing == "tied":
            self.discriminator.set_input_embeddings(resized)  # drawn once: both must get the same new rows
        else:
            resized = self.discriminator.resize_token_embeddings(*arguments)
        self.config.vocab_size = resized.num_embeddings
        self.tie_weights()
        return self.get_input_embeddings()

    def _tie_weights(self):
        # Called by `tie_weights` in releases before 5, whose base class knows no ties between two named weights.
        if self.config.embedding_sharing == "tied" and self.config.tie_word_embeddings:
            embeddings, source = self.discriminator.electra.embeddings, self.generator.electra.embeddings
            for name in EMBEDDING_WEIGHTS:
                module, parameter = name.split(".")
                setattr(getattr(embeddings, module), parameter, getattr(getattr(source, module), parameter))

    def _check_inputs(self, input_ids, attention_mask, token_type_ids, position_ids, labels):
        if input_ids is None or input_ids.dim() != 2:
            received = None if input_ids is None else tuple(input_ids.shape)
            raise ValueError(f"`input_ids` has the shape {received}: it must be token ids of shape (batch, length).")
        named = {"attention_mask": attention_mask, "token_type_ids": token_type_ids, "labels": labels}
        for name, value in named.items():
            if value is not None and value.shape != input_ids.shape:
                raise ValueError(
                    f"`{name}` has the shape {tuple(value.shape)}, `input_ids` {tuple(input_ids.shape)}: they must be equal. "
                    "Pass what tokenizer and collator return; `labels` belong to masked language modelling only, so "
                    "remove the label column of a classification data set."
                )
        longest = self.config.max_position_embeddings
        if input_ids.shape[1] > longest:
            raise ValueError(
                f"The sequences have {input_ids.shape[1]} tokens, but `max_position_embeddings` is {longest}. Truncate "
                f"them: `tokenizer(..., truncation=True, max_length={longest})`."
            )
        # Reading values makes an accelerator wait, and breaks a compiled graph: only the plain CPU path looks at them.
        if input_ids.device.type == "cpu" and not torch.compiler.is_compiling():
            self._check_values(input_ids, attention_mask, token_type_ids, position_ids, labels)

    def _check_values(self, input_ids, attention_mask, token_type_ids, position_ids, labels):
        config = self.config
        _check_range("input_ids", input_ids, config.vocab_size, "Tokenize with the tokenizer of this checkpoint")
        if token_type_ids is not None:
            types = max(config.generator_config.type_vocab_size, config.discriminator_config.type_vocab_size)
            _check_range("token_type_ids", token_type_ids, types, "`type_vocab_size` is the number of segments")
        if position_ids is not None:
            _check_range("position_ids", position_ids, config.max_position_embeddings, "Truncate the sequences")
        if labels is not None:
            is_label = labels != NOT_A_LABEL
            _check_range("labels", labels[is_label], config.vocab_size, "They are original token ids, or -100")
            attended = self._attended(input_ids, attention_mask)
            if attended.any() and (is_label & (labels == input_ids))[attended].all():
                raise ValueError(
                    "`labels` repeat `input_ids` at every token, as a collator for causal language modelling makes them: "
                    "nothing is masked. Use `DataCollatorWithPadding`, or `DataCollatorForLanguageModeling(mlm=True)`."
                )

    def _attended(self, input_ids, attention_mask):
        if attention_mask is not None:
            return attention_mask == 1
        if self.config.pad_token_id is not None:
            return input_ids != self.config.pad_token_id
        return torch.ones_like(input_ids, dtype=torch.bool)

    def _uniform_numbers(self, original_ids, attended):
        """A function from a stream's number to uniform numbers in [0, 1) of shape (B, L), float32."""
        if self.training:
            # The global generator, which the Trainer's checkpoints save and restore.
            return lambda stream: torch.rand(original_ids.shape, device=original_ids.device)
        return seeded_uniform_numbers(self.config.eval_seed, original_ids, attended)

    def _mask(self, original_ids, attended, uniform):
        """Paper, section 2: `masked_positions` and `masked_input_ids`, both (B, L)."""
        config = self.config
        candidates = attended & ~is_any_of(original_ids, config.special_token_ids)  # (B, L)
        masked_positions = choose_masked_positions(candidates, config.mask_prob, uniform(POSITION))
        fate = uniform(FATE)  # (B, L): below replace_prob [MASK], then random token, then as it was
        masked_input_ids = original_ids
        if config.replace_prob > 0:
            if config.mask_token_id is None:
                raise ValueError(
                    "`mask_token_id` is None, but `replace_prob` is above 0: set `model.config.mask_token_id = "
                    "tokenizer.mask_token_id` and `model.config.special_token_ids = tokenizer.all_special_ids`."
                )
            becomes_mask = masked_positions & (fate < config.replace_prob)
            masked_input_ids = masked_input_ids.masked_fill(becomes_mask, config.mask_token_id)
        if config.random_token_prob > 0:
            becomes_random = masked_positions & (fate >= config.replace_prob)
            becomes_random &= fate < config.replace_prob + config.random_token_prob
            random_ids = random_ordinary_tokens(uniform(RANDOM_TOKEN), config.vocab_size, config.special_token_ids)
            masked_input_ids = torch.where(becomes_random, random_ids, masked_input_ids)
        return masked_positions, masked_input_ids

    def _vocabulary_logits(self, hidden):
        predictions = self.generator.generator_predictions(hidden)  # (M, embedding_size)
        return self.generator.generator_lm_head(predictions)  # (M, V)


# ---- The steps of the objective ---------------------------------------------------------------------------------------


def choose_masked_positions(candidates, mask_prob, uniform):
    """Choose exactly `ceil(mask_prob * candidates)` candidates of each sequence, uniformly without replacement.

    Args:
        candidates (`torch.BoolTensor` of shape `(B, L)`), mask_prob (`float`),
        uniform (`torch.FloatTensor` of shape `(B, L)`): numbers in [0, 1).

    Returns:
        `torch.BoolTensor` of shape `(B, L)`
    """
    # In whole numbers: 0.07 * 100 is 7.000000000000001 in floating point, and 20 * 0.15 above 3 in float32.
    share = Fraction(str(mask_prob)).limit_denominator(10**9)
    counts = candidates.sum(dim=-1, keepdim=True)  # (B, 1)
    to_mask = (counts * share.numerator + share.denominator - 1) // share.denominator
    to_mask = to_mask.maximum((counts > 0).long())
    order = uniform.masked_fill(~candidates, 2.0).argsort(dim=-1, stable=True)  # candidates first, shuffled
    ranks = order.argsort(dim=-1)  # (B, L): a permutation of 0..L-1, so ties cannot change the count
    return ranks < to_mask


def random_ordinary_tokens(uniform, vocab_size, special_token_ids):
    """Draw tokens uniformly from the vocabulary without the special ones.

    Args:
        uniform (`torch.FloatTensor` of shape `(B, L)`), vocab_size (`int`), special_token_ids (`list[int]`).

    Returns:
        `torch.LongTensor` of shape `(B, L)`
    """
    special = sorted(set(special_token_ids))
    drawn = (uniform * (vocab_size - len(special))).long()
    for special_id in special:  # ascending: step over each special id at or below the number drawn
        drawn = drawn + (drawn >= special_id)
    return drawn


@torch.no_grad()
def sample_tokens(logits, temperature, uniform):
    """Sample from softmax(logits / temperature) by inverting its distribution function: one number a row, no noise (M, V).

    Args:
        logits (`torch.FloatTensor` of shape `(M, V)`), temperature (`float`),
        uniform (`torch.FloatTensor` of shape `(M,)`): numbers in [0, 1).

    Returns:
        `torch.LongTensor` of shape `(M,)`
    """
    probabilities = torch.softmax(logits.float() / temperature, dim=-1)
    cumulative = probabilities.cumsum(dim=-1)  # (M, V)
    # In (0, total]: the first entry that reaches it has a probability above 0, and one always does.
    threshold = (1.0 - uniform)[:, None] * cumulative[:, -1:]  # (M, 1)
    return torch.searchsorted(cumulative, threshold).squeeze(-1)


def masked_language_modeling_loss(logits, original_ids):
    """Mean cross-entropy over the masked tokens, in float32; 0 with a gradient where there are none.

    Args:
        logits (`torch.FloatTensor` of shape `(M, V)`), original_ids (`torch.LongTensor` of shape `(M,)`).

    Returns:
        `torch.FloatTensor` of shape `()`, in nats
    """
    total = nn.functional.cross_entropy(logits.float(), original_ids, reduction="sum")
    return total / max(original_ids.numel(), 1)


def replaced_token_detection_loss(logits, disc_labels, attended):
    """Mean binary cross-entropy over the attended tokens, in float32.

    Args:
        logits (`torch.FloatTensor` of shape `(B, L)`), disc_labels (`torch.LongTensor` of shape `(B, L)`),
        attended (`torch.BoolTensor` of shape `(B, L)`).

    Returns:
        `torch.FloatTensor` of shape `()`, in nats
    """
    losses = nn.functional.binary_cross_entropy_with_logits(
        logits.float(), disc_labels.clamp(min=0).float(), reduction="none"
    )  # (B, L)
    return (losses * attended).sum() / attended.sum().clamp(min=1)


def detection_accuracy(correct, masked_positions, attended):
    """Mean of the accuracies over masked and over unmasked attended tokens; of one of them where the other is empty.

    Args:
        correct, masked_positions, attended (`torch.BoolTensor` of shape `(B, L)`).

    Returns:
        `torch.FloatTensor` of shape `()`, in [0, 1]
    """
    groups = torch.stack([masked_positions, attended & ~masked_positions])  # (2, B, L)
    sizes = groups.sum(dim=(1, 2))  # (2,)
    accuracies = (groups & correct).sum(dim=(1, 2)) / sizes.clamp(min=1)
    return accuracies.sum() / (sizes > 0).sum().clamp(min=1)


def encoder_mask(attended):
    """The mask that the encoders get. A row without any token attends to itself: over nothing, softmax is not defined.

    Args:
        attended (`torch.BoolTensor` of shape `(B, L)`).

    Returns:
        `torch.LongTensor` of shape `(B, L)`
    """
    return (attended | ~attended.any(dim=-1, keepdim=True)).long()


def positions_from_first_token(attended):
    """Positions that count from each sequence's first token.

    Args:
        attended (`torch.BoolTensor` of shape `(B, L)`).

    Returns:
        `torch.LongTensor` of shape `(B, L)`
    """
    first = attended.long().argmax(dim=-1, keepdim=True)  # (B, 1)
    return (torch.arange(attended.shape[1], device=attended.device) - first).clamp(min=0)


# ---- Random numbers of eval mode ----------------------------------------------------------------------------------------

POSITION, FATE, RANDOM_TOKEN, SAMPLE = range(4)  # the streams of random numbers that a step draws
BITS_32 = 0xFFFFFFFF


def seeded_uniform_numbers(seed, original_ids, attended):
    """Uniform numbers that depend on the seed and on a sequence's own tokens alone: the same sequence gets the same ones
    wherever it stands, however it is padded, on whatever device, and no generator is touched.

    Args:
        seed (`int`), original_ids (`torch.LongTensor` of shape `(B, L)`), attended (`torch.BoolTensor` of shape `(B, L)`).

    Returns:
        a function from a stream's number to a `torch.FloatTensor` of shape `(B, L)` with numbers in [0, 1)
    """
    ordinals = attended.cumsum(dim=-1)  # (B, L): the n-th token of its sequence, wherever padding stands
    tokens = mix_bits(original_ids + mix_bits(ordinals))  # (B, L)
    digests = mix_bits((tokens * attended).sum(dim=-1, keepdim=True) + seed % BITS_32)  # (B, 1)

    def uniform(stream):
        bits = mix_bits(mix_bits(digests + stream) + ordinals)  # (B, L)
        return (bits >> 8).float() / 2**24  # 24 bits: all that float32 holds exactly

    return uniform


def mix_bits(values):
    """Scramble the low 32 bits of each number: every bit of the result depends on every bit of the argument.

    Args:
        values (`torch.LongTensor`): numbers >= 0.

    Returns:
        `torch.LongTensor`: numbers in [0, 2**32)
    """
    values = values & BITS_32
    for _ in range(2):
        values = ((values >> 16) ^ values) * 0x45D9F3B & BITS_32  # below 2**59: nothing overflows
    return (values >> 16) ^ values


# ---- Small helpers --------------------------------------------------------------------------------------------------------


def is_any_of(values, ids):
    """Where `values` (`torch.LongTensor`) is one of `ids` (`list[int]`): a `torch.BoolTensor` of the same shape."""
    found = torch.zeros_like(values, dtype=torch.bool)
    for one_id in ids:
        found |= values == one_id
    return found


def mean_or_zero(hits):
    """Share of `True` in a `torch.BoolTensor` of shape `(M,)`; 0 where it is empty."""
    return hits.float().sum() / max(hits.numel(), 1)


def _or_default(value, default):
    return default if value is None else value


def _known_types(token_type_ids, config):
    # The two networks of a pair may know different numbers of segments: what one does not know is its last one.
    return None if token_type_ids is None else token_type_ids.clamp(max=config.type_vocab_size - 1)


def _check_range(name, values, end, mend):
    if values.numel() and not (0 <= values.min() and values.max() < end):
        raise ValueError(f"`{name}` holds {values.min()} to {values.max()}: allowed are 0 to {end - 1}. {mend}.")


# ---- Two pretrained checkpoints to one model --------------------------------------------------------------------------------


def _pop_prefixed(kwargs, prefix):
    names = [name for name in kwargs if name.startswith(prefix)]
    return {name[len(prefix) :]: kwargs.pop(name) for name in names}


def _load_part(name, model_class, source, kwargs):
    if isinstance(source, PreTrainedModel):
        if not isinstance(source, model_class):
            raise ValueError(f"`{name}` is a {type(source).__name__}: it must be a {model_class.__name__}.")
        return source
    model, info = model_class.from_pretrained(source, output_loading_info=True, **kwargs)
    missing = sorted(info["missing_keys"])
    if missing:
        raise ValueError(
            f"`{name}` is {str(source)!r}, which lacks {len(missing)} weights of {model_class.__name__} ({missing[0]}, ...). "
            "Is it an ELECTRA checkpoint, and are generator and discriminator not swapped? To start from random weights "
            f"on purpose, load `{model_class.__name__}.from_pretrained(...)` yourself and pass the model."
        )
    return model


def _common_tokenizer(sources):
    """The tokenizer beside the checkpoints, `None` where there is none.

    Args:
        sources (`list` of `(checkpoint, keyword arguments)`): loaded models among them are passed over.

    Raises:
        ValueError: there are two, and they map tokens to other ids.
    """
    found = {}
    for source, kwargs in sources:
        if not isinstance(source, PreTrainedModel):
            tokenizer = _load_tokenizer(source, kwargs)
            if tokenizer is not None:
                found[str(source)] = tokenizer
    vocabularies = [tokenizer.get_vocab() for tokenizer in found.values()]
    if any(vocabulary != vocabularies[0] for vocabulary in vocabularies):
        raise ValueError(
            f"{' and '.join(found)} have different vocabularies: their tokenizers map tokens to other ids (they have "
            f"{' and '.join(str(len(vocabulary)) for vocabulary in vocabularies)} tokens). Choose two checkpoints of one "
            "release, or pass `tokenizer=` if you know that both were trained with it."
        )
    return next(iter(found.values()), None)


def _load_tokenizer(source, kwargs):
    names = ("cache_dir", "local_files_only", "revision", "token")
    kwargs = {name: kwargs[name] for name in names if name in kwargs}
    # Without these files `AutoTokenizer` makes up a vocabulary of the special tokens alone in some releases.
    if not any(has_file(source, file, **kwargs) for file in ("tokenizer.json", "vocab.txt")):
        return None
    return AutoTokenizer.from_pretrained(source, **kwargs)


def _token_ids(tokenizer):
    if tokenizer.mask_token_id is None:
        raise ValueError(
            f"The tokenizer ({type(tokenizer).__name__}, {len(tokenizer)} tokens) has no mask token: the generator's input needs "
            "one. Take the tokenizer that the generator was trained with, or add one: "
            '`tokenizer.add_special_tokens({"mask_token": "[MASK]"})`.'
        )
    return {
        "mask_token_id": tokenizer.mask_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "special_token_ids": sorted(set(tokenizer.all_special_ids)),
    }


def _warn_if_embeddings_differ(generator, discriminator):
    ours, theirs = (model.get_input_embeddings().weight for model in (generator, discriminator))
    if not torch.equal(ours, theirs):
        logger.warning(
            'The two checkpoints were not trained with tied embeddings: with `embedding_sharing="tied"` the generator now reads '
            'the discriminator\'s, and its loss starts high. `embedding_sharing="none"` keeps both.'
        )


__all__ = ["ElectraRTDForPreTraining", "ElectraRTDOutput"]
