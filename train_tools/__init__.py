"""Text in, training seen."""

from .callbacks import RTDConsoleCallback, RTDHealthCallback, RTDMetricsCallback, RTDSampleCallback
from .data import TextData, read_text, tokenize_text
from .recipes import AdaptArguments, AdaptResult, adapt


__all__ = [
    "AdaptArguments",
    "AdaptResult",
    "RTDConsoleCallback",
    "RTDHealthCallback",
    "RTDMetricsCallback",
    "RTDSampleCallback",
    "TextData",
    "adapt",
    "read_text",
    "tokenize_text",
]
