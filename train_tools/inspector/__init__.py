"""A trained pair looked at: what it reads in a text, in the terminal and on a page."""

from .inspection import PAGE_TEMPERATURES, Inspection, collect_texts, inspect_texts, write_page
from .reading import Candidate, Reading, Token, Word
from .terminal_view import print_readings


__all__ = [
    "PAGE_TEMPERATURES",
    "Candidate",
    "Inspection",
    "Reading",
    "Token",
    "Word",
    "collect_texts",
    "inspect_texts",
    "print_readings",
    "write_page",
]
