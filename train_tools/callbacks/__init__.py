"""What the stock Trainer tells while it trains: figures (`metrics`, `console`), a look at the text.

Whether a run lives (`health`), and whether its numbers are numbers (`finite`).

And what changes meanwhile: settings by their `schedules`; which network learns (`warm_up`). And what makes a saved
checkpoint one that can be trusted (`manifest`), and a run end as it is asked to (`signals`).
"""

from ..schedule import Schedule
from .console import RTDConsoleCallback
from .finite import RTDFiniteCallback
from .health import RTDHealthCallback
from .manifest import RTDManifestCallback
from .metrics import LOSS_PARTS, RTDMetricsCallback
from .processes import RTDProcessesCallback
from .samples import RTDSampleCallback
from .schedules import RTDScheduleCallback
from .signals import RTDSignalCallback
from .warm_up import RTDWarmUpCallback


__all__ = [
    "LOSS_PARTS",
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
]
