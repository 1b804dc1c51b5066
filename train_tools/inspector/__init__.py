"""A trained pair looked at: what it reads in a text, in the terminal and on a page."""

from .reading import Candidate, Reading, Token, Word


__all__ = ["Candidate", "Reading", "Token", "Word"]
