"""Texts as a model can read them: tokens, and where each of them stands in the text."""

from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Piece:
    """As much of a text as the model reads at once.

    Args: text (`str`); input_ids (`list[int]`), with the tokens that the tokenizer adds; places: where each token
        stands in the text, (start, end), or `None` for one that was added.
    """

    text: str
    input_ids: list[int]
    places: list[tuple[int, int] | None]

    def columns(self):
        """Where the tokens of the text stand among `input_ids`: `list[int]`."""
        return [column for column, place in enumerate(self.places) if place is not None]


def pieces_of_text(text, tokenizer, max_length):
    """A text as the model can read it: whole, or in pieces of `max_length` tokens.

    Args: text (`str`); tokenizer (`PreTrainedTokenizerBase`), a fast one; max_length (`int`), added tokens included.
    Returns: `list` of [`Piece`], whose texts make up the text; none for a text without tokens.
    """
    with as_it_was(tokenizer):
        encoded = tokenizer(
            text,
            truncation=True,
            max_length=max_length,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
        )
    pieces: list[Piece] = []
    start = 0
    for ids, offsets, added in zip(
        encoded["input_ids"], encoded["offset_mapping"], encoded["special_tokens_mask"], strict=True
    ):
        in_text = [None if special else place for place, special in zip(offsets, added, strict=True)]
        ends = [place[1] for place in in_text if place is not None]
        if ends:  # what stands between two pieces begins the second; what follows the last token ends the last
            end = len(text) if ids is encoded["input_ids"][-1] else ends[-1]
            places = [place and (place[0] - start, place[1] - start) for place in in_text]
            pieces.append(Piece(text[start:end], list(ids), places))
            start = end
    return pieces


@contextmanager
def as_it_was(tokenizer):
    """A call leaves its truncation and padding in a fast tokenizer, which would be saved with it: put them back."""
    backend = tokenizer.backend_tokenizer
    truncation, padding = backend.truncation, backend.padding
    try:
        yield
    finally:
        backend.no_truncation() if truncation is None else backend.enable_truncation(**truncation)
        backend.no_padding() if padding is None else backend.enable_padding(**padding)


def token_name(tokenizer, token_id):
    """A token as in the vocabulary; `[80]` for an id above it, which a padded vocabulary has. Returns: `str`."""
    return tokenizer.convert_ids_to_tokens(token_id) or f"[{token_id}]"


def piece_of_ids(input_ids, tokenizer):
    """A piece from token ids alone, as a tokenized data set holds them: its text is the tokens, `##` joined.

    Args: input_ids (`list[int]`); tokenizer (`PreTrainedTokenizerBase`). Returns: [`Piece`].
    """
    added = {tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id}
    kept = [token_id for token_id in input_ids if token_id != tokenizer.pad_token_id]
    text = ""
    places: list[tuple[int, int] | None] = []
    for token_id in kept:
        token = token_name(tokenizer, token_id)
        if token_id in added:
            places.append(None)
            continue
        text += "" if token.startswith("##") or not text else " "
        characters = token.removeprefix("##")
        places.append((len(text), len(text) + len(characters)))
        text += characters
    return Piece(text, kept, places)
