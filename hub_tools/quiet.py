"""Networks loaded without the words and bars of `transformers`."""

from contextlib import contextmanager

from transformers.utils import logging


@contextmanager
def quiet():
    """A block in which `transformers` shows errors alone, and no bars; afterwards it is as talkative as before."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
