"""Checkpoints in and out."""

from .export import export_discriminator, export_generator


__all__ = ["export_discriminator", "export_generator"]
