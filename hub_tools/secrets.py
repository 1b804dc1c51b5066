"""Access tokens and other secrets: found in bytes, and blotted out of texts."""

import re

from huggingface_hub import get_token


# What to call it, how it begins, and what follows. A beginning of fixed bytes lets the search run at the disk's speed.
KINDS = (
    ("an access token of Hugging Face", b"hf_", rb"(?:(?:jwt|oauth)_[\w.-]{10,}|[A-Za-z0-9]{20,})"),
    ("an access token of Hugging Face", b"api_org_", rb"[A-Za-z0-9]{20,}"),
    ("an access token of GitHub", b"ghp_", rb"[A-Za-z0-9]{36}"),
    ("an access token of GitHub", b"github_pat_", rb"\w{50,}"),
    ("an access key of AWS", b"AKIA", rb"[A-Z0-9]{16}(?![A-Za-z0-9])"),
    ("an API key (sk-...)", b"sk-", rb"(?:proj-|ant-)?[A-Za-z0-9_-]{0,20}[A-Za-z0-9]{32,}"),
    ("a private key", b"-----BEGIN ", rb"(?:[A-Z]+ )?PRIVATE KEY-----"),
)
PATTERNS = [(kind, re.compile(re.escape(start) + rest)) for kind, start, rest in KINDS]
WHOLE_TOKEN = 37  # characters of one of Hugging Face; found even where the byte before it is a letter (a length)
LONGEST = 1024  # bytes that a secret may have, in UTF-16 too: what is searched in parts overlaps by so much
SHORTEST_SAVED = 8  # characters: anything shorter is no token, and stands in every text
IN_TEXT = re.compile(r"\b(hf|api_org)_((jwt|oauth)_[\w.-]+|[A-Za-z0-9]{20,})|(?<=Bearer )[^\s)]+")
BLOT = "<token>"


def saved_tokens(*more):
    """The tokens that are known here, whatever they look like.

    Args:
        *more (`str`, `bool` or `None`): tokens that were given to a command or a function.

    Returns:
        `list[str]`: with the saved one, or that of the environment; each once
    """
    tokens = [token for token in (*more, get_token()) if isinstance(token, str) and len(token) >= SHORTEST_SAVED]
    return list(dict.fromkeys(tokens))


def without_tokens(text, *tokens):
    """A text with every access token blotted out.

    Args:
        text (`str`)
        *tokens (`str`, `bool` or `None`): that are known; the saved one always is.

    Returns:
        `str`
    """
    for token in saved_tokens(*tokens):
        text = text.replace(token, BLOT)
    return IN_TEXT.sub(BLOT, text)


def find_secret(data, tokens=()):
    """The first secret in bytes: as text in UTF-8, or in UTF-16 of either order.

    Args:
        data (`bytes`)
        tokens (iterable of `str`): that are known.

    Returns:
        `str`: what kind it is, without a character of it; empty where there is none
    """
    views = [data]
    if b"\0" in data:
        views += [data[::2], data[1::2]]
    for view in views:
        for token in tokens:
            if token.encode() in view:
                return "the access token that is saved or was given here"
        for kind, pattern in PATTERNS:
            if any(_is_secret(view, found) for found in pattern.finditer(view)):
                return kind
    return ""


def _is_secret(data, found):
    before = data[max(found.start() - 1, 0) : found.start()]
    body = found[0].rpartition(b"_")[2]
    is_placeholder = set(body.lower()) <= set(b"x")  # hf_xxxx: how manuals write it
    return not is_placeholder and (not before.isalnum() or len(found[0]) == WHOLE_TOKEN)
