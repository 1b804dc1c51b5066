"""Text in, training seen."""

from .arguments import AdaptArguments
from .attention_in_parts import use_attention_in_parts
from .callbacks import RTDConsoleCallback, RTDHealthCallback, RTDMetricsCallback, RTDSampleCallback
from .data import TextData, read_text, tokenize_text
from .recipes import AdaptResult, adapt


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
    "use_attention_in_parts",
]
