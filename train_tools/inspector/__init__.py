"""A trained pair looked at: what it reads in a text, in the terminal and on a page."""

from typing import TYPE_CHECKING

from ..lazy_names import lazy_names


if TYPE_CHECKING:
    from .inspection import PAGE_TEMPERATURES, Inspection, collect_texts, inspect_texts, write_page
    from .reading import Candidate, Reading, Token, Word
    from .terminal_view import print_readings

__all__ = ["PAGE_TEMPERATURES", "Candidate", "Inspection", "Reading", "Token", "Word"]
__all__ += ["collect_texts", "inspect_texts", "print_readings", "write_page"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        ".inspection": ["PAGE_TEMPERATURES", "Inspection", "collect_texts", "inspect_texts", "write_page"],
        ".reading": ["Candidate", "Reading", "Token", "Word"],
        ".terminal_view": ["print_readings"],
    },
)
