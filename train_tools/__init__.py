"""Text in, training seen."""

from .callbacks import RTDHealthCallback, RTDMetricsCallback, RTDSampleCallback
from .data import TextData, read_text, tokenize_text
from .recipes import AdaptArguments, AdaptResult, adapt


__all__ = [
    "AdaptArguments",
    "AdaptResult",
    "RTDHealthCallback",
    "RTDMetricsCallback",
    "RTDSampleCallback",
    "TextData",
    "adapt",
    "read_text",
    "tokenize_text",
]
