"""Checkpoints in and out: verify, push, pull, diff, merge, export, share."""

from .diff import CheckpointDiff, ModuleChange, diff_checkpoints
from .export import export_discriminator, export_generator
from .findings import CheckpointError, Finding, VerificationReport
from .merge import merge_checkpoints
from .pull import pinned_line, pull_checkpoint, pull_locked
from .push import push_checkpoint
from .remote import HubError
from .sharing import change_sharing
from .verify import verify_checkpoint
from .vocabulary import continuation_tokens


__all__ = [
    "CheckpointDiff",
    "CheckpointError",
    "Finding",
    "HubError",
    "ModuleChange",
    "VerificationReport",
    "change_sharing",
    "continuation_tokens",
    "diff_checkpoints",
    "export_discriminator",
    "export_generator",
    "merge_checkpoints",
    "pinned_line",
    "pull_checkpoint",
    "pull_locked",
    "push_checkpoint",
    "verify_checkpoint",
]
