# Copyright 2026 the electra-rtd authors. Licensed under the Apache License, Version 2.0.
"""ELECTRA's generator and discriminator as one model, trained by replaced token detection (RTD).

Source: Clark et al., "ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators", ICLR 2020,
https://arxiv.org/abs/2003.10555; "paper" below. Top-down: the model and the steps of the objective; what makes them
fast (batches without padding, attention over rows, dropout on a CPU, a bounded vocabulary head); the random numbers of
eval mode; the loading of two checkpoints.

Shapes: B sequences in a batch, L tokens in the longest, M masked tokens in the batch, V tokens in the vocabulary;
without padding, T tokens in the batch, in groups of R rows of up to W tokens; D numbers a head.
"""

import math
import re
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    AutoTokenizer,
    ElectraForMaskedLM,
    ElectraForPreTraining,
    ElectraPreTrainedModel,
    PreTrainedModel,
)
from transformers.dynamic_module_utils import custom_object_save
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.electra import modeling_electra
from transformers.utils import ModelOutput, has_file, logging

from .configuration_electra_rtd import ElectraRTDConfig


logger = logging.get_logger(__name__)

NOT_A_LABEL = -100  # the index that losses ignore, as everywhere in `transformers`

# The whole embedding block: Google's code builds the tables and the LayerNorm of both networks in one variable scope.
SHARED_EMBEDDINGS = (
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
        logits (`torch.FloatTensor` of shape `(B, L)`): the discriminator's; above 0 = replaced, 0 on padding.
        mlm_loss (`torch.FloatTensor` of shape `()`): the generator's cross-entropy in nats, mean over masked tokens.
        disc_loss (`torch.FloatTensor` of shape `()`): binary cross-entropy in nats, mean over attended tokens.
        gen_acc (`torch.FloatTensor` of shape `()`): share of masked tokens that are the generator's first choice.
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

    Both are stock classes: `model.discriminator.save_pretrained(folder)` writes a stock checkpoint.

    Args:
        config ([`ElectraRTDConfig`])
    """

    config_class = ElectraRTDConfig
    _auto_class = "AutoModel"  # `save_pretrained` copies the code files of classes that carry this
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    # The losses are means over a batch, not sums to be divided by `num_items_in_batch`: the Trainer has to average.
    accepts_loss_kwargs = False
    _no_split_modules = ["ElectraLayer"]
    # Whatever attention stock ELECTRA has in the installed release.
    _supports_sdpa = ElectraPreTrainedModel._supports_sdpa
    _supports_flash_attn = ElectraPreTrainedModel._supports_flash_attn
    _supports_flex_attn = ElectraPreTrainedModel._supports_flex_attn
    _supports_attention_backend = ElectraPreTrainedModel._supports_attention_backend

    def __init__(self, config):
        super().__init__(config)
        config.check_fields()  # they may have been set after the configuration was built
        self.generator = ElectraForMaskedLM(config.generator_config)
        self.discriminator = ElectraForPreTraining(config.discriminator_config)
        if config.embedding_sharing == "tied":
            # Target to source. Releases before 5 read the targets alone, and tie in `_tie_weights`.
            self._tied_weights_keys = {
                f"discriminator.electra.embeddings.{name}": f"generator.electra.embeddings.{name}"
                for name in SHARED_EMBEDDINGS
            }
        draw_dropout_faster(self)
        self.post_init()

    @classmethod
    def from_generator_discriminator_pretrained(cls, generator, discriminator, *, tokenizer=None, **config_overrides):
        """Join two pretrained networks, as `EncoderDecoderModel.from_encoder_decoder_pretrained` does.

        Args:
            generator (`str`, path or `ElectraForMaskedLM`): a checkpoint folder, a Hub id, or a loaded model.
            discriminator (`str`, path or `ElectraForPreTraining`): likewise.
            tokenizer (`PreTrainedTokenizerBase`, *optional*): gives the special ids; by default the one beside the
                discriminator, or else the generator, where these are checkpoints.
            **config_overrides: fields of [`ElectraRTDConfig`]. With `generator_` or `discriminator_` before it, an
                argument of that network's `from_pretrained` (`discriminator_revision="..."`).

        Returns:
            [`ElectraRTDForPreTraining`], in eval mode

        Raises:
            ValueError: the two have different vocabularies, a checkpoint lacks weights that its network needs, or
                the tokenizer has no mask token.
        """
        generator_kwargs = _pop_prefixed(config_overrides, "generator_")
        discriminator_kwargs = _pop_prefixed(config_overrides, "discriminator_")
        if tokenizer is None:
            tokenizer = _common_tokenizer([(discriminator, discriminator_kwargs), (generator, generator_kwargs)])
        if tokenizer is not None:
            config_overrides = {**_token_ids(tokenizer), **config_overrides}
        generator = _load_network("generator", ElectraForMaskedLM, generator, generator_kwargs)
        discriminator = _load_network("discriminator", ElectraForPreTraining, discriminator, discriminator_kwargs)
        config = cls.config_class.from_generator_discriminator_configs(
            generator.config, discriminator.config, **config_overrides
        )
        if tokenizer is not None and len(tokenizer) > config.vocab_size:
            raise ValueError(
                f"The tokenizer has {len(tokenizer)} tokens, the networks {config.vocab_size}. Take the tokenizer "
                "that they were trained with, or call `resize_token_embeddings(len(tokenizer))` on both first."
            )
        model = cls(config)
        model.generator.load_state_dict(generator.state_dict())
        # Second, so that tied embeddings hold the discriminator's values: its encoder is what users keep.
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
        """One step of replaced token detection.

        In training mode the corruption is drawn from torch's global generator, in eval mode from `config.eval_seed`
        and each sequence's own tokens.

        Args:
            input_ids (`torch.LongTensor` of shape `(B, L)`): the original tokens.
            attention_mask (`torch.Tensor` of shape `(B, L)`, *optional*): 1 = token, 0 = padding. By default every
                token counts that is not `config.pad_token_id`.
            token_type_ids (`torch.LongTensor` of shape `(B, L)`, *optional*): segments, as in ELECTRA.
            position_ids (`torch.LongTensor` of shape `(B, L)`, *optional*): by default they count from a sequence's
                first token, so that padding on the left changes nothing.
            output_hidden_states, output_attentions (`bool`, *optional*): return the discriminator's.
            return_loss (`bool`): `False` leaves out the three losses.
            return_dict (`bool`, *optional*): `False` returns a tuple.
            labels (`torch.LongTensor` of shape `(B, L)`, *optional*, by keyword): from a masked language modelling
                collator: original ids where it masked, -100 elsewhere. Its masking is kept.

        Returns:
            [`ElectraRTDOutput`] or `tuple`

        Raises:
            ValueError: wrong shapes, ids outside the vocabulary (looked at on the CPU only), unset `mask_token_id`.
        """
        config, labels = self.config, kwargs.get("labels")
        self._check_inputs(input_ids, attention_mask, token_type_ids, position_ids, labels)
        # What a masking collator hid stands in its labels.
        original_ids = input_ids if labels is None else torch.where(labels != NOT_A_LABEL, labels, input_ids)  # (B, L)
        attended = self._attended(original_ids, attention_mask)  # (B, L)
        uniform = self._uniform_numbers(original_ids, attended)
        if position_ids is None:
            position_ids = positions_from_first_token(attended)  # (B, L)
        hidden_states = _or_default(output_hidden_states, config.output_hidden_states)
        attentions = _or_default(output_attentions, config.output_attentions)
        layout = self._layout(attended, position_ids.expand_as(attended), flat=not (hidden_states or attentions))

        # Mask, or keep the collator's masking.
        if labels is None:
            masked_positions, masked_input_ids = self._mask(original_ids, attended, uniform)  # (B, L), (B, L)
        else:
            masked_positions, masked_input_ids = (labels != NOT_A_LABEL) & attended, input_ids
        masked = masked_positions.nonzero(as_tuple=True)  # rows and columns, (M,) each
        masked_ids = original_ids[masked]  # (M,)

        # Generate and sample: logits over the vocabulary exist at masked positions only, a few of them at a time.
        inputs = layout.inputs(masked_input_ids, token_type_ids, self.generator.config)
        with gradient_if(config.gen_weight > 0):
            hidden = layout.at(masked, self.generator.electra(**inputs)[0])  # (M, H)
            generated = generate(
                self.generator, hidden, masked_ids, config.sampling_temperature, uniform(SAMPLE)[masked]
            )

        # Discriminate. A sample that equals the original counts as original.
        disc_input_ids = original_ids.index_put(masked, generated.sampled_ids)  # (B, L)
        disc_labels = (disc_input_ids != original_ids).long().masked_fill(~attended, NOT_A_LABEL)  # (B, L)
        inputs = layout.inputs(disc_input_ids, token_type_ids, self.discriminator.config)
        with gradient_if(config.disc_weight > 0):
            discriminated = self.discriminator(
                **inputs, output_hidden_states=hidden_states, output_attentions=attentions
            )
        # What stands in padding makes no difference to anybody, so its logits say nothing.
        logits = layout.padded(discriminated.logits).masked_fill(~attended, 0.0)  # (B, L)
        disc_predictions = (logits > 0).long()  # (B, L)

        loss = mlm_loss = disc_loss = None
        if return_loss:
            mlm_loss = generated.mlm_loss
            disc_loss = replaced_token_detection_loss(logits, disc_labels, attended)
            loss = config.gen_weight * mlm_loss + config.disc_weight * disc_loss
        output = ElectraRTDOutput(
            loss=loss,
            logits=logits,
            mlm_loss=mlm_loss,
            disc_loss=disc_loss,
            gen_acc=generated.gen_acc,
            disc_acc=detection_accuracy(disc_predictions == disc_labels, masked_positions, attended),
            disc_labels=disc_labels,
            disc_predictions=disc_predictions,
            masked_positions=masked_positions,
            masked_input_ids=masked_input_ids,
            disc_input_ids=disc_input_ids,
            hidden_states=discriminated.hidden_states,
            attentions=discriminated.attentions,
        )
        return output if _or_default(return_dict, config.return_dict) else output.to_tuple()

    def save_pretrained(self, save_directory, is_main_process=True, **kwargs):
        """Save as any model; arguments as in `PreTrainedModel`.

        During training the Trainer pushes the weights and the configuration of its folder `checkpoint-500` from the
        folder above that (`hub_strategy="every_save"` and others), but no code files: they are put there too.
        """
        super().save_pretrained(save_directory, is_main_process=is_main_process, **kwargs)
        folder = Path(save_directory)
        if is_main_process and re.fullmatch(r"checkpoint-\d+", folder.name):
            custom_object_save(self, folder.parent, config=self.config)

    def get_input_embeddings(self):
        """`nn.Embedding` of shape `(V, embedding_size)`: the discriminator's word embeddings."""
        return self.discriminator.get_input_embeddings()

    def set_input_embeddings(self, value):
        """Set the discriminator's word embeddings, and the generator's where they are shared.

        Args:
            value (`nn.Embedding` of shape `(V, embedding_size)`)
        """
        self.discriminator.set_input_embeddings(value)
        if self.config.embedding_sharing == "tied":
            self.generator.set_input_embeddings(value)
            self.tie_weights()

    def resize_token_embeddings(self, new_num_tokens=None, pad_to_multiple_of=None, mean_resizing=True):
        """Resize the vocabulary of both networks; arguments and result as in `PreTrainedModel`."""
        arguments = (new_num_tokens, pad_to_multiple_of, mean_resizing)
        resized = self.generator.resize_token_embeddings(*arguments)
        if self.config.embedding_sharing == "tied":
            self.discriminator.set_input_embeddings(resized)  # new rows are drawn once, for both
        else:
            resized = self.discriminator.resize_token_embeddings(*arguments)
        self.config.vocab_size = self.vocab_size = resized.num_embeddings  # both, as the base class does
        self.tie_weights()
        return self.get_input_embeddings()

    def tie_weights(self, missing_keys=None, **kwargs):
        """Tie as the base class does, in release 5.3 too.

        That one takes the tied weights of a model with code of its own for loaded, and leaves them on the meta device.
        Elsewhere, what is on the meta device is among the missing keys already.
        """
        if missing_keys is None:  # not while loading, or a release before 5
            return super().tie_weights(**kwargs)
        missing_keys |= {name for name in self.all_tied_weights_keys if self.get_parameter(name).is_meta}
        return super().tie_weights(missing_keys=missing_keys, **kwargs)

    def _tie_weights(self):
        # Called by `tie_weights` in releases before 5, whose base class cannot tie two weights by their names.
        for target, source in (self._tied_weights_keys or {}).items():
            module, name = target.rsplit(".", 1)
            setattr(self.get_submodule(module), name, self.get_parameter(source))

    def _attended(self, input_ids, attention_mask):
        if attention_mask is not None:
            return attention_mask == 1
        if self.config.pad_token_id is not None:
            return input_ids != self.config.pad_token_id
        return torch.ones_like(input_ids, dtype=torch.bool)

    def _layout(self, attended, position_ids, flat):
        """How the networks read the batch: without its padding wherever that is safe, and padded elsewhere.

        Padded: where a user asks for hidden states or attentions, which have the batch's shape; where a graph is
        recorded, whose shapes must not follow from the tokens; without any token; and where the release or the
        attention has no way to be told of rows.
        """
        networks = (self.generator, self.discriminator)
        if self.training:
            _warn_if_attention_cannot_drop(networks)
        if flat and not is_recorded() and all(map(attends_in_rows, networks)) and attended.any():
            return FlatBatch(attended, position_ids)
        return PaddedBatch(attended, position_ids)

    def _mask(self, original_ids, attended, uniform):
        """Paper, section 2: the masked positions and the generator's input, (B, L) each."""
        candidates = attended & ~is_any_of(original_ids, self.config.special_token_ids)  # (B, L)
        masked_positions = choose_masked_positions(candidates, self.config.mask_prob, uniform(POSITION))
        return masked_positions, self._hide(original_ids, masked_positions, uniform)

    def _hide(self, input_ids, masked_positions, uniform):
        """The generator's input, (B, L): of the masked tokens some become `[MASK]`, some random, the rest stay."""
        config = self.config
        if config.replace_prob > 0 and config.mask_token_id is None:
            raise ValueError(
                "`mask_token_id` is None, but `replace_prob` is above 0: set `model.config.mask_token_id = "
                "tokenizer.mask_token_id` and `model.config.special_token_ids = tokenizer.all_special_ids`."
            )
        fate = uniform(FATE)  # (B, L)
        if config.random_token_prob > 0:
            random_ids = random_ordinary_tokens(uniform(RANDOM_TOKEN), config.vocab_size, config.special_token_ids)
            becomes_random = masked_positions & (fate < config.replace_prob + config.random_token_prob)
            input_ids = torch.where(becomes_random, random_ids, input_ids)
        if config.replace_prob > 0:
            becomes_mask = masked_positions & (fate < config.replace_prob)
            input_ids = input_ids.masked_fill(becomes_mask, config.mask_token_id)
        return input_ids

    def _uniform_numbers(self, original_ids, attended):
        """A function from a stream to uniform numbers in [0, 1), (B, L)."""
        if self.training:
            # The global generator, which the Trainer's checkpoints save and restore.
            return lambda stream: torch.rand(original_ids.shape, device=original_ids.device)
        return seeded_uniform_numbers(self.config.eval_seed, original_ids, attended)

    def _check_inputs(self, input_ids, attention_mask, token_type_ids, position_ids, labels):
        if input_ids is None or input_ids.dim() != 2:
            received = None if input_ids is None else tuple(input_ids.shape)
            raise ValueError(f"`input_ids` has the shape {received}: it must be token ids of shape (batch, length).")
        named = {"attention_mask": attention_mask, "token_type_ids": token_type_ids, "labels": labels}
        for name, value in named.items():
            if value is not None and value.shape != input_ids.shape:
                raise ValueError(
                    f"`{name}` has the shape {tuple(value.shape)}, `input_ids` {tuple(input_ids.shape)}: they must be "
                    "equal. Pass what tokenizer and collator return. `labels` are for masked language modelling: "
                    "remove the label column of a classification data set."
                )
        if position_ids is not None and position_ids.shape not in (input_ids.shape, (1, input_ids.shape[1])):
            raise ValueError(
                f"`position_ids` has the shape {tuple(position_ids.shape)}, `input_ids` {tuple(input_ids.shape)}: "
                "give one position a token, (batch, length) or (1, length), or leave them out."
            )
        longest = self.config.max_position_embeddings
        if input_ids.shape[1] > longest:
            raise ValueError(
                f"The sequences have {input_ids.shape[1]} tokens, but `max_position_embeddings` is {longest}. "
                f"Truncate them: `tokenizer(..., truncation=True, max_length={longest})`."
            )
        # Reading values makes an accelerator wait, and breaks a compiled graph: only the plain CPU path does it.
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
                    "`labels` repeat `input_ids` at every token, as a collator for causal language modelling makes "
                    "them: nothing is masked. Use `DataCollatorWithPadding`, or "
                    "`DataCollatorForLanguageModeling(tokenizer, mlm=True)`."
                )


# ---- The steps of the objective -------------------------------------------------------------------------------------


def is_any_of(values, ids):
    """Where values (int64, any shape) are one of ids (`list[int]`): bool, the same shape."""
    found = torch.zeros_like(values, dtype=torch.bool)
    for one_id in ids:
        found |= values == one_id
    return found


def choose_masked_positions(candidates, mask_prob, uniform):
    """Exactly `ceil(mask_prob * candidates)` of each sequence's candidates, uniformly without replacement.

    Args: candidates (bool, (B, L)); mask_prob (`float`); uniform (float32 in [0, 1), (B, L)). Returns: bool, (B, L).
    """
    # In whole numbers: in floating point 0.07 * 100 is above 7, and in float32 0.15 * 100 is above 15.
    share = Fraction(str(mask_prob)).limit_denominator(10**9)
    counts = candidates.sum(dim=-1, keepdim=True)  # (B, 1)
    to_mask = (counts * share.numerator + share.denominator - 1) // share.denominator  # (B, 1)
    to_mask = to_mask.maximum((counts > 0).long())  # shares below 10**-9
    order = uniform.masked_fill(~candidates, 2.0).argsort(dim=-1, stable=True)  # (B, L): candidates first, shuffled
    ranks = order.argsort(dim=-1)  # (B, L): 0 to L - 1, each once, so that equal numbers do not change the count
    return candidates & (ranks < to_mask)


def random_ordinary_tokens(uniform, vocab_size, special_token_ids):
    """Tokens drawn uniformly from the vocabulary without the special ones.

    Args: uniform (float32 in [0, 1), (B, L)); vocab_size (`int`); special_token_ids (`list[int]`).
    Returns: int64, (B, L).
    """
    special = sorted(set(special_token_ids))
    drawn = (uniform * (vocab_size - len(special))).long()
    for special_id in special:  # ascending: step over every special id at or below the number drawn
        drawn = drawn + (drawn >= special_id)
    return drawn


@torch.no_grad()
def sample_tokens(logits, temperature, uniform):
    """Samples of softmax(logits / temperature), by inverting its distribution function: one random number a row takes
    the place of noise over the vocabulary.

    Args: logits (float, (M, V)); temperature (`float`); uniform (float32 in [0, 1), (M,)). Returns: int64, (M,).
    """
    probabilities = torch.softmax(logits.float() / temperature, dim=-1)
    cumulative = probabilities.cumsum(dim=-1)  # (M, V)
    # In (0, total]: the first entry that reaches it exists, and has a probability above 0.
    threshold = (1.0 - uniform)[:, None] * cumulative[:, -1:]  # (M, 1)
    sampled = torch.searchsorted(cumulative, threshold).squeeze(-1)  # (M,)
    return sampled.clamp(
        max=logits.shape[-1] - 1
    )  # of logits that are not numbers: the loss has to say so, not a crash


def masked_language_modeling_loss(logits, original_ids):
    """Sum of the cross-entropies of masked tokens in nats, in float32; 0 with a gradient where there are none.

    Args: logits (float, (M, V)); original_ids (int64, (M,)). Returns: float32, ().
    """
    return nn.functional.cross_entropy(logits.float(), original_ids, reduction="sum")


def replaced_token_detection_loss(logits, disc_labels, attended):
    """Mean binary cross-entropy over the attended tokens in nats, in float32.

    Args: logits (float, (B, L)); disc_labels (int64, (B, L)); attended (bool, (B, L)). Returns: float32, ().
    """
    targets = disc_labels.clamp(min=0).float()
    losses = nn.functional.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")  # (B, L)
    return (losses * attended).sum() / attended.sum().clamp(min=1)


def correct_first_choices(logits, original_ids):
    """How many of the masked tokens are the generator's first choice.

    Args: logits (float, (M, V)); original_ids (int64, (M,)). Returns: float32, ().
    """
    return (logits.argmax(dim=-1) == original_ids).float().sum()


def detection_accuracy(correct, masked_positions, attended):
    """Mean of the accuracies over masked and over unmasked attended tokens; of one group where the other is empty.

    Args: correct, masked_positions, attended (bool, (B, L)). Returns: float32, ().
    """
    groups = torch.stack([masked_positions, attended & ~masked_positions])  # (2, B, L)
    sizes = groups.sum(dim=(1, 2))  # (2,)
    accuracies = (groups & correct).sum(dim=(1, 2)) / sizes.clamp(min=1)  # (2,)
    return accuracies.sum() / (sizes > 0).sum().clamp(min=1)


def positions_from_first_token(attended):
    """Positions that count from each sequence's first token.

    Args: attended (bool, (B, L)). Returns: int64, (B, L).
    """
    first = attended.long().argmax(dim=-1, keepdim=True)  # (B, 1)
    return (torch.arange(attended.shape[1], device=attended.device) - first).clamp(min=0)


# ---- How the networks read a batch: padded, or without its padding --------------------------------------------------


class PaddedBatch:
    """The batch as it came, (B, L): the reference, and the way wherever the flat one is not safe.

    Args: attended (bool, (B, L)); position_ids (int64, (B, L)).
    """

    def __init__(self, attended, position_ids):
        # A row without tokens attends to its padding: softmax over nothing is not a number.
        self.attention_mask = (attended | ~attended.any(dim=-1, keepdim=True)).long()  # (B, L)
        self.position_ids = position_ids

    def inputs(self, input_ids, token_type_ids, config):
        """Arguments of a network's forward; input_ids and token_type_ids (or `None`) of shape (B, L)."""
        return {
            "input_ids": input_ids,
            "attention_mask": self.attention_mask,
            "token_type_ids": _known_types(token_type_ids, config),
            "position_ids": self.position_ids,
            "return_dict": True,
        }

    def at(self, masked, hidden):
        """Hidden states at M tokens: (B, L, H) to (M, H); masked: rows and columns, (M,) each."""
        return hidden[masked]

    def padded(self, logits):
        """(B, L), as it is."""
        return logits


class FlatBatch:
    """The T attended tokens of the batch in one row, (1, T), sequences of like length side by side.

    All that works token by token computes no padding; attention alone sees rows again ([`Rows`]).

    Args: attended (bool, (B, L)), with at least one token; position_ids (int64, (B, L)).
    """

    def __init__(self, attended, position_ids):
        self.shape = attended.shape
        lengths, order = attended.sum(dim=-1).sort(descending=True, stable=True)  # (B,), (B,)
        rows, columns = attended[order].nonzero(as_tuple=True)  # (T,), (T,)
        self.cells = order[rows] * self.shape[1] + columns  # (T,): where a token stands in the batch, row by row
        self.tokens = torch.zeros(attended.numel(), dtype=torch.long, device=attended.device)  # (B * L,): the inverse
        self.tokens[self.cells] = torch.arange(len(self.cells), device=attended.device)
        self.position_ids = self._flat(position_ids)
        self.rows = Rows([length for length in lengths.tolist() if length > 0], attended.device)
        # For attention that takes a mask: four dimensions pass through `transformers` as they are.
        self.no_mask = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=attended.device)

    def inputs(self, input_ids, token_type_ids, config):
        """Arguments of a network's forward; input_ids and token_type_ids (or `None`) of shape (B, L)."""
        tell_of_rows(config)
        flash = config._attn_implementation in FLASH_ATTENTION
        return {
            "input_ids": self._flat(input_ids),
            "attention_mask": None if flash else self.no_mask,
            "token_type_ids": None if token_type_ids is None else self._flat(_known_types(token_type_ids, config)),
            "position_ids": self.position_ids,
            "return_dict": True,
            **(self.rows.variable_lengths() if flash else {"rows": self.rows}),
        }

    def at(self, masked, hidden):
        """Hidden states at M tokens: (1, T, H) to (M, H); masked: rows and columns, (M,) each."""
        return hidden[0, self.tokens[masked[0] * self.shape[1] + masked[1]]]

    def padded(self, logits):
        """(1, T) to (B, L), with 0 where there is no token."""
        return logits.new_zeros(self.tokens.shape).index_copy(0, self.cells, logits[0]).view(self.shape)

    def _flat(self, values):
        return values.flatten()[self.cells][None]  # (1, T)


class Rows:
    """Rows of tokens, for attention: cut into groups of like length, so that little of their squares is padding.

    Args: lengths (`list[int]` above 0, descending); device.
    """

    def __init__(self, lengths, device):
        self.lengths, self.device = lengths, device
        # One more group is more launches of every kernel: not on an accelerator, where they count and squares do not.
        bounds = cut_by_length(lengths, most=4 if device.type == "cpu" else 1)
        starts = [0, *accumulate(lengths)]  # where a row begins among the T tokens
        self.groups = [RowGroup(starts[first], lengths[first:end], device) for first, end in pairwise(bounds)]

    def attend(self, stock, attention, module, query, key, value, dropout=0.0, scaling=None, **kwargs):
        """Attention within each row: query, key and value (float, (1, heads, T, D)) to (1, T, heads, D)."""
        tokens = query[0], key[0], value[0]  # (heads, T, D) each
        if stock == "sdpa" and draws_gaps(dropout, query):
            return DropoutAttention.apply(*tokens, self, dropout, scaling)[None]
        attended = []
        for group, of_rows in self.of(*tokens):
            output = attention(module, *of_rows, group.mask, dropout=dropout, scaling=scaling)[0]  # (R, W, heads, D)
            attended.append(output.transpose(1, 2)[None])
        return self.join(attended)

    def of(self, *tokens):
        """Group by group: the [`RowGroup`], and its rows of n tensors, (heads, T, D) each, as (n, R, heads, W, D)."""
        stacked = torch.stack(tokens)  # (n, heads, T, D)
        for group in self.groups:
            yield group, group.to_rows(stacked)

    def join(self, rows):
        """The tokens of every group's rows (float, (n, R, heads, W, D)): (n, T, heads, D)."""
        return torch.cat([group.to_tokens(one) for group, one in zip(self.groups, rows, strict=True)], dim=1)

    def variable_lengths(self):
        """What flash attention takes instead: where each row starts, and the longest."""
        starts = torch.tensor([0, *self.lengths], device=self.device).cumsum(0, dtype=torch.int32)
        return {
            "cu_seq_lens_q": starts,
            "cu_seq_lens_k": starts,
            "max_length_q": self.lengths[0],
            "max_length_k": self.lengths[0],
        }


class RowGroup:
    """R rows of up to W tokens, t in all, that lie side by side from the token `start` on.

    Behind a shorter row stands its first token again: attention masks it as a key, and nobody takes it as a query.

    Args: start (`int`); lengths (`list[int]`, descending); device.
    """

    def __init__(self, start, lengths, device):
        self.shape = len(lengths), lengths[0]  # (R, W)
        columns, sizes = torch.arange(lengths[0], device=device), torch.tensor(lengths, device=device)[:, None]
        there = columns < sizes  # (R, W)
        self.mask = None if lengths[0] == lengths[-1] else there[:, None, None]  # (R, 1, 1, W)
        starts = start + sizes.cumsum(dim=0) - sizes  # (R, 1)
        self.cells = torch.where(there, starts + columns, starts)  # (R, W): among the T tokens
        self.kept = there.nonzero(as_tuple=True)  # rows and columns of the t tokens
        self.taken: dict = {}  # every layer takes the same

    def to_rows(self, tokens):
        """(n, heads, T, D) to (n, R, heads, W, D)."""
        n, heads, count, size = tokens.shape
        if ("rows", n, heads) not in self.taken:
            first = count * torch.arange(n * heads, device=tokens.device).view(n, 1, heads, 1)
            taken = first + self.cells[:, None]  # (n, R, heads, W): among all vectors of D
            self.taken["rows", n, heads] = taken.flatten()
        rows, width = self.shape
        taken = self.taken["rows", n, heads]
        return tokens.reshape(-1, size).index_select(0, taken).view(n, rows, heads, width, size)

    def to_tokens(self, rows):
        """(n, R, heads, W, D) to (n, t, heads, D)."""
        n, count, heads, width, size = rows.shape
        if ("tokens", n, heads) not in self.taken:
            row, column = self.kept
            first = width * torch.arange(heads, device=rows.device)
            taken = (row * heads * width + column)[:, None] + first  # (t, heads): among the vectors of D of one of n
            taken = taken + (count * heads * width) * torch.arange(n, device=rows.device)[:, None, None]
            self.taken["tokens", n, heads] = taken.flatten()  # (n * t * heads,)
        taken = self.taken["tokens", n, heads]
        return rows.reshape(-1, size).index_select(0, taken).view(n, -1, heads, size)


def cut_by_length(lengths, most):
    """Cut rows into groups, each as wide as its first row, where it saves most of attention's squares.

    Args: lengths (`list[int]`, descending); most (`int`): groups. Returns: `list[int]`, bounds from 0 to the last.
    """
    bounds = [0, len(lengths)]
    while len(bounds) <= most:
        saved, cut = max(
            ((end - row) * (lengths[first] ** 2 - lengths[row] ** 2), row)
            for first, end in pairwise(bounds)
            for row in range(first, end)
        )
        if saved < 10_000:  # cells, as many as the calls for one more group take time for
            break
        bounds = sorted([*bounds, cut])
    return bounds


# ---- Attention over rows --------------------------------------------------------------------------------------------

FLASH_ATTENTION = ("flash_attention_2", "flash_attention_3")
# Stock attention -> the name under which `transformers` finds it for a network that may be told of rows.
IN_ROWS = {"eager": "electra_rtd_eager", "sdpa": "electra_rtd_sdpa"}


def attends_in_rows(network):
    """Whether a network's attention can be told of rows: its release hands keyword arguments on, and we know it."""
    known = {*IN_ROWS, *IN_ROWS.values(), *FLASH_ATTENTION}
    return network._supports_attention_backend and network.config._attn_implementation in known


def tell_of_rows(config):
    """Name the attention that takes rows; for good, since gradient checkpointing asks again in the backward pass."""
    config._attn_implementation = IN_ROWS.get(config._attn_implementation, config._attn_implementation)


def eager_attention(module, query, key, value, attention_mask, **kwargs):
    """Stock eager attention; it adds its mask."""
    if attention_mask is not None and attention_mask.dtype == torch.bool:
        attention_mask = torch.zeros_like(attention_mask, dtype=query.dtype).masked_fill(
            ~attention_mask, torch.finfo(query.dtype).min
        )
    return modeling_electra.eager_attention_forward(module, query, key, value, attention_mask, **kwargs)


def sdpa_attention(module, query, key, value, attention_mask, **kwargs):
    """Stock scaled dot product attention."""
    return ALL_ATTENTION_FUNCTIONS["sdpa"](module, query, key, value, attention_mask, **kwargs)


def in_rows(stock, attention):
    """An attention function of `transformers` that, told of rows, attends within each.

    Args: stock (`str`): name of the attention; attention: its function.
    Returns: one with the same arguments, and `rows` ([`Rows`], *optional*).
    """

    def attend(module, query, key, value, attention_mask, rows=None, **kwargs):
        if rows is None:  # a padded batch
            return attention(module, query, key, value, attention_mask, **kwargs)
        # The rows bring the code along: another release of this file may have taken the name in the meantime.
        return rows.attend(stock, attention, module, query, key, value, **kwargs), None

    return attend


def register_attention():
    """Make both attentions known by their names, each with the mask of the stock one."""
    for stock, attention in (("eager", eager_attention), ("sdpa", sdpa_attention)):
        AttentionInterface.register(IN_ROWS[stock], in_rows(stock, attention))
        AttentionMaskInterface.register(IN_ROWS[stock], ALL_MASK_ATTENTION_FUNCTIONS[stock])


register_attention()


# ---- Dropout on a CPU -----------------------------------------------------------------------------------------------
# A CPU takes longer to draw a random number than to use it. So numbers are drawn for the dropped elements alone: the
# gaps between them are geometric. The distribution is that of stock dropout, each element by itself.


def draws_gaps(p, values):
    """Whether the gaps are drawn: on a CPU, where it pays, and not while a graph is recorded.

    Args: p (`float`): share that is dropped; values (float tensor). Returns: `bool`.
    """
    return 0 < p < 0.5 and values.device.type == "cpu" and not is_recorded()


def dropped_elements(count, p):
    """Choose each of `count` elements with probability p, independently.

    Args: count (`int`); p (`float` in (0, 1)). Returns: int64, (about p * count,), ascending.
    """
    likely = int(count * p + 6 * (count * p) ** 0.5) + 10  # six standard deviations above the mean
    while True:
        kept_before = (
            torch.rand(likely, dtype=torch.float32).neg_().log1p_().div_(math.log1p(-p)).long()
        )  # each gap, geometric
        dropped = kept_before.add_(1).cumsum(dim=0).sub_(1)
        if dropped[-1] >= count:
            return dropped[: int(torch.searchsorted(dropped, count))]
        likely *= 2


def dropped_in_parts(counts, p):
    """[`dropped_elements`] of several parts, drawn together.

    Args: counts (`list[int]`): elements of each part; p (`float` in (0, 1)).
    Returns: `list` of int64, which count from the beginning of their part.
    """
    bounds = [0, *accumulate(counts)]
    dropped = dropped_elements(bounds[-1], p)
    cuts = torch.searchsorted(dropped, torch.tensor(bounds)).tolist()
    return [dropped[first:end] - start for (first, end), start in zip(pairwise(cuts), bounds, strict=False)]


class GeometricDropout(nn.Dropout):
    """`nn.Dropout`, which on a CPU draws random numbers for the dropped elements alone."""

    def forward(self, input):
        """Any shape, as stock dropout."""
        if not self.training or self.inplace or not draws_gaps(self.p, input):
            return super().forward(input)
        scaled = input.reshape(-1) * (1 / (1 - self.p))
        return scaled.index_fill_(0, dropped_elements(scaled.numel(), self.p), 0.0).view_as(input)


def in_float32(values):
    """A float tensor of any shape, in float32 where it is of lower precision."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def draw_dropout_faster(network):
    """Put [`GeometricDropout`] in the place of every stock dropout of a network."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, GeometricDropout(child.p, child.inplace))


class DropoutAttention(torch.autograd.Function):
    """Scaled dot product attention within rows, with dropout, for a CPU: the stock kernels there keep all squares.

    Here the squares of scores exist for a few rows at a time, and again in the backward pass, so that they stay in the
    processor's cache. Computed in float32, as stock attention with dropout is on a CPU.
    """

    SQUARES = 2**20  # scores at a time: 4 MiB

    @classmethod
    def few_rows(cls, group, heads):
        """Slices of a group's rows, as many at a time as the squares may fill."""
        count, width = group.shape
        step = max(1, cls.SQUARES // (heads * width**2))
        return [slice(first, min(first + step, count)) for first in range(0, count, step)]

    @classmethod
    def draw(cls, rows, heads, dropout):
        """What is dropped of the squares of each few rows, in the order in which they are computed."""
        squares = [
            (few.stop - few.start) * heads * group.shape[1] ** 2
            for group in rows.groups
            for few in cls.few_rows(group, heads)
        ]
        return dropped_in_parts(squares, dropout)

    @staticmethod
    def probabilities(query, key, mask):
        """softmax(query key^T): (R, heads, W, D) twice to (R, heads, W, W)."""
        scores = query @ key.transpose(-1, -2)  # (R, heads, W, W)
        return torch.softmax(scores if mask is None else scores.masked_fill_(~mask, -torch.inf), dim=-1)

    @staticmethod
    def forward(ctx, query, key, value, rows, dropout, scaling):
        """query, key, value (float, (heads, T, D)); rows ([`Rows`]). Returns: (T, heads, D)."""
        ctx.rows, ctx.dropout, ctx.scaling = rows, dropout, scaling
        drawn = DropoutAttention.draw(rows, query.shape[0], dropout)
        outputs, dropped = [], iter(drawn)
        with torch.autocast("cpu", enabled=False):
            for group, (q, k, v) in rows.of(in_float32(query) * scaling, in_float32(key), in_float32(value)):
                output = torch.empty_like(q)  # (R, heads, W, D)
                for few in DropoutAttention.few_rows(group, heads=q.shape[1]):
                    mask = None if group.mask is None else group.mask[few]
                    probabilities = DropoutAttention.probabilities(q[few], k[few], mask)
                    probabilities.view(-1).index_fill_(0, next(dropped), 0.0)
                    torch.matmul(probabilities, v[few], out=output[few])
                outputs.append(output[None])
            output = rows.join(outputs)[0].div_(1 - dropout).to(query.dtype)  # (T, heads, D)
        ctx.save_for_backward(query, key, value, output, *drawn)
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        """The gradients of query, key and value, (heads, T, D) each."""
        query, key, value, output, *drawn = ctx.saved_tensors
        drawn, grads = iter(drawn), []
        tokens = query, key, value, grad.transpose(0, 1), output.transpose(0, 1)  # (heads, T, D) each
        for group, (q, k, v, upstream, output) in ctx.rows.of(*map(in_float32, tokens)):  # (R, heads, W, D) each
            if group.mask is not None:
                upstream.masked_fill_(~group.mask.transpose(-1, -2), 0.0)  # nobody took what stands behind a row
            q.mul_(ctx.scaling)
            # What a softmax subtracts from a row of gradients: the probabilities times those, or output times its own.
            inner = (upstream * output).sum(dim=-1, keepdim=True)  # (R, heads, W, 1)
            upstream.div_(1 - ctx.dropout)
            of_group = torch.empty(3, *q.shape, dtype=q.dtype)  # of q, k and v
            for few in DropoutAttention.few_rows(group, heads=q.shape[1]):
                mask = None if group.mask is None else group.mask[few]
                probabilities = DropoutAttention.probabilities(q[few], k[few], mask)
                dropped = next(drawn)
                of_probabilities = upstream[few] @ v[few].transpose(-1, -2)  # (R, heads, W, W)
                of_probabilities.view(-1).index_fill_(0, dropped, 0.0)
                of_scores = of_probabilities.sub_(inner[few]).mul_(probabilities)
                torch.matmul(of_scores, k[few], out=of_group[0, few])
                torch.matmul(of_scores.transpose(-1, -2), q[few], out=of_group[1, few])
                probabilities.view(-1).index_fill_(0, dropped, 0.0)
                torch.matmul(probabilities.transpose(-1, -2), upstream[few], out=of_group[2, few])
            of_group[0].mul_(ctx.scaling)
            grads.append(of_group)
        return *ctx.rows.join(grads).to(query.dtype).transpose(1, 2), None, None, None


# ---- The vocabulary head, bounded -----------------------------------------------------------------------------------

HEAD_LOGITS = 2**23  # at a time: 32 MiB in float32, and as much again for each thing that is made of them


class Generated(NamedTuple):
    """What came of the masked tokens: mean loss in nats and accuracy, float32, (); sampled tokens, int64, (M,)."""

    mlm_loss: torch.Tensor
    gen_acc: torch.Tensor
    sampled_ids: torch.Tensor


@torch.compiler.disable  # how many parts there are follows from the tokens
def generate(generator, hidden, original_ids, temperature, uniform):
    """Predict the masked tokens, and sample what replaces them.

    Args: generator (`ElectraForMaskedLM`); hidden (float, (M, H)), of its encoder; original_ids (int64, (M,));
        temperature (`float`); uniform (float32 in [0, 1), (M,)). Returns: [`Generated`].
    """
    predictions = generator.generator_predictions(hidden)  # (M, embedding_size)
    at_once = max(1, HEAD_LOGITS // generator.config.vocab_size)
    arguments = generator.generator_lm_head, predictions, original_ids, temperature, uniform
    few = len(original_ids) <= at_once
    loss, hits, sampled_ids = predict(*arguments) if few else predict_in_parts(*arguments, at_once)
    count = max(len(original_ids), 1)
    return Generated(loss / count, hits / count, sampled_ids)


def predict(head, predictions, original_ids, temperature, uniform):
    """Sum of the losses of masked tokens, right first choices, and samples; arguments as of [`generate`].

    Args: head (module); predictions (float, (M, embedding_size)). Returns: float32, (); float32, (); int64, (M,).
    """
    logits = head(predictions)  # (M, V)
    loss = masked_language_modeling_loss(logits, original_ids)
    logits = logits.detach()
    return loss, correct_first_choices(logits, original_ids), sample_tokens(logits, temperature, uniform)


def predict_in_parts(head, predictions, original_ids, temperature, uniform, at_once):
    """[`predict`], for `at_once` tokens at a time: memory for logits has a bound at any number of masked tokens.

    The logits of a part are gone before those of the next, and long before the backward pass: their gradient is
    computed beside the loss.
    """
    weights = weights_of(head)
    learned = [one for one in (predictions, *weights.values()) if one.requires_grad and torch.is_grad_enabled()]
    # Copies without history collect the gradients.
    rows = predictions.detach().requires_grad_(predictions.requires_grad)
    weights = {name: weight.detach().requires_grad_(weight.requires_grad) for name, weight in weights.items()}
    leaves = [tensor for tensor in (rows, *weights.values()) if tensor.requires_grad]
    total, hits, sampled_ids = 0.0, 0.0, []
    for few, ids, numbers in zip(*(one.split(at_once) for one in (rows, original_ids, uniform)), strict=True):
        with torch.set_grad_enabled(bool(learned)), computing_with(weights, head):
            loss, correct, sampled = predict(head, few, ids, temperature, numbers)
        if learned:
            loss.backward(inputs=leaves)
        total, hits = total + loss.detach(), hits + correct
        sampled_ids.append(sampled)
    if learned:
        total = WithGradients.apply(total, [leaf.grad for leaf in leaves], *learned)
    return total, hits, torch.cat(sampled_ids)


def weights_of(module):
    """A module's weights by name, also where a wrapper put tensors in the place of its parameters: copies for one
    of several devices (`DataParallel`), or views of a flat parameter (FSDP).

    Args: module (`nn.Module`). Returns: `dict[str, torch.Tensor]`.
    """
    return {
        f"{prefix}.{name}".lstrip("."): value
        for prefix, part in module.named_modules()
        for name, value in (*part.named_parameters(recurse=False), *vars(part).items())
        if isinstance(value, torch.Tensor)
    }


@contextmanager
def computing_with(weights, module):
    """A module computes with other tensors: attributes, which Python finds before parameters of the same names.
    (`torch.func.functional_call` does not reach what FSDP has put there.)

    Args: weights (`dict[str, torch.Tensor]`): by names as of [`weights_of`]; module (`nn.Module`).
    """
    paths = [name.rpartition(".") for name in weights]
    places = [(vars(module.get_submodule(prefix)), name) for prefix, _, name in paths]
    before = [attributes.get(name) for attributes, name in places]
    try:
        for (attributes, name), weight in zip(places, weights.values(), strict=True):
            attributes[name] = weight
        yield
    finally:
        for (attributes, name), value in zip(places, before, strict=True):
            if value is None:
                attributes.pop(name, None)
            else:
                attributes[name] = value


class WithGradients(torch.autograd.Function):
    """A value whose gradients are known: value (float, ()), gradients (`list`), of inputs in their order."""

    @staticmethod
    def forward(ctx, value, gradients, *inputs):
        ctx.save_for_backward(*gradients)
        return value.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, upstream):
        return None, None, *(None if one is None else one * upstream for one in ctx.saved_tensors)


# ---- The random numbers of eval mode --------------------------------------------------------------------------------

POSITION, FATE, RANDOM_TOKEN, SAMPLE = range(4)  # streams: what a step draws numbers for
BITS_32 = 0xFFFFFFFF


def seeded_uniform_numbers(seed, original_ids, attended):
    """Uniform numbers that depend on the seed and on a sequence's own tokens alone: the same sequence gets the same
    ones wherever it stands, however it is padded and on whatever device, and no generator is touched.

    Args: seed (`int`); original_ids (int64, (B, L)); attended (bool, (B, L)).
    Returns: a function from a stream to float32 in [0, 1), (B, L).
    """
    ordinals = attended.cumsum(dim=-1)  # (B, L): the n-th token of its sequence, wherever padding stands
    tokens = mix_bits(original_ids + mix_bits(ordinals))  # (B, L)
    digests = mix_bits((tokens * attended).sum(dim=-1, keepdim=True) + (seed & BITS_32))  # (B, 1)

    def uniform(stream):
        bits = mix_bits(mix_bits(digests + stream) + ordinals)  # (B, L)
        return (bits >> 8).float() / 2**24  # 24 bits: all that float32 holds exactly

    return uniform


def mix_bits(values):
    """Scramble the low 32 bits, so that every bit of the result depends on every bit of the argument.

    Args: values (int64 >= 0, any shape). Returns: int64 in [0, 2**32), the same shape.
    """
    values = values & BITS_32
    for _ in range(2):
        values = (((values >> 16) ^ values) * 0x45D9F3B) & BITS_32  # the product is below 2**59: nothing overflows
    return (values >> 16) ^ values


# ---- Two pretrained checkpoints to one model ------------------------------------------------------------------------


def _load_network(name, model_class, source, kwargs):
    if isinstance(source, PreTrainedModel):
        if not isinstance(source, model_class):
            raise ValueError(f"`{name}` is a {type(source).__name__}: it must be a {model_class.__name__}.")
        return source
    try:
        model, info = model_class.from_pretrained(source, output_loading_info=True, **kwargs)
    except OSError as error:
        raise OSError(f"`{name}` is {str(source)!r}, which could not be loaded: {error}") from error
    missing = sorted(info["missing_keys"])
    if missing:
        raise ValueError(
            f"`{name}` is {str(source)!r}, which lacks {len(missing)} weights of {model_class.__name__} "
            f"({missing[0]}, ...). Is it an ELECTRA checkpoint, and are generator and discriminator not swapped? To "
            f"start from random weights on purpose, pass `{model_class.__name__}.from_pretrained(...)` itself."
        )
    return model


def _common_tokenizer(sources):
    """The tokenizer beside the first of the checkpoints that has one, or `None`; an error where two differ.

    Args: sources (`list` of checkpoint or loaded model, each with the keyword arguments of its loading).
    """
    found = {}
    for source, kwargs in sources:
        tokenizer = None if isinstance(source, PreTrainedModel) else find_tokenizer(source, **kwargs)
        if tokenizer is not None:
            found[str(source)] = tokenizer
    vocabularies = [tokenizer.get_vocab() for tokenizer in found.values()]
    if any(vocabulary != vocabularies[0] for vocabulary in vocabularies):
        sizes = " and ".join(str(len(vocabulary)) for vocabulary in vocabularies)
        raise ValueError(
            f"{' and '.join(found)} have different vocabularies: their tokenizers, of {sizes} tokens, map tokens to "
            "other ids. Choose two checkpoints of one release, or pass `tokenizer=` if you know that both were "
            "trained with it."
        )
    return next(iter(found.values()), None)


def find_tokenizer(source, **kwargs):
    """The tokenizer of a checkpoint, or `None` where it has none.

    Args: source (`str` or path): a folder or a Hub id; kwargs: those of `from_pretrained`.
    """
    trust = kwargs.get("trust_remote_code", False)  # not given, some releases ask, and run the code on "y"
    kwargs = {name: kwargs[name] for name in ("cache_dir", "local_files_only", "revision", "token") if name in kwargs}
    # Where both files are missing, `AutoTokenizer` of some releases makes up a vocabulary of the special tokens alone.
    if not any(has_file(source, file, **kwargs) for file in ("tokenizer.json", "vocab.txt")):
        return None
    return AutoTokenizer.from_pretrained(source, **kwargs, trust_remote_code=trust)


def _token_ids(tokenizer):
    if tokenizer.mask_token_id is None:
        raise ValueError(
            f"The tokenizer ({type(tokenizer).__name__}, {len(tokenizer)} tokens) has no mask token, which the "
            "generator's input needs. Take the tokenizer that the generator was trained with."
        )
    return {
        "mask_token_id": tokenizer.mask_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "special_token_ids": sorted(set(tokenizer.all_special_ids)),
    }


def _warn_if_embeddings_differ(generator, discriminator):
    if not torch.equal(generator.get_input_embeddings().weight, discriminator.get_input_embeddings().weight):
        logger.warning(
            'The two checkpoints have different embeddings. With `embedding_sharing="tied"` the generator now reads '
            'the discriminator\'s, and its loss starts high; `embedding_sharing="none"` keeps both.'
        )


def _warn_if_attention_cannot_drop(networks):
    for config in (network.config for network in networks):
        share = config.attention_probs_dropout_prob
        if config._attn_implementation == "flash_attention_3" and share > 0:
            logger.warning_once(
                f"flash_attention_3 has no dropout: attention_probs_dropout_prob={share} has no effect. Set it to 0, "
                "or take another attention: `model.set_attn_implementation('sdpa')`."
            )


# ---- Small helpers --------------------------------------------------------------------------------------------------


def _pop_prefixed(kwargs, prefix):
    names = [name for name in kwargs if name.startswith(prefix)]
    return {name[len(prefix) :]: kwargs.pop(name) for name in names}


def gradient_if(needed):
    """A context in which gradients are recorded only where they are needed: one for a loss of weight 0 is not."""
    return torch.set_grad_enabled(needed and torch.is_grad_enabled())


def is_recorded():
    """Whether a graph is being recorded, by `torch.compile`, `torch.export` or `torch.jit.trace`."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def _or_default(value, default):
    return default if value is None else value


def _known_types(token_type_ids, config):
    # The networks of a pair may know different numbers of segments: one that a network does not know is its last.
    return None if token_type_ids is None else token_type_ids.clamp(max=config.type_vocab_size - 1)


def _check_range(name, values, end, mend):
    if values.numel() and (values.min() < 0 or values.max() >= end):
        raise ValueError(f"`{name}` holds {values.min()} to {values.max()}: allowed are 0 to {end - 1}. {mend}.")


__all__ = ["ElectraRTDForPreTraining", "ElectraRTDOutput"]
