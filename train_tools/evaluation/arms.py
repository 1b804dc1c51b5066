"""The arms of an evaluation: encoders with their tokenizers, each ready for a head that the seed alone decides."""

import copy
import hashlib
import inspect
import json

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoModelForTokenClassification

from ...configuration_electra_rtd import ElectraRTDConfig
from ...hub_tools.loading import load_pair, load_tokenizer, open_tokenizer
from ...hub_tools.quiet import quiet
from ...hub_tools.sharing import stock_discriminator
from .layer_rates import encoder_layers


RANDOM = "random:"
LARGE_LAYERS, LARGE_WIDTH = 24, 1024  # what one of these is true of is large, in ELECTRA's sizes
HEAD_SCALE = 0.02  # what ELECTRA and BERT start with
# Of a configuration: where it came from and who wrote it, not what the encoder computes.
NOT_COMPUTED = ("_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version")


class Arm:
    """An encoder in float32 and its tokenizer.

    Args:
        name (`str`), path (`str`): as given; `random:PATH` has the weights of no training.
        encoder (`PreTrainedModel`): without head.
        new (`set[str]`): parameters of the encoder that its checkpoint lacks, a pooler: drawn anew with each head.
        tokenizer (`PreTrainedTokenizerFast`)

    Attributes:
        fingerprint (`str`): of everything that a result depends on: weights, configuration, tokenizer.
        tokenizer_fingerprint (`str`)
        is_random (`bool`)
    """

    def __init__(self, name, path, encoder, tokenizer, new=frozenset()):
        self.name, self.path = name, path
        self.tokenizer = tokenizer
        self.is_random = path.startswith(RANDOM)
        self.tokenizer_fingerprint = _hash_tokenizer(tokenizer)
        self._encoder = encoder.float().eval()
        self._new = frozenset(new)
        self._templates: dict[tuple, nn.Module] = {}
        self.fingerprint = self._hash()

    @property
    def config(self):
        """`PretrainedConfig` of the encoder."""
        return self._encoder.config

    @property
    def is_large(self):
        """Whether ELECTRA's recipe for large models is meant: `bool`."""
        return self.config.num_hidden_layers >= LARGE_LAYERS or self.config.hidden_size >= LARGE_WIDTH

    @property
    def size(self):
        """Weights that every token meets, in millions: `float`. What a row costs goes with it."""
        embedded = sum(one.weight.numel() for one in self._encoder.modules() if isinstance(one, nn.Embedding))
        return (sum(one.numel() for one in self._encoder.parameters()) - embedded) / 1e6

    @property
    def longest(self):
        """Tokens that the encoder reads at most: `int`."""
        known = [self.tokenizer.model_max_length, getattr(self.config, "max_position_embeddings", None)]
        return min(number for number in known if number)

    @property
    def takes_token_types(self):
        """Whether the encoder reads which of two texts a token is of: `bool`."""
        of_two = getattr(self.config, "type_vocab_size", 0) > 1  # RoBERTa has one type, ModernBERT none
        return of_two and "token_type_ids" in inspect.signature(self._encoder.forward).parameters

    def encoder(self, seed=0):
        """The encoder without head, not to be trained: `PreTrainedModel` in eval mode.

        Args:
            seed (`int`): of the weights of a random arm; those of others are always the same.
        """
        if not self.is_random:
            return self._encoder
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return AutoModel.from_config(self.config).float().eval()

    def model(self, kind, classes, seed):
        """The encoder with a new head, for one fine-tuning.

        All that is new is drawn from the seed and its own name alone: arms whose heads have the same shapes get the
        same numbers, whatever was loaded or drawn before.

        Args:
            kind (`str`): of the task, one of `labels.KINDS`.
            classes (`int`): how many; of no meaning for `"regression"`.
            seed (`int`)

        Returns:
            `PreTrainedModel` for sequence or token classification
        """
        outputs = 1 if kind == "regression" else classes
        key = kind == "tokens", outputs
        if key not in self._templates:
            self._templates[key] = self._template(kind, outputs)
        model = copy.deepcopy(self._templates[key])
        if self.is_random:
            _take_weights(model.base_model, self.encoder(seed))
        prefix = f"{model.base_model_prefix}."
        kept = {f"{prefix}{name}" for name in self._encoder.state_dict() if name not in self._new}
        _draw(model, seed, lambda name: name not in kept)
        return model

    def _template(self, kind, outputs):
        config = copy.deepcopy(self.config)
        config.num_labels = outputs
        config.problem_type = "regression" if kind == "regression" else "single_label_classification"
        auto = AutoModelForTokenClassification if kind == "tokens" else AutoModelForSequenceClassification
        try:
            with torch.random.fork_rng(devices=[]), quiet():
                model = auto.from_config(config)
        except ValueError as error:
            raise ValueError(f"The arm {self.name} ({self.path}): {_first_line(error)}") from error
        _take_weights(model.base_model, self._encoder)
        return model.float()

    def _hash(self):
        digest = hashlib.sha256(self.tokenizer_fingerprint.encode())
        fields = {name: value for name, value in self.config.to_diff_dict().items() if name not in NOT_COMPUTED}
        digest.update(json.dumps([self.is_random, sorted(self._new), fields], sort_keys=True, default=str).encode())
        for name, tensor in sorted(self._encoder.state_dict().items()) if not self.is_random else ():
            if name not in self._new:
                digest.update(name.encode())
                digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def open_arm(name, path, *, tokenizer=None):
    """An arm from a checkpoint; no code of the checkpoint runs.

    Args:
        name (`str`): of the arm.
        path (`str`): of a pair, whose discriminator is taken, or of a stock encoder: a folder or a Hub id.
            `random:PATH` is the same network with random weights, drawn from the seed of each run.
        tokenizer (`str`, *optional*): where to find a tokenizer that is not beside the encoder.

    Returns:
        [`Arm`]

    Raises:
        ValueError: it is no encoder, lacks weights, or its tokenizer is missing or does not fit.
        OSError: there is nothing of that name.
    """
    is_random, source = path.startswith(RANDOM), path.removeprefix(RANDOM)
    try:
        encoder, new = load_encoder(source, is_random=is_random)
        encoder_layers(encoder)
        beside = tokenizer is None or open_tokenizer(source) is not None
        fitting = load_tokenizer(source if beside else tokenizer)
        if len(fitting) > encoder.config.vocab_size:
            raise ValueError(
                f"its tokenizer has {len(fitting)} tokens, the encoder {encoder.config.vocab_size}. Put the tokenizer "
                "beside it that it was trained with."
            )
    except ValueError as error:
        raise ValueError(f"The arm {name} ({path}): {error}") from error
    except OSError as error:
        raise OSError(f"The arm {name} ({path}): {error}") from error
    return Arm(name, path, encoder, fitting, new)


def load_encoder(source, *, is_random=False):
    """The encoder of a checkpoint; no code of the checkpoint runs.

    What `transformers` reports of weights that are left over or missing is an error here, where it matters.

    Args:
        source (`str`): a pair, whose discriminator is taken, or a stock encoder: a folder or a Hub id.
        is_random (`bool`): random weights in place of the checkpoint's own.

    Returns:
        `PreTrainedModel` in float32, without head, and `set[str]`: its parameters that the checkpoint lacks, a pooler.

    Raises:
        ValueError: it is no encoder, or its weights are not those of its configuration.
        OSError: there is nothing of that name.
    """
    try:
        with quiet():
            config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    except OSError as error:
        said = f"there is no folder with a checkpoint, and no Hub id that can be had: {_first_line(error)}"
        raise OSError(said) from error
    except ValueError as error:
        raise ValueError(f"it is of no type that this transformers knows: {_first_line(error)}") from error
    is_pair = isinstance(config, ElectraRTDConfig)
    if is_random:
        with torch.random.fork_rng(devices=[]):
            return AutoModel.from_config(config.discriminator_config if is_pair else config), set()
    if is_pair:
        with quiet():
            return stock_discriminator(load_pair(source, dtype=torch.float32)).electra, set()
    try:
        with quiet():
            encoder, info = AutoModel.from_pretrained(
                source, config=config, dtype=torch.float32, trust_remote_code=False, output_loading_info=True
            )
    except RuntimeError as error:  # weights of other shapes
        raise ValueError(f"its weights are not those of its config.json: {_first_line(error)}") from error
    new = {name for name in info["missing_keys"] if name.startswith("pooler.")}
    missing = sorted({*info["missing_keys"]} - new)
    left_over = sorted(name for name in info["unexpected_keys"] if ".layer." in f".{name}")
    for what, names in (("lacks", missing), ("holds, against its config.json,", left_over)):
        if names:
            raise ValueError(
                f"it {what} {len(names)} weights of {type(encoder).__name__} ({names[0]}, ...), so that a part of it "
                "would be random, or lost. Compare num_hidden_layers and the other sizes in its config.json with its "
                "weights."
            )
    return encoder, new


def _take_weights(network, encoder):
    """What both have: a head for tokens has no use for a pooler."""
    network.load_state_dict(encoder.state_dict(), strict=False)


@torch.no_grad()
def _draw(model, seed, is_new):
    for path, module in model.named_modules():
        is_norm = type(module).__name__.endswith("Norm")
        for name, parameter in module.named_parameters(prefix=path, recurse=False):
            place = name.removeprefix(f"{model.base_model_prefix}.")
            if not is_new(name):
                continue
            if parameter.dim() > 1:
                digest = hashlib.sha256(f"{seed} {place}".encode()).digest()
                generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
                parameter.copy_(HEAD_SCALE * torch.randn(parameter.shape, generator=generator))
            else:
                parameter.fill_(1.0 if is_norm and name.endswith("weight") else 0.0)


def _hash_tokenizer(tokenizer):
    fields = json.loads(tokenizer.backend_tokenizer.to_str())
    for name in ("truncation", "padding"):  # of its last call
        fields.pop(name, None)
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def _first_line(error):
    return (str(error).strip() or type(error).__name__).splitlines()[0]
