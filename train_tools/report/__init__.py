"""A run looked at: one page of curves, figures and settings."""
