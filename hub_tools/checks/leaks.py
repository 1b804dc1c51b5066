"""No file holds an access token: whoever reads a repository would have it."""

import re
import zlib
from pathlib import PurePosixPath

from .. import layout
from ..findings import ERROR, WARNING, Finding
from ..secrets import LONGEST, find_secret, saved_tokens
from .pickles import ZIP_START, open_archive


MOST_SEARCHED = 128 * 2**20  # bytes of one checkpoint, unpacked; its weights are not searched but for their header
PART = 2**20  # bytes that are searched at once
GZIP_START = b"\x1f\x8b"
TENSOR = re.compile(r".*/data/\d+")  # in a file of `torch.save`: numbers, as in the weights


def check_secrets(checkpoint, *tokens):
    """Every file: as it is, and unpacked where it is a zip archive (as `training_args.bin` is) or gzip.

    Args:
        checkpoint ([`CheckpointFiles`])
        *tokens (`str`): that are known, besides the saved one.

    Yields:
        [`Finding`]: none of them shows the secret
    """
    known, left = saved_tokens(*tokens), MOST_SEARCHED
    for name, _ in sorted(checkpoint.sizes.items(), key=lambda item: item[1]):  # small ones first: a large one ends it
        secret, read = _search(checkpoint.path(name), known, left)
        left -= read
        if secret:
            yield Finding(ERROR, "secret", name, f"holds {secret}, which is not shown here. {_remedy(name)}")
        if left <= 0:
            yield Finding(
                WARNING,
                "not-searched",
                name,
                f"here the search for access tokens ended, after {MOST_SEARCHED:,} bytes: files that are no part of a "
                "checkpoint belong elsewhere.",
            )
            return


def _remedy(name):
    if PurePosixPath(name).name == layout.TRAINING_ARGS:
        remove = "Delete the file: the model does not need it, and the Trainer writes its `hub_token` into it."
    else:
        remove = "Take it out."
    return (
        f"{remove} If anybody else may have seen the file, revoke the token where it was made "
        "(https://huggingface.co/settings/tokens): removing it from a repository leaves it in the history."
    )


def _search(path, tokens, most):
    """What kind of secret a file holds, and how many bytes were read."""
    read, tail = 0, b""
    for part in _parts(path):
        secret = find_secret(tail + part, tokens)
        read += len(part)
        if secret or read >= most:
            return secret, read
        tail = (tail + part)[-LONGEST:] if part else b""  # an empty part stands between two contents
    return "", read


def _parts(path):
    """A file's content in parts of an even size, an empty one between what does not belong together."""
    with open(path, "rb") as file:
        start = file.read(len(ZIP_START))
        file.seek(0)
        if path.name.endswith(".safetensors"):
            size = int.from_bytes(file.read(8), "little")
            yield file.read(min(size, layout.LARGEST_JSON))
            return
        if start == ZIP_START:
            try:
                yield from _parts_of_zip(file)
                return
            except Exception:  # damaged, encrypted, and whatever else readers raise at such files: as it is, then
                yield b""
                file.seek(0)
        elif start.startswith(GZIP_START):
            yield from _parts_of_gzip(file)
            return
        while part := file.read(PART):
            yield part


def _parts_of_zip(file):
    with open_archive(file) as archive:
        for entry in archive.infolist():
            if TENSOR.fullmatch(entry.filename):
                continue
            with archive.open(entry) as content:
                while part := content.read(PART):
                    yield part
            yield b""


def _parts_of_gzip(file):
    unpacking = zlib.decompressobj(wbits=31)
    try:
        while packed := file.read(PART // 16):
            while packed:
                yield unpacking.decompress(packed, PART)
                packed = unpacking.unconsumed_tail
    except zlib.error:
        return  # damaged: nobody reads on
