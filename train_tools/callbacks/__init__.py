"""What the stock Trainer tells while it trains: figures (`metrics`), a look at the text, and the run's health."""

from .health import RTDHealthCallback
from .metrics import LOSS_PARTS, RTDMetricsCallback
from .samples import RTDSampleCallback


__all__ = ["LOSS_PARTS", "RTDHealthCallback", "RTDMetricsCallback", "RTDSampleCallback"]
