"""The Hub's token while a run publishes: known to the client, and in nothing that is saved or printed."""

import os
from contextlib import contextmanager

from huggingface_hub import get_token

from ..hub_tools.secrets import without_tokens


TOKEN_FIELDS = ("hub_token", "push_to_hub_token")  # of `TrainingArguments`; the second in releases before 5
VARIABLE = "HF_TOKEN"


@contextmanager
def token_in_environment(training_args):
    """Runs a block in which the client finds the token of `training_args` in the environment.

    The Trainer pickles its arguments into `training_args.bin` of the pair and of each checkpoint, and publishes them
    with `push_to_hub`: so the arguments that it gets must not hold the token ([`without_token`]).

    Args:
        training_args (`TrainingArguments`): as a user gave them.

    Raises:
        ValueError: this machine makes the client use another token.
        OSError: in place of an error whose message holds a token, without it.
    """
    if not training_args.push_to_hub:
        yield
        return
    token, before = _token_of(training_args), os.environ.get(VARIABLE)
    if token:
        os.environ[VARIABLE] = token
    try:
        if token and get_token() != token:
            raise ValueError("`hub_token`: this machine has another token that comes first. Leave `hub_token` out.")
        yield
    except Exception as error:
        hidden = without_tokens(str(error), token)
        if hidden == str(error):
            raise
        raise OSError(hidden) from None
    finally:
        if token:
            os.environ.pop(VARIABLE, None)
            if before is not None:
                os.environ[VARIABLE] = before


def without_token(training_args):
    """The fields that keep the token out of the Trainer's arguments.

    Args:
        training_args (`TrainingArguments`)

    Returns:
        `dict`: for `dataclasses.replace`.
    """
    return {name: None for name in TOKEN_FIELDS if hasattr(training_args, name)}


def _token_of(training_args):
    given = (getattr(training_args, name) for name in TOKEN_FIELDS if hasattr(training_args, name))
    return next(filter(None, given), None)
