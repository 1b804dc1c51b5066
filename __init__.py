"""ELECTRA pairs as one Hugging Face model, trained by replaced token detection.

Importing the package registers the model with the Auto classes: a checkpoint then loads without running code from it.
"""

from transformers import AutoConfig, AutoModel, AutoModelForPreTraining

from .configuration_electra_rtd import ElectraRTDConfig
from .modeling_electra_rtd import ElectraRTDForPreTraining, ElectraRTDOutput


__version__ = "0.10.0"

AutoConfig.register(ElectraRTDConfig.model_type, ElectraRTDConfig)
AutoModel.register(ElectraRTDConfig, ElectraRTDForPreTraining)
AutoModelForPreTraining.register(ElectraRTDConfig, ElectraRTDForPreTraining)

__all__ = ["ElectraRTDConfig", "ElectraRTDForPreTraining", "ElectraRTDOutput", "__version__"]
