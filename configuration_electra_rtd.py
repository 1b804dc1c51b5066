# Copyright 2026 the electra-rtd authors. Licensed under the Apache License, Version 2.0.
"""What an ELECTRA pair is: two stock configurations and the settings of replaced token detection (RTD)."""

import copy
import re
from operator import attrgetter

from transformers import ElectraConfig, PretrainedConfig


# Each with the sizes that both networks need to have in common for it.
SIZES = ("embedding_size", "max_position_embeddings")
EMBEDDING_SHARING = {"none": (), "tied": (*SIZES, "type_vocab_size"), "gdes": SIZES}

# The code files travel with every checkpoint, so the rows name them and no repository. All are seeded here, because
# `register_for_auto_class` holds one auto class only: a second call overwrites the first.
AUTO_MAP = {
    "AutoConfig": "configuration_electra_rtd.ElectraRTDConfig",
    "AutoModel": "modeling_electra_rtd.ElectraRTDForPreTraining",
    "AutoModelForPreTraining": "modeling_electra_rtd.ElectraRTDForPreTraining",
}


class ElectraRTDConfig(PretrainedConfig):
    """Configuration of [`ElectraRTDForPreTraining`]: two networks and the objective (ELECTRA paper, section 2).

    Args:
        generator_config (`ElectraConfig`, `dict` or `None`): the generator; a stock `ElectraConfig()` by default.
        discriminator_config (`ElectraConfig`, `dict` or `None`): the discriminator; likewise.
        mask_prob (`float`): share of a sequence's candidate tokens that are masked, in (0, 1].
        replace_prob (`float`): chance that a masked token becomes `[MASK]` in the generator's input, in [0, 1].
        random_token_prob (`float`): chance that it becomes a random non-special token instead; the rest stays.
        sampling_temperature (`float`): softmax temperature of the generator's sampling, > 0.
        gen_weight, disc_weight (`float`): `loss = gen_weight * mlm_loss + disc_weight * disc_loss`, both >= 0.
        mask_token_id, pad_token_id (`int` or `None`): from the tokenizer; `None` means not known.
        special_token_ids (`list[int]`): ids that are never masked and never drawn as random tokens.
        embedding_sharing (`str`): `"none"`; `"tied"` to share every embedding weight (paper, section 3.2); `"gdes"`,
            where the discriminator reads the generator's, without gradient, plus a delta (DeBERTaV3, section 3.3).
        eval_seed (`int`): seeds the corruption in eval mode; its low 32 bits count.
        exclude_original (`bool`): a sample never equals the original (`disallow_correct` in Google's code).
        mask_whole_words (`bool`): mask all tokens of a word or none; `choose_masked_words` says how many words.
        continuation_tokens (`str` or `None`): for that, in hexadecimal: bit i is 1 where token i continues a word.

    Raises a ValueError where a field is out of range, or the two networks do not fit together.
    """

    model_type = "electra_rtd"
    sub_configs = {"generator_config": ElectraConfig, "discriminator_config": ElectraConfig}
    _auto_class = "AutoConfig"  # `save_pretrained` copies the code files of classes that carry this
    # What an evaluation loop need not gather: `logits` and `disc_labels` remain.
    keys_to_ignore_at_inference = ["mlm_loss", "disc_loss", "gen_acc", "disc_acc", "disc_predictions", "hidden_states"]
    keys_to_ignore_at_inference += ["attentions", "masked_positions", "masked_input_ids", "disc_input_ids"]

    def __init__(
        self,
        generator_config=None,
        discriminator_config=None,
        mask_prob=0.15,
        replace_prob=0.85,
        random_token_prob=0.0,
        sampling_temperature=1.0,
        gen_weight=1.0,
        disc_weight=50.0,
        mask_token_id=None,
        pad_token_id=None,
        special_token_ids=None,
        embedding_sharing="none",
        eval_seed=0,
        exclude_original=False,
        mask_whole_words=False,
        continuation_tokens=None,
        **kwargs,
    ):
        self.generator_config = _as_electra_config("generator_config", generator_config)
        self.discriminator_config = _as_electra_config("discriminator_config", discriminator_config)
        self.mask_prob = mask_prob
        self.replace_prob = replace_prob
        self.random_token_prob = random_token_prob
        self.sampling_temperature = sampling_temperature
        self.gen_weight = gen_weight
        self.disc_weight = disc_weight
        self.mask_token_id = mask_token_id
        self.special_token_ids = list(special_token_ids or [])
        self.embedding_sharing = embedding_sharing
        self.eval_seed = eval_seed
        self.exclude_original = exclude_original
        self.mask_whole_words = mask_whole_words
        self.continuation_tokens = continuation_tokens
        kwargs.setdefault("auto_map", dict(AUTO_MAP))
        # The generator's own configuration says whether its LM head is tied, `embedding_sharing` whether the networks
        # share; `transformers` looks at this flag of the outer model before it ties anything.
        kwargs.setdefault("tie_word_embeddings", True)
        super().__init__(pad_token_id=pad_token_id, **kwargs)
        self.pad_token_id = pad_token_id
        if pad_token_id is not None:  # stock ELECTRA takes id 0: elsewhere that would freeze a real token's embedding
            self.generator_config.pad_token_id = self.discriminator_config.pad_token_id = pad_token_id
        self.check_fields()

    @classmethod
    def from_generator_discriminator_configs(cls, generator_config, discriminator_config, **kwargs):
        """Join two `ElectraConfig`s, which are copied; kwargs: any field of [`ElectraRTDConfig`], which it returns."""
        return cls(generator_config=generator_config, discriminator_config=discriminator_config, **kwargs)

    @classmethod
    def from_dict(cls, config_dict, **kwargs):
        """Build from a file's fields, as any configuration, but for what they say of attention.

        That is the caller's to choose: releases up to 5.2 would fetch and run a kernel that a file names
        (CVE-2026-4372), and `attribute_map` can give that field another name. One network's fields are a ValueError.
        """
        model_type = config_dict.get("model_type", cls.model_type)
        if model_type != cls.model_type or ("hidden_size" in config_dict and "generator_config" not in config_dict):
            raise ValueError(
                f"This is the configuration of one network (model_type {model_type!r}), not of a pair "
                f"({cls.model_type!r}). A pair of stock checkpoints is built by "
                "`ElectraRTDForPreTraining.from_generator_discriminator_pretrained(generator, discriminator)`."
            )
        ignored = ("attribute_map", *(name for name in config_dict if "attn_implementation" in name))
        fields = {name: value for name, value in config_dict.items() if name not in ignored}
        return super().from_dict(fields, **kwargs)

    @property
    def vocab_size(self):
        """`int`: tokens in the vocabulary that both networks share; setting it sets both."""
        return self.discriminator_config.vocab_size

    @vocab_size.setter
    def vocab_size(self, value):
        self.generator_config.vocab_size = self.discriminator_config.vocab_size = value

    # The discriminator's, the network whose logits the model returns.
    hidden_size = property(attrgetter("discriminator_config.hidden_size"), doc="`int`: its width.")
    num_hidden_layers = property(attrgetter("discriminator_config.num_hidden_layers"), doc="`int`: its layers.")
    num_attention_heads = property(attrgetter("discriminator_config.num_attention_heads"), doc="`int`: its heads.")

    @property
    def max_position_embeddings(self):
        """`int`: the longest sequence, in tokens, that both networks can read."""
        return min(self.generator_config.max_position_embeddings, self.discriminator_config.max_position_embeddings)

    def save_pretrained(self, save_directory, push_to_hub=False, **kwargs):
        """Save as any configuration; `auto_map` names the code files saved beside it.

        Rows that a Hub repository held read `repo--file.Class`: the checkpoint would for ever fetch its code there.
        """
        self.auto_map = dict(AUTO_MAP)
        super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)

    def check_fields(self):
        """Check every field, alone and with the others: a ValueError names it, its value and what is allowed."""
        rest = f"a number in [0, 1 - replace_prob], here replace_prob={self.replace_prob}"
        temperature = "a finite number above 0; 1.0 samples from the generator's own distribution"
        self._check_number("mask_prob", "a number in (0, 1]", lambda value: 0 < value <= 1)
        self._check_number("replace_prob", "a number in [0, 1]", lambda value: 0 <= value <= 1)
        self._check_number("random_token_prob", rest, lambda value: 0 <= value <= 1 + 1e-9 - self.replace_prob)
        self._check_number("sampling_temperature", temperature, lambda value: 0 < value < float("inf"))
        for name in ("gen_weight", "disc_weight"):
            self._check_number(name, "a finite number >= 0", lambda value: 0 <= value < float("inf"))
        if isinstance(self.eval_seed, bool) or not isinstance(self.eval_seed, int):
            raise ValueError(f"`eval_seed` is {self.eval_seed!r}: it must be an integer.")
        if self.embedding_sharing not in list(EMBEDDING_SHARING):  # it may be of any type
            allowed = ", ".join(f'"{name}"' for name in EMBEDDING_SHARING)
            raise ValueError(f"`embedding_sharing` is {self.embedding_sharing!r}: choose one of {allowed}.")
        for name in ("exclude_original", "mask_whole_words"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"`{name}` is {getattr(self, name)!r}: it must be True or False.")
        if self.mask_whole_words and not re.fullmatch("[0-9a-f]+", str(self.continuation_tokens)):
            raise ValueError(
                f"`mask_whole_words` needs `continuation_tokens`, which is {self.continuation_tokens!r:.40}: take it "
                "from `continuation_tokens(tokenizer)` of `electra_rtd.hub_tools`."
            )
        self._check_networks()
        self._check_token_ids()

    def _check_number(self, name, allowed, is_allowed):
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not is_allowed(value):
            raise ValueError(f"`{name}` is {value!r}: it must be {allowed}.")

    def _check_networks(self):
        generator, discriminator = self.generator_config, self.discriminator_config
        if generator.vocab_size != discriminator.vocab_size:
            raise ValueError(
                f"Generator and discriminator have different vocabularies: {generator.vocab_size} and "
                f"{discriminator.vocab_size} tokens. The discriminator reads what the generator samples, so both need "
                "the same tokenizer: choose two checkpoints of one release."
            )
        for name in EMBEDDING_SHARING[self.embedding_sharing]:
            ours, theirs = getattr(generator, name), getattr(discriminator, name)
            if ours != theirs:
                raise ValueError(
                    f'`embedding_sharing="{self.embedding_sharing}"` needs embeddings of one shape, but `{name}` is '
                    f'{ours} in the generator and {theirs} in the discriminator. Make them equal, or take "none".'
                )

    def _check_token_ids(self):
        ids = {"mask_token_id": self.mask_token_id, "pad_token_id": self.pad_token_id}
        named = [(name, value) for name, value in ids.items() if value is not None]
        for name, value in [*named, *(("special_token_ids", value) for value in self.special_token_ids)]:
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < self.vocab_size:
                raise ValueError(
                    f"`{name}` holds {value!r}: it must be an id of the vocabulary, 0 to {self.vocab_size - 1}. "
                    "Take it from the tokenizer that the two networks were trained with."
                )


def _as_electra_config(name, value):
    if value is None or isinstance(value, dict):
        return ElectraConfig(**(value or {}))
    if isinstance(value, ElectraConfig):
        return copy.deepcopy(value)  # the caller's object stays as it is
    raise ValueError(f"`{name}` is a {type(value).__name__}: pass an `ElectraConfig`, a dict of its fields, or None.")


__all__ = ["ElectraRTDConfig"]
