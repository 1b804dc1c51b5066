"""What the stock Trainer tells while it trains: figures (`metrics`, `console`), a look at the text, its health."""

from .console import RTDConsoleCallback
from .health import RTDHealthCallback
from .metrics import LOSS_PARTS, RTDMetricsCallback
from .samples import RTDSampleCallback


__all__ = ["LOSS_PARTS", "RTDConsoleCallback", "RTDHealthCallback", "RTDMetricsCallback", "RTDSampleCallback"]
