"""What a checkpoint folder looks like, by the names of its files (POSIX paths relative to the folder)."""

import hashlib
import json
import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from huggingface_hub.utils.sha import git_hash, sha_fileobj

from .code_files import CODE as CODE  # a name of files, too
from .code_files import CODE_EVER as CODE_EVER


CONFIG = "config.json"
WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
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
# How much of what somebody else made is read. Far above what a checkpoint holds; what is beyond is refused unread.
MOST_FILES = 10_000
LARGEST_TEXT = 2 * 2**20  # bytes of a README
LARGEST_CODE = 2**19  # bytes of a code file: parsed, it is two hundred times as large
LARGEST_CONFIG = 4 * 2**20  # bytes of a JSON file in which every value is looked at
LARGEST_JSON = 64 * 2**20  # bytes of one that is data: a vocabulary, an index
MOST_SMALL = 16 * 2**20  # bytes of all READMEs, code files and configurations of a checkpoint together
BYTES_PER_VALUE = 16  # of the largest JSON: `[[],[],[],` would fill the memory with less
DEEPEST_JSON = 64  # objects and lists in each other
LONGEST_NAME, LONGEST_PART = 1024, 255  # bytes; the disks' own limits are about these
DATA_FILES = ("tokenizer.json", "vocab.json", "vocab.txt", "added_tokens.json", "trainer_state.json")
# A clone, and the notes that `huggingface_hub` keeps beside what it downloads.
BOOKKEEPING = (".git", ".cache")


def is_model_file(name):
    """Whether a file of a folder belongs to the model itself: weights, configuration, code of whatever release."""
    return name in (CONFIG, WEIGHTS, WEIGHTS_INDEX) or name in CODE_EVER or bool(SHARD.fullmatch(name))


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


def largest(name):
    """How many bytes of a file are read, by its name.

    Args:
        name (`str`): relative to the checkpoint.

    Returns:
        `int`, or `None` where nobody reads it as text
    """
    name = PurePosixPath(name).name.lower()
    if name in DATA_FILES or SAFETENSORS_INDEX.fullmatch(name):
        return LARGEST_JSON
    for suffix, bound in ((".json", LARGEST_CONFIG), (".py", LARGEST_CODE), (".md", LARGEST_TEXT)):
        if name.endswith(suffix):
            return bound
    return None


def read_bytes(path, bound):
    """A file's content, where it is not too large; nothing is read of one that is.

    Args:
        path (`Path`)
        bound (`int`): bytes.

    Returns:
        `bytes`

    Raises:
        ValueError: it is larger, or no file.
    """
    if not path.is_file():  # a pipe would be waited for without an end
        raise ValueError("it is no file")
    size = path.stat().st_size
    if size > bound:
        raise ValueError(f"it has {size:,} bytes, and at most {bound:,} are read of such a file")
    with open(path, "rb") as file:
        return file.read(bound)


def read_json(path, bound=LARGEST_CONFIG):
    """What a JSON file holds, where its size, its number of values and its depth are bounded.

    Args:
        path (`Path`)
        bound (`int`): bytes.

    Returns:
        what stands in it

    Raises:
        ValueError: it is not JSON, or beyond the bounds.
        OSError: it cannot be read.
    """
    data = read_bytes(path, bound)
    values = sum(map(data.count, (b",", b":", b"[", b"{")))
    if values > bound // BYTES_PER_VALUE:
        raise ValueError(f"it holds about {values:,} values, and at most {bound // BYTES_PER_VALUE:,} are read")
    try:
        content = json.loads(data.decode("utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if _is_deeper(content, DEEPEST_JSON):
        raise ValueError(f"it is nested too deeply: at most {DEEPEST_JSON} objects and lists in each other are read")
    return content


def _is_deeper(content, most):
    level = [content]
    for _ in range(most):
        level = [
            inner
            for value in level
            if isinstance(value, (dict, list))
            for inner in (value.values() if isinstance(value, dict) else value)
            if isinstance(inner, (dict, list))
        ]
    return bool(level)


def outside_links(folder, names):
    """Links of a folder that lead out of it: whoever publishes them publishes something else.

    The cache of `huggingface_hub` is a folder of links, too, into `blobs/` beside its `snapshots/`.

    Args:
        folder (`Path`)
        names (iterable of `str`): files, relative to it.

    Returns:
        `list[str]`
    """
    root = Path(os.path.realpath(folder))
    roots = [root, *(place.parent / "blobs" for place in (root, *root.parents) if place.name == "snapshots")]
    linked = (name for name in names if not _is_below(os.path.realpath(root / name), roots))
    return sorted(linked)


def _is_below(path, roots):
    return any(Path(path).is_relative_to(root) for root in roots)


def list_files(folder):
    """Every file below a folder.

    Args:
        folder (`Path`)

    Returns:
        `list[str]`: sorted; links to folders are listed and not followed. The search ends at one more than
            `MOST_FILES`.
    """
    names: list[str] = []
    for root, folders, files in os.walk(folder):
        here = Path(root).relative_to(folder)
        if here == Path("."):
            folders[:] = [name for name in folders if name not in BOOKKEEPING]
        linked = [name for name in folders if (Path(root) / name).is_symlink()]
        names += [(here / name).as_posix() for name in [*files, *linked]]
        if len(names) > MOST_FILES:
            return sorted(names[: MOST_FILES + 1])
    return sorted(names)


def sha256(path):
    """`str`: the SHA-256 of a file, in hexadecimal digits: how the Hub names large files."""
    with open(path, "rb") as file:
        return sha_fileobj(file).hex()


def weights_digest(folder):
    """What the weights in a folder, not in those below it, are called where something is said about just them.

    Args:
        folder (`Path`)

    Returns:
        `str`: 16 hexadecimal digits
    """
    files = [path for path in sorted(folder.iterdir()) if path.name.endswith(".safetensors")]
    digests = "".join(map(sha256, files))
    return digests[:16] if len(files) == 1 else hashlib.sha256(digests.encode()).hexdigest()[:16]


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

    @cached_property
    def _names(self):
        return frozenset(self.names)

    def has(self, name):
        """Whether the checkpoint has a file of this name."""
        return name in self._names

    def path(self, name):
        """`Path` of a file."""
        return self.folder / name

    def is_here(self, name):
        """Whether the checkpoint has this file, and its content is here to be read."""
        return self.has(name) and self.path(name).is_file()

    @property
    def sizes(self):
        """`dict[str, int]`: bytes of each file that is here."""
        return {name: self.path(name).stat().st_size for name in self.names if self.path(name).is_file()}

    def read_json(self, name):
        """What a JSON file holds; its size, its number of values and its depth are bounded.

        Raises:
            ValueError: it is not JSON, or beyond the bounds.
        """
        return read_json(self.path(name), largest(name) or LARGEST_CONFIG)

    def read_bytes(self, name):
        """`bytes` of a file that is read as text, as far as [`largest`] allows.

        Raises:
            ValueError: it is larger.
        """
        return read_bytes(self.path(name), largest(name) or LARGEST_TEXT)
