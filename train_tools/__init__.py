"""Text in, training seen."""

from typing import TYPE_CHECKING

from .lazy_names import lazy_names


if TYPE_CHECKING:
    from .arguments import AdaptArguments
    from .attention_in_parts import use_attention_in_parts
    from .callbacks import (
        RTDConsoleCallback,
        RTDFiniteCallback,
        RTDHealthCallback,
        RTDManifestCallback,
        RTDMetricsCallback,
        RTDProcessesCallback,
        RTDSampleCallback,
        RTDScheduleCallback,
        RTDSignalCallback,
        RTDWarmUpCallback,
        Schedule,
    )
    from .data import TextData, read_text, tokenize_text
    from .evaluation.arguments import EvaluateArguments
    from .evaluation.evaluate import evaluate
    from .evaluation.evaluation import Evaluation
    from .evaluation.layer_rates import layerwise_parameter_groups
    from .memory import estimate_memory
    from .nonfinite_error import NonFiniteError
    from .nonfinite_folder import reproduce
    from .presets import PRESETS
    from .pretrain_arguments import PretrainArguments
    from .pretraining import pretrain
    from .recipes import AdaptResult, adapt
    from .signals import Stopped
    from .unpadded_attention import use_unpadded_attention
    from .vocabulary_extension import VocabularyExtension, extend_checkpoint, extend_vocabulary
    from .whole_checkpoints import newest_whole_checkpoint

__all__ = [
    "PRESETS",
    "AdaptArguments",
    "AdaptResult",
    "EvaluateArguments",
    "Evaluation",
    "NonFiniteError",
    "PretrainArguments",
    "RTDConsoleCallback",
    "RTDFiniteCallback",
    "RTDHealthCallback",
    "RTDManifestCallback",
    "RTDMetricsCallback",
    "RTDProcessesCallback",
    "RTDSampleCallback",
    "RTDScheduleCallback",
    "RTDSignalCallback",
    "RTDWarmUpCallback",
    "Schedule",
    "Stopped",
    "TextData",
    "VocabularyExtension",
    "adapt",
    "estimate_memory",
    "evaluate",
    "extend_checkpoint",
    "extend_vocabulary",
    "layerwise_parameter_groups",
    "newest_whole_checkpoint",
    "pretrain",
    "read_text",
    "reproduce",
    "tokenize_text",
    "use_attention_in_parts",
    "use_unpadded_attention",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        ".arguments": ["AdaptArguments"],
        ".attention_in_parts": ["use_attention_in_parts"],
        ".callbacks": [
            "RTDConsoleCallback",
            "RTDFiniteCallback",
            "RTDHealthCallback",
            "RTDManifestCallback",
            "RTDMetricsCallback",
            "RTDProcessesCallback",
            "RTDSampleCallback",
            "RTDScheduleCallback",
            "RTDSignalCallback",
            "RTDWarmUpCallback",
            "Schedule",
        ],
        ".data": ["TextData", "read_text", "tokenize_text"],
        ".evaluation.arguments": ["EvaluateArguments"],
        ".evaluation.evaluate": ["evaluate"],
        ".evaluation.evaluation": ["Evaluation"],
        ".evaluation.layer_rates": ["layerwise_parameter_groups"],
        ".memory": ["estimate_memory"],
        ".nonfinite_error": ["NonFiniteError"],
        ".nonfinite_folder": ["reproduce"],
        ".presets": ["PRESETS"],
        ".pretrain_arguments": ["PretrainArguments"],
        ".pretraining": ["pretrain"],
        ".recipes": ["AdaptResult", "adapt"],
        ".signals": ["Stopped"],
        ".unpadded_attention": ["use_unpadded_attention"],
        ".vocabulary_extension": ["VocabularyExtension", "extend_checkpoint", "extend_vocabulary"],
        ".whole_checkpoints": ["newest_whole_checkpoint"],
    },
)
