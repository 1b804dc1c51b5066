"""A path or a Hub id? Answered here for everybody who is given a name."""

import os
from pathlib import Path

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id


NETWORKS = ("discriminator", "generator")  # folders of exports


def is_hub_id(name, *, with_owner=False):
    """Whether a name means a repository of the Hub, and nothing on this disk. What is here goes first, as in
    `from_pretrained`; of a folder that is missing and could be an id, nobody can tell.

    Args:
        name (`str` or path): a path object never means a repository.
        with_owner (`bool`): only `user/name` counts, not the few old ids without a user.

    Returns:
        `bool`
    """
    if not isinstance(name, str) or (with_owner and "/" not in name):
        return False
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return not os.path.exists(name)


def public_name(source):
    """What a checkpoint is called where others read it: a Hub id, or the name of a folder, and no place on this disk.

    Args:
        source (`str` or path)

    Returns:
        `str`: of a network that lies in a pair's folder, with the name of that folder
    """
    if is_hub_id(source):
        return str(source)
    path = Path(source).resolve()
    return f"{path.parent.name}/{path.name}" if path.name in NETWORKS else path.name
