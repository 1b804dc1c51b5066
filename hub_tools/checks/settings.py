"""Every setting that the configuration of a pair or of a stock network may hold, with its type and range.

This is a list of what is allowed: a value that is not in it makes networks that compute nothing, or something else in
another release, and a setting that is not in it may be one that a release obeys. It is read before any class is built.
"""

import inspect
import math
import reprlib
from collections.abc import Callable
from typing import Any, NamedTuple

from transformers import ElectraConfig

from ...configuration_electra_rtd import ElectraRTDConfig
from ..findings import ERROR, INFO, WARNING, Finding


LARGEST_VOCABULARY = 2_000_000  # tokens; the largest that are published have one million
MOST_SPECIAL_IDS = 10_000
LISTED = 5  # names in one message
MOST_LABELS = 100_000  # a configuration class makes up that many names
# Without weights of their own, and known to every release.
ACTIVATIONS = (
    "gelu",
    "gelu_10",
    "gelu_accurate",
    "gelu_fast",
    "gelu_new",
    "gelu_python",
    "gelu_pytorch_tanh",
    "laplace",
    "leaky_relu",
    "linear",
    "mish",
    "quick_gelu",
    "relu",
    "relu2",
    "relu6",
    "sigmoid",
    "silu",
    "swish",
    "tanh",
)
DTYPES = (None, "float32", "float16", "bfloat16")  # releases before 5 load all of them as float32
PROBLEM_TYPES = (None, "regression", "single_label_classification", "multi_label_classification")
# Read while loading, whatever the caller said: some releases of the window take the first from a file (CVE-2026-4372).
ATTENTION_KEYS = (
    "_attn_implementation_internal",
    "_attn_implementation",
    "attn_implementation",
    "_experts_implementation_internal",
    "_experts_implementation",
    "experts_implementation",
)
# What is not a setting, but changes how the others are read, where from, or by whom. `attribute_map` gives any key
# another name, those above among them; `configuration_files` names the file that is read in place of `config.json`.
RESERVED_KEYS = (
    "attribute_map",
    "compression_config",
    "configuration_files",
    "custom_generate",
    "custom_pipelines",
    "quantization_config",
)
# What `check_configs` judges, at every depth and in every file.
JUDGED_ELSEWHERE = (*ATTENTION_KEYS, *RESERVED_KEYS, "auto_map", "transformers_weights", "trust_remote_code")
# How to write text, which no release reads for these networks; older ones put it into every configuration.
GENERATION = (
    "assistant_confidence_threshold",
    "assistant_lookbehind",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token_id",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "encoder_repetition_penalty",
    "eos_token_id",
    "epsilon_cutoff",
    "eta_cutoff",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "length_penalty",
    "max_length",
    "min_length",
    "no_repeat_ngram_size",
    "num_assistant_tokens",
    "num_assistant_tokens_schedule",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_scores",
    "prefix",
    "remove_invalid_values",
    "repetition_penalty",
    "return_dict_in_generate",
    "sep_token_id",
    "suppress_tokens",
    "target_lookbehind",
    "task_specific_params",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
    "use_cache",
)
# What some release looks for in any configuration, whether its class has such a setting or not.
OBEYED_SOMEWHERE = (
    "attention_chunk_size",
    "audio_config",
    "decoder",
    "device_map",
    "distributed_config",
    "encoder",
    "extra_config_files",
    "extra_files",
    "fusion_config",
    "generator",
    "gguf_file",
    "has_no_defaults_at_init",
    "is_causal",
    "is_composition",
    "layer_types",
    "mtp_layer_types",
    "mtp_per_layer_config",
    "num_mtp_layers",
    "per_layer_config",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "sliding_window",
    "text_config",
    "text_encoder",
    "tie_last_hidden_states",
    "tp_plan",
    "use_kernels",
    "use_safetensors",
    "vision_config",
)


class Setting(NamedTuple):
    """What one setting may be.

    Args:
        allowed (`str`): in words.
        allows (callable): whether it allows a value of a JSON file.
    """

    allowed: str
    allows: Callable[[Any], bool]


def _whole(low, high):
    return Setting(f"a whole number from {low} to {high}", lambda value: type(value) is int and low <= value <= high)


def _real(low, high):
    return Setting(
        f"a number from {low} to {high}",
        lambda value: type(value) in (int, float) and math.isfinite(value) and low <= value <= high,
    )


def _one_of(*values):
    words = " or ".join(map(repr, values))
    return Setting(words, lambda value: any(type(value) is type(one) and value == one for one in values))


def _of_type(words, *types):
    return Setting(words, lambda value: type(value) in types)


def _optional(setting):
    return Setting(f"{setting.allowed}, or null", lambda value: value is None or setting.allows(value))


def _table(most):
    return Setting(f"a table of at most {most} rows", lambda value: type(value) is dict and len(value) <= most)


def _names():
    def allows(value):
        return type(value) is list and len(value) <= 100 and all(type(name) is str for name in value)

    return Setting("a list of names", allows)


SWITCH = _of_type("true or false", bool)
TEXT = _of_type("text", str)
ANYTHING = Setting("anything", lambda value: True)  # nobody reads it, the class checks it, or it is judged elsewhere
# Of every configuration; earlier releases wrote more of them than later ones.
COMMON = {
    **dict.fromkeys((*JUDGED_ELSEWHERE, *GENERATION), ANYTHING),
    "model_type": TEXT,
    "architectures": _optional(_names()),
    "dtype": _one_of(*DTYPES),
    "torch_dtype": _one_of(*DTYPES),
    "tie_word_embeddings": SWITCH,
    "output_hidden_states": SWITCH,
    "output_attentions": SWITCH,
    "gradient_checkpointing": SWITCH,
    "tf_legacy_loss": SWITCH,
    # With another value the network computes something else, or some release builds it in another way.
    "return_dict": _one_of(True),
    "is_decoder": _one_of(False),
    "is_encoder_decoder": _one_of(False),
    "add_cross_attention": _one_of(False),
    "cross_attention_hidden_size": _one_of(None),
    "chunk_size_feed_forward": _one_of(0),
    "pruned_heads": _one_of({}, None),
    "tie_encoder_decoder": _one_of(False),
    "torchscript": _one_of(False),
    "use_bfloat16": _one_of(False),
    # Of other tasks, and notes.
    "id2label": _optional(_table(MOST_LABELS)),
    "label2id": _optional(_table(MOST_LABELS)),
    "num_labels": _optional(_whole(0, MOST_LABELS)),
    "_num_labels": _optional(_whole(0, MOST_LABELS)),
    "problem_type": _one_of(*PROBLEM_TYPES),
    "tokenizer_class": _optional(TEXT),
    "transformers_version": _optional(TEXT),
    "name_or_path": TEXT,
    "_name_or_path": TEXT,
}
PAIR = {
    **COMMON,
    **dict.fromkeys(set(inspect.signature(ElectraRTDConfig.__init__).parameters) - {"self", "kwargs"}, ANYTHING),
    "special_token_ids": Setting(
        f"a list of at most {MOST_SPECIAL_IDS} ids",
        lambda value: value is None or (type(value) is list and len(value) <= MOST_SPECIAL_IDS),
    ),
    "continuation_tokens": Setting(
        f"a hexadecimal number of at most {LARGEST_VOCABULARY // 4:,} digits, or null",
        lambda value: value is None or (type(value) is str and len(value) <= LARGEST_VOCABULARY // 4),
    ),
}
NETWORK = {
    **COMMON,
    "model_type": _one_of(ElectraConfig.model_type),
    "_commit_hash": ANYTHING,  # a note of the parent
    "vocab_size": _whole(1, LARGEST_VOCABULARY),
    "embedding_size": _whole(1, 2**16),
    "hidden_size": _whole(1, 2**16),
    "intermediate_size": _whole(1, 2**18),
    "num_hidden_layers": _whole(0, 256),
    "num_attention_heads": _whole(1, 1024),
    "max_position_embeddings": _whole(1, 2**20),
    "type_vocab_size": _whole(1, 2**16),
    "pad_token_id": _optional(_whole(0, LARGEST_VOCABULARY)),
    "hidden_act": _one_of(*ACTIVATIONS),
    "layer_norm_eps": Setting(
        "a number above 0, at most 0.01",
        lambda value: type(value) is float and 0 < value <= 0.01,  # releases from 5 refuse an int
    ),
    "initializer_range": _real(0, 10),
    "hidden_dropout_prob": _real(0, 1),
    "attention_probs_dropout_prob": _real(0, 1),
    "classifier_dropout": _optional(_real(0, 1)),
    "position_embedding_type": _one_of("absolute"),  # releases from 5 know no other
    "summary_type": TEXT,
    "summary_use_proj": SWITCH,
    "summary_activation": _optional(TEXT),
    "summary_last_dropout": _real(0, 1),
}


def check_settings(fields, path, *, network=False):
    """The settings of one configuration.

    Args:
        fields (`dict`): what the file holds.
        path (`str`): of the file.
        network (`bool`): a stock network's, not a pair's.

    Yields:
        [`Finding`]
    """
    tables = [("", fields, NETWORK, ElectraConfig)] if network else [("", fields, PAIR, ElectraRTDConfig)]
    if not network:
        parts = ("generator_config", "discriminator_config")
        tables += [
            (f"{part}.", fields[part], NETWORK, ElectraConfig) for part in parts if type(fields.get(part)) is dict
        ]
    wrong: list[str] = []
    for where, settings, allowed, config_class in tables:
        unknown = []
        for name, value in settings.items():
            if name in allowed:
                if not allowed[name].allows(value):
                    wrong.append(f"`{where}{name}` is {reprlib.repr(value)}: it must be {allowed[name].allowed}")
            elif name in OBEYED_SOMEWHERE or name.startswith("_") or hasattr(config_class, name):
                wrong.append(f"`{where}{name}` is no setting of this network: remove it")
            else:
                unknown.append(f"`{where}{reprlib.repr(name)[1:-1]}`")
        if unknown:
            yield Finding(
                INFO if allowed is NETWORK else WARNING,
                "unknown-setting",
                path,
                f"{some(unknown)}: nobody reads that. Is it a typing error?",
            )
    if wrong:
        yield Finding(ERROR, "config-invalid", path, f"{some(wrong, '; ')}.")


def some(names, separator=", "):
    """`str`: the first of the names, and how many more there are."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return separator.join(names[:LISTED]) + more
