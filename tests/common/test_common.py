# Copyright 2026 the electra-rtd authors. Licensed under the Apache License, Version 2.0.
"""`transformers`' own common model tests, from its source distribution, run on our model: `pytest tests/common`.

Two tests are overridden, because theirs cannot know our outputs and our parts; none is switched off.
"""

import tempfile
import unittest

import torch
from transformers import ElectraConfig
from transformers.testing_utils import torch_device

from electra_rtd import ElectraRTDConfig, ElectraRTDForPreTraining

from .harness import load_common_tests


common = load_common_tests()

# Tests, by the start of their names, that may call `skipTest` for our model, and why that is right. Any other one that
# does, fails: it would be lost in silence. Tests that lack hardware or a package are skipped earlier, by decorators.
SKIPPED = {
    "test_causal_lm_loss_honors_shift_labels": "no decoder",
    "test_encoder_decoder_loss_no_double_shift": "no decoder",
    "test_inputs_embeds": "the objective masks and replaces token ids: it cannot start from embeddings",
    "test_resize_position_vector_embeddings": "stock ELECTRA cannot resize its position embeddings either",
    "test_sdpa_can_dispatch_non_composite_models": "two parts: `test_sdpa_can_dispatch_composite_models` checks both",
    "test_sliding_window_mask": "ELECTRA's attention has no window",
    "test_model_rope": "ELECTRA's positions are learned, not rotary",
    "test_vision_axial_rope": "ELECTRA's positions are learned, not rotary",
    "test_eager_matches_batched_and_grouped_inference": "no experts",
    "test_moe_models_record_router_logits": "no experts",
    "test_output_router_logits_from_config": "no experts",
    "test_tp_plan_matches_params": "stock ELECTRA has no plan for tensor parallelism",
    "test_tied_head_has_a_tp_plan_entry": "stock ELECTRA has no plan for tensor parallelism",
    # Only their subtests skip: pytest 9 counts these as passed.
    "test_keep_in_fp32_modules": "every module may be in half precision",
    "test_reverse_loading_mapping": "ELECTRA's weights load under the names they are saved with",
    "test_can_load_from_already_mapped_keys": "ELECTRA's weights load under the names they are saved with",
}


class ElectraRTDModelTester:
    """A tiny pair and a batch for it, as the common tests ask for them."""

    batch_size = 13
    seq_length = 7
    is_training = True
    vocab_size = 99
    hidden_size = 32
    num_hidden_layers = 2
    num_attention_heads = 4

    def __init__(self, embedding_sharing="none"):
        self.embedding_sharing = embedding_sharing

    def get_config(self):
        """The pair's configuration; a smaller generator, so that a mix-up of the two cannot go unseen."""
        return ElectraRTDConfig(
            generator_config=self.get_part_config(16, 2),
            discriminator_config=self.get_part_config(self.hidden_size, self.num_attention_heads),
            mask_token_id=2,  # small ids, because a test shrinks the vocabulary to four tokens
            pad_token_id=0,
            special_token_ids=[0, 1, 2],
            embedding_sharing=self.embedding_sharing,
        )

    def get_part_config(self, hidden_size, num_attention_heads):
        """One network's configuration."""
        return ElectraConfig(
            vocab_size=self.vocab_size,
            embedding_size=24,
            hidden_size=hidden_size,
            num_hidden_layers=self.num_hidden_layers,
            num_attention_heads=num_attention_heads,
            intermediate_size=37,
        )

    def prepare_config_and_inputs_for_common(self):
        """Configuration and batch: random tokens (special ones among them), segments and padding."""
        shape = [self.batch_size, self.seq_length]
        inputs = {
            "input_ids": common.ids_tensor(shape, self.vocab_size),
            "token_type_ids": common.ids_tensor(shape, 2),
            "attention_mask": common.random_attention_mask(shape),
        }
        return self.get_config(), inputs


class ElectraRTDCommonTest(common.ModelTesterMixin, unittest.TestCase):
    """The model with two sets of embeddings, as it is by default."""

    all_model_classes = (ElectraRTDForPreTraining,)
    _is_composite = True
    embedding_sharing = "none"

    def setUp(self):
        self.model_tester = ElectraRTDModelTester(self.embedding_sharing)

    def skipTest(self, reason):
        """Skip what the table knows, fail at any other skip."""
        if not self._testMethodName.startswith(tuple(SKIPPED)):
            self.fail(f"`{self._testMethodName}` skips itself, which is not in the table SKIPPED: {reason}")
        super().skipTest(reason)

    def test_model_outputs_equivalence(self):
        """Override: theirs subtracts outputs to say how far apart they are, which a boolean one does not allow.

        Tuple and dict are compared bit by bit instead, and the tuple has to leave out nothing.
        """
        config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
        model = ElectraRTDForPreTraining(config).to(torch_device).eval()
        for options in ({}, {"output_hidden_states": True}, {"output_attentions": True}, {"return_loss": False}):
            with self.subTest(**options), torch.no_grad():
                as_tuple = model(**inputs, **options, return_dict=False)
                as_dict = model(**inputs, **options, return_dict=True)
                self.assertIsInstance(as_tuple, tuple)
                self.assertEqual(len(as_tuple), len(as_dict))
                for one, (name, other) in zip(as_tuple, as_dict.items(), strict=True):
                    self.assertTrue(self.is_same(one, other), name)

    def is_same(self, one, other):
        """Whether two outputs (tensors, or tuples of them) are equal in every bit."""
        if isinstance(one, tuple):
            return len(one) == len(other) and all(map(self.is_same, one, other))
        return torch.equal(one, other)

    def test_sdpa_can_dispatch_composite_models(self):
        """Override, as theirs asks of models whose parts are not towers of images and text."""
        config, _ = self.model_tester.prepare_config_and_inputs_for_common()
        with tempfile.TemporaryDirectory() as folder:
            ElectraRTDForPreTraining(config).save_pretrained(folder)
            for request, expected in ((None, "sdpa"), ("sdpa", "sdpa"), ("eager", "eager")):
                model = ElectraRTDForPreTraining.from_pretrained(folder, attn_implementation=request)
                attentions = [module for module in model.modules() if type(module).__name__.endswith("SelfAttention")]
                self.assertEqual(len(attentions), 2 * self.model_tester.num_hidden_layers)
                for module in [model, model.generator, model.discriminator, *attentions]:
                    self.assertEqual(module.config._attn_implementation, expected, type(module).__name__)


class ElectraRTDTiedCommonTest(ElectraRTDCommonTest):
    """The model whose networks share their embeddings, as in the paper."""

    embedding_sharing = "tied"


class ElectraRTDGdesCommonTest(ElectraRTDCommonTest):
    """The model whose discriminator reads the generator's embeddings and a delta, as in DeBERTaV3."""

    embedding_sharing = "gdes"

    def test_model_get_set_embeddings(self):
        """Override: what is set are the values of a table, of which the generator's are a part."""
        config, _ = self.model_tester.prepare_config_and_inputs_for_common()
        model = ElectraRTDForPreTraining(config)
        table = torch.nn.Embedding(config.vocab_size, 24)
        model.set_input_embeddings(table)
        torch.testing.assert_close(model.get_input_embeddings().weight, table.weight, rtol=0, atol=1e-6)
        self.assertIs(model.get_input_embeddings(), model.discriminator.electra.embeddings.word_embeddings)

    def test_enable_input_require_grads_with_gradient_checkpointing(self):
        """Override: theirs looks for the gradient of `weight`, which is the delta's here."""
        config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
        gradients = []
        model = ElectraRTDForPreTraining(config).to(torch_device).train()
        for is_checkpointed in (False, True):
            if is_checkpointed:
                model.activation_checkpointing_enable()
                model.enable_input_require_grads()
            model.zero_grad()
            torch.manual_seed(42)
            model(**inputs).loss.backward()
            gradients.append(model.get_input_embeddings().delta.grad.clone())
        self.assertTrue(gradients[0].any())
        torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)
