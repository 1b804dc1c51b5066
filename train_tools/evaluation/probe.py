"""Answers in seconds: a linear probe of frozen features, and naive Bayes as the floor.

The probe says what an encoder holds before anybody fine-tunes it. It is not what fine-tuning will reach, and may even
order two encoders the other way: a sign, where there is no time for a verdict.
"""

import inspect
import re
import warnings
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import torch
from tqdm import tqdm

from .encoding import encode
from .extra import import_extra
from .metrics import METRICS, score


STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)  # of regularisation: `alpha` of ridge, `1 / C` of logistic regression
MOST_STEPS = 1_000  # of the solver
PATIENCE = 5  # seconds without a progress bar
HANGUL = re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3]")


@dataclass(frozen=True)
class Probed:
    """What a probe or naive Bayes reaches.

    Args:
        scores (`dict[str, float]`): of the test rows, as `metrics.score`.
        predictions (`list`): of the test rows, as `metrics.score` takes them.
        validation (`dict[str, float]`): of the validation rows.
        strength (`float`, *optional*): of the regularisation that was best on the validation rows.
    """

    scores: dict
    predictions: list
    validation: dict
    strength: float | None = None


def probe(encoder, tokenizer, split, *, max_length=256, batch_size=32, device=None, metric=None):
    """Fit a linear model to the features of a frozen encoder.

    The features are the last layer's hidden states: their mean over a row's tokens but the special ones (a pair is one
    sequence), or the first piece of each word. They are standardised; then logistic regression, or ridge regression
    for a scale, with the regularisation that is best on the validation rows. Nothing is drawn by chance.

    Args:
        encoder (`PreTrainedModel`): without head, such as `ElectraModel`.
        tokenizer (`PreTrainedTokenizerFast`)
        split ([`Split`])
        max_length (`int`): tokens at most; batch_size (`int`): rows read at once.
        device (*optional*): where the encoder reads; by default where it is.
        metric (`str`, *optional*): what validation goes by; by default the first of `METRICS`.

    Returns:
        [`Probed`]

    Raises:
        ValueError: a library is missing, or the tokenizer cannot read words one by one.
    """
    kind, names = split.train.kind, split.train.names
    metric = metric or METRICS[kind][0]
    if metric not in METRICS[kind]:
        raise ValueError(f"`metric={metric}`: the metrics of {kind} are {', '.join(METRICS[kind])}.")
    train, validation, test = (
        _read(encoder, tokenizer, part, max_length, batch_size, device or encoder.device)
        for part in (split.train, split.validation, split.test)
    )
    scaler = import_extra("sklearn.preprocessing").StandardScaler().fit(train.features)
    train, validation, test = (
        replace(part, features=scaler.transform(part.features)) for part in (train, validation, test)
    )
    best = None
    for strength in STRENGTHS:
        model = _fit(kind, train, strength)
        found = score(kind, validation.as_rows(model.predict(validation.features)), split.validation.targets, names)
        if best is None or found[metric] > best[1][metric]:
            best = model, found, strength
    model, found, strength = best
    predictions = test.as_rows(model.predict(test.features))
    return Probed(score(kind, predictions, split.test.targets, names), predictions, found, strength)


def naive_bayes(split):
    """The floor: naive Bayes on the set of a text's pieces of 2 and 3 characters, of 3 and 4 where it is not Korean.

    Bernoulli's model would count what is absent; this is the multinomial one on sets, with add-one smoothing. The two
    texts of a pair are joined.

    Args: split ([`Split`]).
    Returns: [`Probed`]; `None` for regression and tokens.
    Raises: ValueError: scikit-learn is missing.
    """
    if split.train.kind not in ("single", "pair"):
        return None
    text = import_extra("sklearn.feature_extraction.text")
    bayes = import_extra("sklearn.naive_bayes")
    train, validation, test = (_joined(part) for part in (split.train, split.validation, split.test))
    sizes = (2, 3) if _is_korean(train) else (3, 4)
    counter = text.CountVectorizer(analyzer="char", ngram_range=sizes, binary=True, lowercase=False)
    model = bayes.MultinomialNB().fit(counter.fit_transform(train), split.train.targets)
    said = [model.predict(counter.transform(texts)).tolist() for texts in (validation, test)]
    scores = [
        score(part.kind, predictions, part.targets, part.names)
        for predictions, part in zip(said, (split.validation, split.test), strict=True)
    ]
    return Probed(scores[1], said[1], scores[0])


@dataclass(frozen=True)
class _Features:
    """Features `(examples, width)` and targets `(examples,)`: of rows, or of the words that were read.

    `places`: of each word its row and its place in it; `None` where rows are the examples. `blank`: for `"tokens"`, a
    tag for each word of each row, for the words that are cut off.
    """

    features: np.ndarray
    targets: np.ndarray
    places: list | None = None
    blank: list | None = None

    def as_rows(self, predicted):
        """What was predicted of each example, as `metrics.score` takes it."""
        if self.places is None:
            return predicted.tolist()
        rows = [list(tags) for tags in self.blank]
        for (row, word), tag in zip(self.places, predicted.tolist(), strict=True):
            rows[row][word] = tag
        return rows


@torch.no_grad()
def _read(encoder, tokenizer, labels, max_length, batch_size, device):
    takes_types = "token_type_ids" in inspect.signature(encoder.forward).parameters
    rows = encode(labels, tokenizer, max_length, token_types=takes_types)
    special = torch.tensor(sorted(tokenizer.all_special_ids), device=device)
    of_rows: list = [None] * len(labels)
    was_training, was_on = encoder.training, encoder.device
    encoder.eval().to(device)
    try:
        batches = rows.by_length(batch_size)
        for indices in tqdm(batches, desc="Reading for the probe", unit=" batches", delay=PATIENCE, leave=False):
            batch = {name: values.to(device) for name, values in rows.batch(indices, labels=False).items()}
            hidden = encoder(**batch).last_hidden_state.float()  # (B, L, width)
            if labels.kind == "tokens":
                for place, index in enumerate(indices):
                    of_rows[index] = hidden[place, list(rows.words[index][1].values())].cpu().numpy()
                continue
            attended = batch["attention_mask"].bool()
            inner = attended & ~torch.isin(batch["input_ids"], special)
            # A row of nothing but special tokens has the mean of these.
            counted = torch.where(inner.any(1, keepdim=True), inner, attended).unsqueeze(-1).float()  # (B, L, 1)
            means = ((hidden * counted).sum(1) / counted.sum(1)).cpu().numpy()  # (B, width)
            for place, index in enumerate(indices):
                of_rows[index] = means[place]
    finally:
        encoder.train(was_training).to(was_on)
    if labels.kind != "tokens":
        return _Features(np.stack(of_rows), np.array(labels.targets))
    places = [(row, word) for row, (_, first) in enumerate(rows.words) for word in first]
    outside = labels.names.index("O") if "O" in labels.names else 0
    blank = [[outside] * len(tags) for tags in labels.targets]
    return _Features(
        np.concatenate(of_rows), np.array([labels.targets[row][word] for row, word in places]), places, blank
    )


def _fit(kind, train, strength):
    linear = import_extra("sklearn.linear_model")
    if kind == "regression":
        return linear.Ridge(alpha=strength).fit(train.features, train.targets)
    if len(set(train.targets.tolist())) == 1:  # a few rows may hold one class only
        return import_extra("sklearn.dummy").DummyClassifier().fit(train.features, train.targets)
    with warnings.catch_warnings():
        # With little regularisation it may take long to stop; validation says whether what it has by then is good.
        warnings.simplefilter("ignore", import_extra("sklearn.exceptions").ConvergenceWarning)
        return linear.LogisticRegression(C=1 / strength, max_iter=MOST_STEPS).fit(train.features, train.targets)


def _joined(labels):
    return ["\n".join(text) if labels.pairs else text for text in labels.texts]


def _is_korean(texts):
    """Whether Hangul is most of the letters."""
    letters = Counter(HANGUL.match(sign) is not None for text in texts for sign in text if sign.isalpha())
    return letters[True] > letters[False]
