"""What the stock Trainer tells while it trains: figures (`metrics`), a look at the text, and the run's health."""

from .metrics import LOSS_PARTS, RTDMetricsCallback


__all__ = ["LOSS_PARTS", "RTDMetricsCallback"]
