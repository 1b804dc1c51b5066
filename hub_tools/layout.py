"""What a checkpoint folder looks like, by the names of its files (POSIX paths relative to the folder)."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from huggingface_hub.utils.sha import git_hash, sha_fileobj


CONFIG = "config.json"
WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
CODE = ("configuration_electra_rtd.py", "modeling_electra_rtd.py")
TOKENIZER_CONFIG = "tokenizer_config.json"
TOKENIZER = (
    "tokenizer.json",
    TOKENIZER_CONFIG,
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
)
CARD = "README.md"
CURVES = "losses.png"
LOCK = "electra_rtd.lock.json"
EXPORTS = ("discriminator", "generator")
# Files of a Trainer: states to resume from, and the arguments, which it pushes beside the weights.
TRAINER_STATE = re.compile(r"(optimizer|scheduler|scaler|rng_state\w*)\.(pt|pth|bin)")
TRAINING_ARGS = "training_args.bin"
# What `torch.load` and others read by running it.
# The last two are of distributed checkpoints, whose `.metadata` is a pickle without another name.
PICKLE_SUFFIXES = (
    ".bin",
    ".pt",
    ".pth",
    ".ckpt",
    ".pkl",
    ".pickle",
    ".joblib",
    ".dill",
    ".mar",
    ".nemo",
    ".distcp",
    ".metadata",
)
PICKLE_INDEX = re.compile(r".*\.(bin|pt|pth)\.index(\..+)?\.json")  # names pickles, under whatever names
SAFETENSORS_INDEX = re.compile(r".*\.safetensors\.index(\..+)?\.json")
# Weights of other libraries: nobody here reads them, so nobody has compared them. Keras' own can hold code.
OTHER_WEIGHTS_SUFFIXES = (".h5", ".keras", ".pb", ".msgpack", ".onnx", ".gguf", ".tflite", ".npz", ".npy")
# A clone, and the notes that `huggingface_hub` keeps beside what it downloads.
BOOKKEEPING = (".git", ".cache")


def is_model_file(name):
    """Whether a file of a folder belongs to the model itself: weights, configuration, code."""
    return name in (CONFIG, WEIGHTS, WEIGHTS_INDEX, *CODE) or bool(SHARD.fullmatch(name))


def is_ours(name):
    """Whether a push decides about this file of a repository: the rest of it belongs to people.

    Weights of every format count, in the root and in an export: those of an earlier state must not stay beside the
    new ones.
    """
    parts = PurePosixPath(name).parts
    if len(parts) == 2 and parts[0] in EXPORTS:
        name = parts[1]
    elif len(parts) != 1:
        return False
    return is_model_file(name) or name in TOKENIZER or name == CURVES or _is_weights(name)


def _is_weights(name):
    is_named_so = bool(re.match(r"(pytorch_model|tf_model|flax_model|model)\b", name))
    formats = (".safetensors", *PICKLE_SUFFIXES, *OTHER_WEIGHTS_SUFFIXES)
    is_index = bool(SAFETENSORS_INDEX.fullmatch(name) or PICKLE_INDEX.fullmatch(name))
    return is_named_so and (is_index or name.endswith(formats))


def is_pickle(name):
    """Whether reading the file, or those that it names, would run them, by its name."""
    name = name.lower()
    return name.endswith(PICKLE_SUFFIXES) or bool(PICKLE_INDEX.fullmatch(name))


def list_files(folder):
    """Every file below a folder.

    Args:
        folder (`Path`)

    Returns:
        `list[str]`: sorted; links to folders are listed and not followed.
    """
    names = []
    for root, folders, files in os.walk(folder):
        here = Path(root).relative_to(folder)
        if here == Path("."):
            folders[:] = [name for name in folders if name not in BOOKKEEPING]
        linked = [name for name in folders if (Path(root) / name).is_symlink()]
        names += [(here / name).as_posix() for name in [*files, *linked]]
    return sorted(names)


def sha256(path):
    """`str`: the SHA-256 of a file, in hexadecimal digits: how the Hub names large files."""
    with open(path, "rb") as file:
        return sha_fileobj(file).hex()


def git_blob_sha1(path):
    """`str`: what git calls a file's content, in hexadecimal digits: how the Hub names small files."""
    return git_hash(Path(path).read_bytes())


@dataclass(frozen=True)
class CheckpointFiles:
    """The files of one checkpoint, as the checks see them.

    Args:
        folder (`Path`)
        names (`list[str]`): relative to it; of a repository also those that were not downloaded.
        source (`str`): the folder or the repository, as its owner calls it.
    """

    folder: Path
    names: list[str]
    source: str

    def path(self, name):
        """`Path` of a file."""
        return self.folder / name

    def is_here(self, name):
        """Whether the checkpoint has this file, and its content is here to be read."""
        return name in self.names and self.path(name).is_file()

    def read_json(self, name):
        """What a JSON file holds.

        Raises:
            ValueError: it is not JSON.
        """
        try:
            return json.loads(self.path(name).read_text(encoding="utf-8"))
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
