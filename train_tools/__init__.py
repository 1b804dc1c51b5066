"""Text in, training seen."""

from .callbacks import RTDMetricsCallback
from .data import TextData, read_text, tokenize_text
from .recipes import AdaptArguments, AdaptResult, adapt


__all__ = ["AdaptArguments", "AdaptResult", "RTDMetricsCallback", "TextData", "adapt", "read_text", "tokenize_text"]
