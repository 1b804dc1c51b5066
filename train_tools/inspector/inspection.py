"""Any text, read by a checkpoint: the library function behind `electra-rtd inspect`."""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from ...hub_tools.loading import load_pair, open_tokenizer
from ...hub_tools.staging import files_for_folder
from ..data import read_text
from .inspector_page import render
from .pieces import pieces_of_text
from .reading import at_temperature, find_suspicious, join, read_pieces


PAGE_TEMPERATURES = (0.5, 1.0, 1.5, 2.0)  # what the slider of a page offers, beside the one asked for
AT_ONCE = 8  # pieces in a batch
LONGEST = 512  # tokens of a piece, where the model reads as many


@dataclass(frozen=True)
class Inspection:
    """Texts as a checkpoint reads them.

    Args:
        documents (`list` of `dict`): for each text its [`Reading`] by temperature; by `None` where nothing was
            corrupted.
        temperature (`float` or `None`): the one that was asked for, a key of each.
    """

    documents: list[dict]
    temperature: float | None

    @property
    def readings(self):
        """`list` of [`Reading`]: each text at the temperature that was asked for."""
        return [document[self.temperature] for document in self.documents]


def collect_texts(texts, files=None, *, text_column=None, hub_config=None, limit=100):
    """The first texts of what was given, and of files with one text a row.

    Args:
        texts (`list[str]`): empty ones do not count.
        files (`list` of `str` or path, *optional*): as [`read_text`] takes them. text_column, hub_config
            (`str`, *optional*)
        limit (`int`): texts at most.

    Returns:
        `list[str]`, and how many more there are: `int`

    Raises:
        ValueError: there is none, `limit` is not 1 or more, or a file cannot be read.
    """
    if limit < 1:
        raise ValueError(f"`limit` is {limit}: it must be 1 or more.")
    texts = [text for text in texts if text.strip()]
    rows = read_text(files, text_column=text_column, hub_config=hub_config).dataset["text"] if files else []
    count = len(texts) + len(rows)
    if count == 0:
        raise ValueError("There is no text to read: neither `texts` nor `files` hold any.")
    return [*texts, *rows[: max(0, limit - len(texts))]][:limit], max(0, count - limit)


def inspect_texts(
    checkpoint,
    texts,
    *,
    temperature=None,
    more_temperatures=(),
    top_k=5,
    suspicious=False,
    revision=None,
    token=None,
):
    """Read texts with both networks of a checkpoint. None of the checkpoint's own code runs.

    Args:
        checkpoint (`str`, path, or a tuple of model and tokenizer): a folder, a Hub id, or what was loaded.
        texts (`list[str]`): of any length; longer ones are read in pieces.
        temperature (`float`, *optional*): of the generator's sampling, above 0; by default the checkpoint's.
        more_temperatures (iterable of `float`): further ones, for a page with a slider.
        top_k (`int`): the generator's candidates for a token.
        suspicious (`bool`): corrupt nothing, and see what the discriminator finds odd in the texts as they are.
        revision, token (`str`, *optional*): of the Hub.

    Returns:
        [`Inspection`]

    Raises:
        ValueError: nothing to read, no pair, no tokenizer, or an argument out of range.
        OSError: the checkpoint cannot be had.
    """
    # Bytes that were no UTF-8 come from a command line as lone surrogates, which no tokenizer takes.
    texts = [text.encode("utf-8", "replace").decode("utf-8") for text in texts if text.strip()]
    if not texts:
        raise ValueError("There is no text to read: give one or more, none of them empty.")
    if top_k < 1:
        raise ValueError(f"`top_k` is {top_k}: it must be 1 or more.")
    for one in filter(lambda value: value is not None, (temperature, *more_temperatures)):
        if not 0 < one < float("inf"):
            raise ValueError(f"`temperature` is {one}: it must be above 0, such as 1.0.")
    model, tokenizer = checkpoint if isinstance(checkpoint, tuple) else load_reader(checkpoint, revision, token)
    if suspicious:
        return Inspection(
            [{None: one} for one in _read(find_suspicious, model, tokenizer, texts, top_k)], temperature=None
        )
    at = model.config.sampling_temperature if temperature is None else float(temperature)
    documents: list[dict] = [{} for _ in texts]
    for one in sorted({at, *map(float, more_temperatures)}):
        with at_temperature(model, one):
            readings = _read(read_pieces, model, tokenizer, texts, top_k, one)
        for document, reading in zip(documents, readings, strict=True):
            document[one] = reading
    return Inspection(documents, at)


def write_page(inspection, path, *, model_name, lang=None):
    """Write an inspection as one page that needs no network.

    Args:
        inspection ([`Inspection`]); path (`str` or path): the file, in a folder that is there.
        model_name (`str`): what the page calls the checkpoint. lang (`str`, *optional*): `"ko"` or `"en"`.

    Returns:
        `Path`: the file

    Raises:
        ValueError: the folder is not there, or `path` is one.
    """
    path = Path(path)
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError(f"{path} cannot be written: give a file in a folder that exists, such as page.html.")
    html = render(inspection.documents, model_name=str(model_name), at=inspection.temperature, lang=lang)
    with files_for_folder(path.parent) as staged:
        (staged / path.name).write_text(html, encoding="utf-8", newline="\n")
    return path


def load_reader(checkpoint, revision=None, token=None):
    """A pair and its tokenizer, on the accelerator where there is one.

    Args: checkpoint (`str` or path); revision, token (`str`, *optional*).
    Returns: [`ElectraRTDForPreTraining`] in eval mode, `PreTrainedTokenizerBase`.
    Raises: ValueError: no pair, or no fast tokenizer beside it.
    """
    hub = {name: value for name, value in (("revision", revision), ("token", token)) if value is not None}
    model, tokenizer = load_pair(checkpoint, dtype=torch.float32, **hub), open_tokenizer(checkpoint, **hub)
    if tokenizer is None or not tokenizer.is_fast:
        raise ValueError(f"{checkpoint} has no fast tokenizer beside the model: save it there with `save_pretrained`.")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device).eval(), tokenizer


def _read(how, model, tokenizer, texts, top_k, temperature=None):
    """All texts, in batches of pieces: `list` of [`Reading`], one a text."""
    longest = min(LONGEST, model.config.max_position_embeddings)
    by_text = [pieces_of_text(text, tokenizer, longest) for text in texts]
    pieces = [piece for pieces in by_text for piece in pieces]
    readings = []
    for first in range(0, len(pieces), AT_ONCE):
        readings += how(model, tokenizer, pieces[first : first + AT_ONCE], top_k=top_k)
    rest = iter(readings)
    of_each = [list(islice(rest, len(pieces))) for pieces in by_text]
    return [join(text, own, temperature) for text, own in zip(texts, of_each, strict=True)]
