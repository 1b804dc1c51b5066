"""What the two networks make of a text, token by token: the one source of every view (terminal, page, JSON, W&B)."""

from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from .pieces import token_name


REPLACED = 0.5  # from this probability on, the discriminator says "replaced"
CAUGHT, MISSED, FALSE_ALARM, RIGHT = "caught", "missed", "false_alarm", "right"
# What a view says of a token, and the sign that says it without colour.
SIGNS = {
    CAUGHT: "✓",
    MISSED: "✗",
    FALSE_ALARM: "!",
    RIGHT: "·",
    "lucky": "=",  # masked, and the generator put the original back
    "lucky_alarm": "= !",
    "odd": "?",  # the last two: of a text as it is
    "plain": "·",
}
ODD_TOKENS = 32  # of a text, at most: so many get the generator's candidates where nothing was masked


@dataclass(frozen=True)
class Candidate:
    """What the generator would put in a place.

    Args: token (`str`), of the vocabulary; probability (`float`).
    """

    token: str
    probability: float


@dataclass(frozen=True)
class Token:
    """One token of a text.

    Args:
        token (`str`): the original, as in the vocabulary (`##는`). start, end (`int`): its characters in the text.
        masked (`bool`): whether the generator had to predict it.
        generator_read, discriminator_read (`str`): what the two networks read here, as in the vocabulary.
        replaced (`bool`): whether the discriminator read another token than the original.
        probability (`float`): the discriminator's, of "replaced".
        candidates (`tuple` of [`Candidate`]): the generator's best first, where it was asked.
    """

    token: str
    start: int
    end: int
    masked: bool
    generator_read: str
    discriminator_read: str
    replaced: bool
    probability: float
    candidates: tuple[Candidate, ...] = ()

    @property
    def called_replaced(self):
        """Whether the discriminator says "replaced": `bool`."""
        return self.probability > REPLACED

    @property
    def verdict(self):
        """`str`: `caught` or `missed` of a replaced token, `false_alarm` or `right` of an original one."""
        if self.replaced:
            return CAUGHT if self.called_replaced else MISSED
        return FALSE_ALARM if self.called_replaced else RIGHT


@dataclass(frozen=True)
class Word:
    """Tokens that no space parts: a word in English, an eojeol in Korean.

    Args: start, end (`int`): its characters in the text; tokens (`tuple` of [`Token`]), at least one.
    """

    start: int
    end: int
    tokens: tuple[Token, ...]


@dataclass(frozen=True)
class Reading:
    """What the two networks made of one text. The tokens that the tokenizer adds (`[CLS]`, `[SEP]`) are not in it.

    Args:
        text (`str`): the original.
        tokens (`tuple` of [`Token`]): in order; characters between them (spaces) belong to none.
        temperature (`float` or `None`): of the generator's sampling; `None` where nothing was corrupted.
    """

    text: str
    tokens: tuple[Token, ...]
    temperature: float | None = None

    @property
    def words(self):
        """`tuple` of [`Word`]."""
        words: list[list[Token]] = []
        for token in self.tokens:
            gap = self.text[words[-1][-1].end : token.start] if words else " "
            if any(character.isspace() for character in gap):
                words.append([token])
            else:
                words[-1].append(token)
        return tuple(Word(word[0].start, word[-1].end, tuple(word)) for word in words)

    @property
    def wrong(self):
        """`int`: tokens about which the discriminator is wrong."""
        return sum(token.verdict in (MISSED, FALSE_ALARM) for token in self.tokens)

    @property
    def replaced(self):
        """`int`: replaced tokens."""
        return sum(token.replaced for token in self.tokens)

    @property
    def caught(self):
        """`int`: replaced tokens that the discriminator calls replaced."""
        return sum(token.verdict == CAUGHT for token in self.tokens)

    def mark(self, token):
        """What a view says of a token: `str`, a key of [`SIGNS`]."""
        if self.temperature is None:
            return "odd" if token.called_replaced else "plain"
        if token.masked and not token.replaced:
            return "lucky_alarm" if token.called_replaced else "lucky"
        return token.verdict

    def as_dict(self):
        """The reading for programs: `dict` of what JSON knows, probabilities rounded to six digits."""
        tokens = [
            {
                **vars(token),
                "text": self.text[token.start : token.end],
                "probability": round(token.probability, 6),
                "verdict": token.verdict,
                "candidates": [
                    {"token": one.token, "probability": round(one.probability, 6)} for one in token.candidates
                ],
            }
            for token in self.tokens
        ]
        counts = {name: getattr(self, name) for name in ("wrong", "replaced", "caught")}
        return {"text": self.text, "temperature": self.temperature, "tokens": tokens, **counts}


def closing(readings, texts):
    """The line that ends one text or more.

    Args: readings (`list` of [`Reading`]), of one kind; texts (`dict`), of a language. Returns: `str`.
    """
    tokens = [token for reading in readings for token in reading.tokens]
    key = "odd" if readings and readings[0].temperature is None else "closing"
    return texts[key].format(
        tokens=len(tokens),
        odd=sum(token.called_replaced for token in tokens),
        wrong=sum(reading.wrong for reading in readings),
        replaced=sum(reading.replaced for reading in readings),
        caught=sum(reading.caught for reading in readings),
    )


@torch.no_grad()
def read_pieces(model, tokenizer, pieces, *, top_k=5):
    """Corrupt pieces as in evaluation, and see what both networks make of them. Draws no random number.

    Args:
        model ([`ElectraRTDForPreTraining`]); tokenizer (`PreTrainedTokenizerBase`)
        pieces (`list` of [`Piece`]): one batch.
        top_k (`int`): candidates of the generator for a masked token; with 0 the generator runs once, not twice.

    Returns:
        `list` of [`Reading`], in the same order
    """
    if not pieces:
        return []
    batch = _batch(pieces, tokenizer, model.device)
    with in_eval_mode(model):
        output = model(**batch, return_loss=False, return_dict=True)
        asked = output.masked_input_ids, batch["attention_mask"], output.masked_positions
        candidates = _candidates(model, tokenizer, *asked, top_k) if top_k else {}
    read, put = output.masked_input_ids.tolist(), output.disc_input_ids.tolist()
    masked, probabilities = output.masked_positions.tolist(), torch.sigmoid(output.logits.float()).tolist()
    readings = []
    for row, piece in enumerate(pieces):
        tokens = [
            _token(
                tokenizer,
                piece,
                column,
                probabilities[row][column],
                candidates.get((row, column), ()),
                put=put[row][column],
                read=read[row][column],
                masked=masked[row][column],
            )
            for column in piece.columns()
        ]
        readings.append(Reading(piece.text, tuple(tokens), model.config.sampling_temperature))
    return readings


@torch.no_grad()
def find_suspicious(model, tokenizer, pieces, *, top_k=5):
    """What the discriminator finds odd in pieces as they are, and what the generator would put there instead.

    Args: as of [`read_pieces`]. Returns: `list` of [`Reading`]; `replaced` is always false in them.
    """
    if not pieces:
        return []
    batch = _batch(pieces, tokenizer, model.device)
    with in_eval_mode(model):
        logits = model.discriminator(**batch, return_dict=True).logits  # (B, L)
        probabilities = torch.sigmoid(logits.float()).tolist()
        return [
            _as_it_is(model, tokenizer, piece, row, top_k) for piece, row in zip(pieces, probabilities, strict=True)
        ]


def _as_it_is(model, tokenizer, piece, probabilities, top_k):
    odd = sorted(
        (column for column in piece.columns() if probabilities[column] > REPLACED), key=lambda one: -probabilities[one]
    )[:ODD_TOKENS]
    candidates = _candidates_one_by_one(model, tokenizer, piece, odd, top_k) if odd else {}
    tokens = [
        _token(tokenizer, piece, column, probabilities[column], candidates.get(column, ()))
        for column in piece.columns()
    ]
    return Reading(piece.text, tuple(tokens))


def _candidates_one_by_one(model, tokenizer, piece, columns, top_k):
    """What the generator would put in each of these places where it sees all the others: `dict` by column."""
    batch = _batch([piece] * len(columns), tokenizer, model.device)
    positions = torch.zeros_like(batch["input_ids"], dtype=torch.bool)
    positions[torch.arange(len(columns)), torch.tensor(columns)] = True
    masked_input_ids = batch["input_ids"].masked_fill(positions, model.config.mask_token_id)
    found = _candidates(model, tokenizer, masked_input_ids, batch["attention_mask"], positions, top_k)
    return {column: candidates for (_, column), candidates in found.items()}


@contextmanager
def in_eval_mode(model):
    """The model in eval mode; afterwards each of its modules is in the mode that it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def at_temperature(model, temperature):
    """The generator samples at another temperature (`float` above 0)."""
    before = model.config.sampling_temperature
    model.config.sampling_temperature = temperature
    try:
        yield
    finally:
        model.config.sampling_temperature = before


def join(text, readings, temperature=None):
    """The readings of a text's pieces as one, with the places of the whole text.

    Args: text (`str`); readings (`list` of [`Reading`]), in order; none where the text has no token; temperature
        (`float` or `None`): of all of them. Returns: [`Reading`].
    """
    start = 0
    tokens: list[Token] = []
    for reading in readings:
        tokens += [replace(token, start=token.start + start, end=token.end + start) for token in reading.tokens]
        start += len(reading.text)
    return Reading(text, tuple(tokens), temperature)


def _batch(pieces, tokenizer, device):
    """input_ids and attention_mask, (B, L), padded on the right whatever the tokenizer prefers."""
    width = max(len(piece.input_ids) for piece in pieces)
    gaps = [width - len(piece.input_ids) for piece in pieces]
    ids = [piece.input_ids + [tokenizer.pad_token_id] * gap for piece, gap in zip(pieces, gaps, strict=True)]
    mask = [[1] * (width - gap) + [0] * gap for gap in gaps]
    return {
        "input_ids": torch.tensor(ids, device=device),
        "attention_mask": torch.tensor(mask, device=device),
    }


def _candidates(model, tokenizer, masked_input_ids, attention_mask, positions, top_k):
    """The generator's best tokens at positions (bool, (B, L)): `dict` by row and column, tuples of [`Candidate`]."""
    generator = model.generator
    hidden = generator.electra(input_ids=masked_input_ids, attention_mask=attention_mask, return_dict=True)[0]
    hidden = hidden[positions]  # (M, H)
    logits = generator.generator_lm_head(generator.generator_predictions(hidden))  # (M, V)
    best = torch.softmax(logits.float(), dim=-1).topk(min(top_k, logits.shape[-1]), dim=-1)
    cells = [tuple(cell) for cell in positions.nonzero().tolist()]
    tokens = [[token_name(tokenizer, one) for one in ids] for ids in best.indices.tolist()]
    return {
        cell: tuple(Candidate(*one) for one in zip(names, values, strict=True))
        for cell, names, values in zip(cells, tokens, best.values.tolist(), strict=True)
    }


def _token(tokenizer, piece, column, probability, candidates, put=None, read=None, masked=False):
    """The [`Token`] of a column, which both networks read as it is unless ids say what they read."""
    original = piece.input_ids[column]
    put, read = (original if one is None else one for one in (put, read))
    name, read_name, put_name = (token_name(tokenizer, one) for one in (original, read, put))
    start, end = piece.places[column]
    return Token(name, start, end, masked, read_name, put_name, put != original, probability, candidates)
