"""Predictions in few bytes, so that every comparison can be made again from the file of results."""

import base64
import zlib


def pack(classes):
    """Args: classes (`list[int]`): each below 256. Returns: `str`."""
    return base64.b85encode(zlib.compress(bytes(classes), 9)).decode("ascii")


def unpack(packed):
    """Args: packed (`str`): of [`pack`]. Returns: `list[int]`."""
    return list(zlib.decompress(base64.b85decode(packed)))
