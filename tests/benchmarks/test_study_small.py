"""The small form from end to end: arms trained on the same rows, scored, recorded, interrupted, gone on with, shown."""

import json
import shutil

import pytest
import torch
from torch.nn.modules.module import register_module_forward_pre_hook
from transformers import ElectraForMaskedLM

from benchmarks.study import course, work
from benchmarks.study.adaptation import Adaptation
from electra_rtd import ElectraRTDForPreTraining


NOT_A_LABEL = -100
OF_TRAINING = (ElectraRTDForPreTraining, ElectraForMaskedLM)

pytestmark = pytest.mark.slow


class Watched:
    """What models read in training: by class, a list of (ids, attention mask) a batch, as they were before masking."""

    def __init__(self):
        self.batches = {}
        self._inside = None

    def __call__(self, module, arguments):
        pass

    def see(self, module, arguments, named):
        if type(module) in OF_TRAINING and module.training and "attention_mask" in named and "input_ids" in named:
            ids, labels = named["input_ids"], named.get("labels")
            ids = ids if labels is None else torch.where(labels == NOT_A_LABEL, ids, labels)
            self.batches.setdefault(type(module), []).append((ids.clone(), named["attention_mask"].clone()))
