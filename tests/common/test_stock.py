# Copyright 2026 the electra-rtd authors. Licensed under the Apache License, Version 2.0.
"""The same tests on the two stock classes that our model joins: what stock passes, ours has to pass."""

import unittest

import torch
from transformers import ElectraForMaskedLM, ElectraForPreTraining

from .harness import load_common_tests
from .test_common import ElectraRTDModelTester


common = load_common_tests()


class StockElectraModelTester(ElectraRTDModelTester):
    """Our discriminator alone, with the same batch."""

    def get_config(self):
        return self.get_part_config(self.hidden_size, self.num_attention_heads)


class StockElectraCommonTest(common.ModelTesterMixin, unittest.TestCase):
    """Stock ELECTRA, nothing overridden."""

    all_model_classes = (ElectraForPreTraining, ElectraForMaskedLM)

    def setUp(self):
        self.model_tester = StockElectraModelTester()

    def _prepare_for_class(self, inputs_dict, model_class, return_labels=False):
        inputs = super()._prepare_for_class(inputs_dict, model_class, return_labels=return_labels)
        if return_labels:
            inputs["labels"] = torch.zeros_like(inputs["input_ids"])
        return inputs
