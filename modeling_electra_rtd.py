# Copyright 2026 the electra-rtd authors. Licensed under the Apache License, Version 2.0.
"""ELECTRA's generator and discriminator as one model, trained by replaced token detection (RTD).

Source: Clark et al., "ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators", ICLR 2020,
https://arxiv.org/abs/2003.10555; "paper" below. Here are the output, the model, its `forward` and its checks. Beside:

- `configuration_electra_rtd.py`: what the model is.
- `objective_electra_rtd.py`: the steps of the objective, functions on tensors.
- `unpadding_electra_rtd.py`: batches without padding. It changes global state: `transformers` gets two attentions.
- `pairing_electra_rtd.py`: checkpoints to a pair. It alone reads files; `save_pretrained`, below, writes some.

Shapes: B sequences in a batch, L tokens in the longest, M masked tokens in the batch, V tokens in the vocabulary, H
numbers a token in a network.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import ElectraForMaskedLM, ElectraForPreTraining, ElectraPreTrainedModel, PreTrainedModel
from transformers.dynamic_module_utils import custom_object_save
from transformers.utils import ModelOutput, can_return_tuple

# Every sibling stands here: from a local folder, `transformers` up to 5.8 copies only what this file names itself.
from .configuration_electra_rtd import ElectraRTDConfig
from .objective_electra_rtd import (
    NOT_A_LABEL,
    POSITION,
    SAMPLE,
    choose_masked_positions,
    continuation_table,
    detection_accuracy,
    generate,
    hide_tokens,
    is_any_of,
    positions_from_first_token,
    replaced_token_detection_loss,
    seeded_uniform_numbers,
    where_true,
)
from .pairing_electra_rtd import pair_networks
from .unpadding_electra_rtd import PaddedBatch, UnpaddedBatch, attend_unpadded, find_joined, unclear


BOUNDARIES = ("cu_seq_lens_q", "cu_seq_lens_k", "seq_idx")  # of sequences that a collator joined to rows
INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
# The whole embedding block: Google's code builds the tables and the LayerNorm of both networks in one variable scope.
SHARED_EMBEDDINGS = [f"{table}_embeddings.weight" for table in ("word", "position", "token_type")]
SHARED_EMBEDDINGS += ["LayerNorm.weight", "LayerNorm.bias"]
# With "gdes" two tables, as in DeBERTaV3's code (microsoft/DeBERTa, rtd_task.py): each network has its own LayerNorm
# there, and segments are not trained.
DISENTANGLED_EMBEDDINGS = ("word_embeddings", "position_embeddings")


@dataclass
class ElectraRTDOutput(ModelOutput):
    """Output of [`ElectraRTDForPreTraining`]; losses in nats."""

    loss: torch.FloatTensor | None = None  # (): gen_weight * mlm_loss + disc_weight * disc_loss
    logits: torch.FloatTensor | None = None  # (B, L), the discriminator's: above 0 = replaced, 0 on padding
    mlm_loss: torch.FloatTensor | None = None  # (): the generator's cross-entropy, mean over masked tokens
    disc_loss: torch.FloatTensor | None = None  # (): binary cross-entropy, mean over attended tokens
    gen_acc: torch.FloatTensor | None = None  # (): share of masked tokens that are the generator's first choice
    disc_acc: torch.FloatTensor | None = None  # (): mean of the accuracies over masked and over unmasked tokens
    disc_labels: torch.LongTensor | None = None  # (B, L): 1 = replaced, 0 = original, -100 = no token
    disc_predictions: torch.LongTensor | None = None  # (B, L): 1 = replaced, 0 = original or no token
    masked_positions: torch.BoolTensor | None = None  # (B, L): where the generator had to predict
    masked_input_ids: torch.LongTensor | None = None  # (B, L): what the generator read
    disc_input_ids: torch.LongTensor | None = None  # (B, L): what the discriminator read
    hidden_states: tuple[torch.FloatTensor, ...] | None = None  # the discriminator's, on request
    attentions: tuple[torch.FloatTensor, ...] | None = None  # likewise


class DisentangledEmbedding(nn.Module):
    """A table of the discriminator: the generator's, without gradient, plus a delta of its own, which starts at zero.

    Source: He et al., "DeBERTaV3", https://arxiv.org/abs/2111.09543, section 3.3. The pair's weights hold the delta.
    Alone, the discriminator and its encoder save and load `weight`, the sum, as stock networks do.

    Args: shared (`ElectraEmbeddings`): the generator's; name (`str`): of the table in there.
    """

    def __init__(self, shared, name):
        super().__init__()
        self.shared, self.name = (shared,), name  # in a tuple: as a submodule, its weights would have two names
        self.num_embeddings, self.embedding_dim = self.table.weight.shape
        self.delta = nn.Parameter(torch.zeros_like(self.table.weight))  # (V, embedding_size)

    @property
    def table(self):
        """`nn.Embedding`: the generator's, whichever it has now."""
        return getattr(self.shared[0], self.name)

    @property
    def weight(self):
        """(V, embedding_size): what is read, made anew each time: `load_state_dict({"weight": ...})` changes it."""
        return self.table.weight.detach() + self.delta

    def forward(self, input_ids):
        """(..., L) to (..., L, embedding_size). The table is called, not read: FSDP gathers what is called."""
        delta = nn.functional.embedding(input_ids, self.delta, self.table.padding_idx)
        return self.table(input_ids).detach() + delta

    def resize(self):
        """Follow the generator's table: new rows start with a delta of zero."""
        more = self.table.num_embeddings - self.num_embeddings
        if more:
            self.num_embeddings += more
            self.delta = nn.Parameter(nn.functional.pad(self.delta.data, (0, 0, 0, more)), self.delta.requires_grad)
        return self

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        if "discriminator." in prefix:
            return super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}weight"] = self.weight if keep_vars else self.weight.detach()

    def _load_from_state_dict(self, state_dict, prefix, *args):
        if f"{prefix}weight" in state_dict:
            state_dict[f"{prefix}delta"] = state_dict.pop(f"{prefix}weight") - self.table.weight.detach()
        super()._load_from_state_dict(state_dict, prefix, *args)


class ElectraRTDForPreTraining(PreTrainedModel):
    """Generator and discriminator of ELECTRA, trained together (paper, section 2), of an [`ElectraRTDConfig`].

    Both are stock classes: `model.discriminator.save_pretrained(folder)` writes a stock checkpoint.
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
            names = [f".electra.embeddings.{name}" for name in SHARED_EMBEDDINGS]
            self._tied_weights_keys = {f"discriminator{name}": f"generator{name}" for name in names}
        for name in DISENTANGLED_EMBEDDINGS if config.embedding_sharing == "gdes" else ():
            table = DisentangledEmbedding(self.generator.electra.embeddings, name)
            setattr(self.discriminator.electra.embeddings, name, table)
        self.post_init()
        self.unseen_labels = 3  # batches whose labels are looked at on an accelerator
        self.generator_alone = False  # in training: whoever sets it does without the discriminator

    @classmethod
    def from_generator_discriminator_pretrained(cls, generator, discriminator, *, tokenizer=None, **config_overrides):
        """Join two pretrained networks, as `EncoderDecoderModel.from_encoder_decoder_pretrained` does.

        Args:
            generator (`str`, path, `ElectraForMaskedLM` or `BertForMaskedLM`): a folder, a Hub id, or a loaded model.
            discriminator (`str`, path or `ElectraForPreTraining`): likewise.
            tokenizer (`PreTrainedTokenizerBase`, *optional*): gives the special ids; by default the one beside the
                discriminator, or else the generator, where these are checkpoints.
            **config_overrides: fields of [`ElectraRTDConfig`]. With `generator_` or `discriminator_` before it, an
                argument of that network's `from_pretrained` (`discriminator_revision="..."`), or to take its first
                layers alone (`generator_num_hidden_layers=4`).

        Returns: [`ElectraRTDForPreTraining`], in eval mode. Raises: ValueError: the two have different vocabularies, a
        checkpoint lacks weights that its network needs, or the tokenizer has no mask token.
        """
        generator, discriminator, fields = pair_networks(generator, discriminator, tokenizer, config_overrides)
        model = cls(cls.config_class(generator.config, discriminator.config, **fields))
        model.generator.load_state_dict(generator.state_dict())
        # Second, so that tied embeddings hold the discriminator's values: its encoder is what users keep.
        model.discriminator.load_state_dict(discriminator.state_dict())
        return model.eval()

    @classmethod
    def from_discriminator_pretrained(cls, discriminator, *, tokenizer=None, generator_layers=None, **overrides):
        """Make a pair of a discriminator whose generator was never published: cut one from its first layers.

        That has a copy of the embeddings, and a new head drawn from torch's global generator: it has to learn first.

        Args:
            discriminator, tokenizer, **overrides: as above, but `embedding_sharing` is `"tied"` by default.
            generator_layers (`int`, *optional*): by default a third of the discriminator's, and at least two.

        Returns: [`ElectraRTDForPreTraining`], in eval mode
        """
        overrides = {"embedding_sharing": "tied", **overrides, "generator_layers": generator_layers}
        return cls.from_generator_discriminator_pretrained(None, discriminator, tokenizer=tokenizer, **overrides)

    @can_return_tuple
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
            input_ids (`torch.LongTensor` of shape `(B, L)`): original tokens; here and below, integers of any width.
            attention_mask (`torch.Tensor` of shape `(B, L)`, *optional*): 1 = token, 0 = padding, of any type. By
                default every token counts that is not `config.pad_token_id`.
            token_type_ids (`torch.LongTensor` of shape `(B, L)`, *optional*): segments, as in ELECTRA.
            position_ids (`torch.LongTensor` of shape `(B, L)`, *optional*): by default they count from a sequence's
                first token, so that padding on the left changes nothing.
            output_hidden_states, output_attentions (`bool`, *optional*): return the discriminator's.
            return_loss (`bool`): `False`: without the losses. return_dict (`bool`, by keyword): `False`: a tuple.
            labels (`torch.LongTensor` of shape `(B, L)`, *optional*, by keyword): from a masked language modelling
                collator: original ids where it masked, -100 elsewhere. Its masking is kept.
            cu_seq_lens_q (`torch.LongTensor` of shape `(sequences + 1,)`, *optional*, by keyword): where the sequences
                of one row end, as `DataCollatorWithFlattening` returns it. It, or positions that start again at 0,
                without an `attention_mask`, say that rows are sequences one after another: each is read alone, and
                what is returned is of the rows' shape (but attentions, of each sequence).

        Returns: [`ElectraRTDOutput`] or `tuple`. Raises: ValueError: wrong types or shapes, an empty batch, joined
        sequences where it is not clear where each begins, labels that hide nothing, unset `mask_token_id`; on the CPU
        also ids outside the vocabulary and other values in the mask.
        """
        config = self.config
        input_ids, token_type_ids = as_int64("input_ids", input_ids), as_int64("token_type_ids", token_type_ids)
        position_ids, labels = as_int64("position_ids", position_ids), as_int64("labels", kwargs.get("labels"))
        check_shapes(input_ids, attention_mask, token_type_ids, position_ids, labels)
        hidden_states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        attentions = config.output_attentions if output_attentions is None else output_attentions
        # What a masking collator hid stands in its labels.
        original_ids = input_ids if labels is None else torch.where(labels != NOT_A_LABEL, labels, input_ids)  # (B, L)
        attended = self._attended(original_ids, attention_mask)  # (B, L)

        # Sequences joined to rows are read as the padded batch that they are.
        boundaries = {name: as_int64(name, kwargs[name]) for name in BOUNDARIES if kwargs.get(name) is not None}
        if attention_mask is not None and boundaries:
            raise unclear("`attention_mask` says that each row is one sequence")
        if attention_mask is None and (boundaries or position_ids is not None):
            joined = find_joined(attended, position_ids, boundaries)
            if joined is not None:
                *batch, labels = map(joined.split, (input_ids, attended, token_type_ids, labels))  # (B, L) each
                if labels is not None and not ((labels != batch[0]) & batch[1])[:, 1:].any():
                    labels = None  # they repeat all tokens but each first one: nothing is hidden
                options = hidden_states, attentions, return_loss
                output = self.forward(*batch, None, *options, return_dict=True, labels=labels)
                for name in output.keys() - {"attentions"}:
                    output[name] = joined.join(output[name])
                return output

        self._check_inputs(input_ids, attention_mask, token_type_ids, position_ids, labels)
        uniform = self._uniform_numbers(original_ids, attended)
        if position_ids is None:
            position_ids = positions_from_first_token(attended)  # (B, L)

        # Mask, or keep the collator's masking.
        if labels is None:
            candidates = attended & ~is_any_of(original_ids, config.special_token_ids)  # (B, L)
            continues = None
            if config.mask_whole_words:
                config.check_fields()  # they may have been set since the last step
                table = continuation_table(config.continuation_tokens, config.vocab_size, original_ids.device)  # (V,)
                continues = table[original_ids]  # (B, L)
            masked_positions = choose_masked_positions(candidates, config.mask_prob, uniform(POSITION), continues)
            masked_input_ids = hide_tokens(original_ids, masked_positions, config, uniform)  # (B, L)
        else:
            masked_positions, masked_input_ids = (labels != NOT_A_LABEL) & attended, input_ids  # (B, L) each
        # The one time that an accelerator is waited for; a recorded graph must not hold these numbers.
        is_recorded = torch.compiler.is_compiling() or torch.jit.is_tracing()
        counts = None if is_recorded else torch.stack([attended.sum(), masked_positions.sum()]).tolist()
        layout = self._layout(attended, position_ids.expand_as(attended), counts, hidden_states or attentions)
        masked = where_true(masked_positions, counts and counts[1])  # (M,)

        # Generate and sample: logits over the vocabulary exist at masked positions only, a few of them at a time.
        inputs = layout.inputs(masked_input_ids, token_type_ids, self.generator.config)
        learns = torch.is_grad_enabled()  # and a loss of weight 0 needs no gradient
        with torch.set_grad_enabled(learns and config.gen_weight > 0):
            hidden = layout.at(masked, self.generator.electra(**inputs)[0])  # (M, H)
            originals, numbers = original_ids.flatten()[masked], uniform(SAMPLE).flatten()[masked]  # (M,) each
            mlm_loss, gen_acc, sampled_ids = generate(self.generator, hidden, originals, config, numbers)

        # Discriminate. A sample that equals the original counts as original, unless `exclude_original`.
        disc_input_ids = original_ids.flatten().index_copy(0, masked, sampled_ids).view_as(original_ids)  # (B, L)
        disc_labels = (disc_input_ids != original_ids).long().masked_fill(~attended, NOT_A_LABEL)  # (B, L)
        known = {"gen_acc": gen_acc, "disc_labels": disc_labels, "masked_positions": masked_positions}
        if self.generator_alone and self.training:
            return ElectraRTDOutput(loss=config.gen_weight * mlm_loss, mlm_loss=mlm_loss, **known)
        inputs = layout.inputs(disc_input_ids, token_type_ids, self.discriminator.config)
        with torch.set_grad_enabled(learns if config.disc_weight > 0 else False):  # no float that is traced
            asked = {"output_hidden_states": hidden_states, "output_attentions": attentions}
            discriminated = self.discriminator(**inputs, **asked)
        # What stands in padding makes no difference to anybody, so its logits say nothing.
        logits = layout.padded(discriminated.logits).masked_fill(~attended, 0.0)  # (B, L)
        disc_predictions = (logits > 0).long()  # (B, L)

        disc_loss = replaced_token_detection_loss(logits, disc_labels, attended)
        loss = config.gen_weight * mlm_loss + config.disc_weight * disc_loss
        losses = {"loss": loss, "mlm_loss": mlm_loss, "disc_loss": disc_loss} if return_loss else {}
        return ElectraRTDOutput(
            **losses,
            **known,
            logits=logits,
            disc_acc=detection_accuracy(disc_predictions == disc_labels, masked_positions, attended),
            disc_predictions=disc_predictions,
            masked_input_ids=masked_input_ids,
            disc_input_ids=disc_input_ids,
            hidden_states=discriminated.hidden_states,
            attentions=discriminated.attentions,
        )

    def save_pretrained(self, save_directory, is_main_process=True, **kwargs):
        """Save as any model; arguments as in `PreTrainedModel`."""
        # In training the Trainer pushes weights and configuration of its folder `checkpoint-500` from the folder above
        # that (`hub_strategy="every_save"` and others), but no code files: they are put there too.
        super().save_pretrained(save_directory, is_main_process=is_main_process, **kwargs)
        folder = Path(save_directory)
        if is_main_process and re.fullmatch(r"checkpoint-\d+", folder.name):
            custom_object_save(self, folder.parent, config=self.config)

    def get_input_embeddings(self):
        """`nn.Embedding` of shape `(V, embedding_size)`, or as one: the discriminator's word embeddings."""
        return self.discriminator.get_input_embeddings()

    def set_input_embeddings(self, value):
        """Set the discriminator's word embeddings (an `nn.Embedding`), and the generator's where they are tied."""
        if self.config.embedding_sharing == "gdes":
            return self.get_input_embeddings().load_state_dict({"weight": value.weight})
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
        elif self.config.embedding_sharing == "gdes":
            resized = self.get_input_embeddings().resize()
        else:
            resized = self.discriminator.resize_token_embeddings(*arguments)
        self.config.vocab_size = self.vocab_size = resized.num_embeddings  # both, as the base class does
        self.tie_weights()
        return self.get_input_embeddings()

    def initialize_weights(self):
        """Initialise what was not loaded; a delta, which stock ELECTRA does not know, with zeros."""
        for module in self.modules():
            is_loaded = any(getattr(part, "_is_hf_initialized", False) for part in (module, *module.parameters(False)))
            if isinstance(module, DisentangledEmbedding) and not is_loaded:
                module.delta.data.zero_()
        super().initialize_weights()

    def tie_weights(self, missing_keys=None, **kwargs):
        """Tie as the base class does, in release 5.3 too."""
        # That one takes tied weights of a model with code of its own for loaded, and leaves them on the meta device.
        # Elsewhere, what is on the meta device is among the missing keys already.
        if missing_keys is not None:  # while loading, from release 5 on
            missing_keys |= {name for name in self.all_tied_weights_keys if self.get_parameter(name).is_meta}
            kwargs["missing_keys"] = missing_keys
        super().tie_weights(**kwargs)
        # A file holds them once, under their first name: a Trainer that resumes must not miss the others.
        names, first_names = (dict(self.named_parameters(remove_duplicate=once)) for once in (False, True))
        self._keys_to_ignore_on_save = names.keys() - first_names.keys()

    def _tie_weights(self):
        # Called by `tie_weights` in releases before 5, whose base class cannot tie two weights by their names.
        for target, source in (self._tied_weights_keys or {}).items():
            module, name = target.rsplit(".", 1)
            setattr(self.get_submodule(module), name, self.get_parameter(source))

    def _attended(self, input_ids, attention_mask):
        if attention_mask is not None:
            return attention_mask == 1
        padding = self.config.pad_token_id
        return torch.ones_like(input_ids, dtype=torch.bool) if padding is None else input_ids != padding

    def _layout(self, attended, position_ids, counts, as_batch):
        """How the networks read the batch: without its padding wherever that is safe, and padded elsewhere.

        Padded: where a user asks for hidden states or attentions, which have the batch's shape; where a graph is
        recorded, whose shapes must not follow from the tokens; without any token; where attention has no other way.
        """
        if not as_batch and counts and counts[0] > 0 and attend_unpadded((self.generator, self.discriminator)):
            return UnpaddedBatch(attended, position_ids, counts[0])
        return PaddedBatch(attended, position_ids)

    def _uniform_numbers(self, original_ids, attended):
        """A function from a stream to uniform numbers in [0, 1), (B, L)."""
        if self.training:  # the global generator, which the Trainer's checkpoints save and restore
            return lambda stream: torch.rand(original_ids.shape, device=original_ids.device)
        return seeded_uniform_numbers(self.config.eval_seed, original_ids, attended)

    def _check_inputs(self, input_ids, attention_mask, token_type_ids, position_ids, labels):
        longest = self.config.max_position_embeddings
        if input_ids.shape[1] > longest:
            raise ValueError(
                f"The sequences have {input_ids.shape[1]} tokens, but `max_position_embeddings` is {longest}. "
                f"Truncate them: `tokenizer(..., truncation=True, max_length={longest})`."
            )
        if torch.compiler.is_compiling():  # values break a compiled graph
            return
        # Reading values makes an accelerator wait: there, the first labels are looked at, and nothing else.
        on_cpu = input_ids.device.type == "cpu"
        if on_cpu:
            self._check_values(input_ids, attention_mask, token_type_ids, position_ids, labels)
        if labels is not None and (on_cpu or self.unseen_labels > 0):
            self.unseen_labels -= 1
            self._check_labels(input_ids, attention_mask, labels)

    def _check_values(self, input_ids, attention_mask, token_type_ids, position_ids, labels):
        config = self.config
        _check_range("input_ids", input_ids, config.vocab_size, "Tokenize with the tokenizer of this checkpoint")
        types = max(config.generator_config.type_vocab_size, config.discriminator_config.type_vocab_size)
        _check_range("token_type_ids", token_type_ids, types, "`type_vocab_size` is the number of segments")
        _check_range("position_ids", position_ids, config.max_position_embeddings, "Truncate the sequences")
        shown = None if labels is None else labels[labels != NOT_A_LABEL]
        _check_range("labels", shown, config.vocab_size, "They are original token ids, or -100")
        if attention_mask is not None:
            odd = attention_mask[(attention_mask != 0) & (attention_mask != 1)]
            if len(odd):
                raise ValueError(f"`attention_mask` holds {odd[0]}: 1 is a token, and 0 padding.")
            if position_ids is not None and ((position_ids == 0) & (attention_mask == 1)).sum(dim=-1).max() > 1:
                raise unclear("`attention_mask` says that each row is one sequence")

    def _check_labels(self, input_ids, attention_mask, labels):
        # They repeat the input at most tokens, and there are many, or special ones. A few that repeat it are masked
        # tokens that the collator let stay, all by chance.
        attended = self._attended(input_ids, attention_mask)
        labelled = attended & (labels != NOT_A_LABEL)
        special = labelled & is_any_of(input_ids, self.config.special_token_ids)
        many = (labelled & ~special).sum() >= 8 or special.any()
        if many and 2 * labelled.sum() >= attended.sum() and (labels == input_ids)[labelled].all():
            raise ValueError(
                "`labels` repeat `input_ids`, as a collator for causal language modelling makes them: nothing is "
                "masked. Use `DataCollatorWithPadding(tokenizer)`, `DataCollatorWithFlattening()` with positions, or "
                "`DataCollatorForLanguageModeling(tokenizer, mlm=True)`."
            )


def check_shapes(input_ids, attention_mask, token_type_ids, position_ids, labels):
    """A ValueError names an argument of another shape than `input_ids`, (batch, length)."""
    if input_ids is None or input_ids.dim() != 2 or 0 in input_ids.shape:
        shape = None if input_ids is None else tuple(input_ids.shape)
        raise ValueError(f"`input_ids` has the shape {shape}: it must be (batch, length), neither of them 0.")
    shape, one_row = tuple(input_ids.shape), (1, input_ids.shape[1])
    named = {"attention_mask": attention_mask, "token_type_ids": token_type_ids, "labels": labels}
    for name, value in {**named, "position_ids": position_ids}.items():
        received = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
        if value is not None and received != shape and (name != "position_ids" or received != one_row):
            raise ValueError(
                f"`{name}` is {received}, but `input_ids` has the shape {shape}: it must be a tensor of that shape. "
                "Pass what tokenizer and collator return. `position_ids` may be (1, length) too; or leave them out. "
                "`labels` are for masked language modelling: remove the label column of a classification data set."
            )


def as_int64(name, value):
    """A tensor of integers of any width as int64; `None` stays as it is."""
    kind = value.dtype if isinstance(value, torch.Tensor) else type(value).__name__
    if value is not None and kind not in INTEGERS:
        raise ValueError(
            f'`{name}` is of type {kind}, not a tensor of integers: `tokenizer(..., return_tensors="pt")`.'
        )
    return None if value is None else value.long()


def _check_range(name, values, end, mend):
    if values is not None and values.numel() and (values.min() < 0 or values.max() >= end):
        raise ValueError(f"`{name}` holds {values.min()} to {values.max()}: allowed are 0 to {end - 1}. {mend}.")


__all__ = ["ElectraRTDForPreTraining", "ElectraRTDOutput"]
