"""The card's metadata are what the Hub wants."""

import string

import pytest

from electra_rtd.hub_tools import verify_checkpoint


GOOD_CARD = """---
license: apache-2.0
language:
- ko
- en
base_model: monologg/koelectra-base-v3-generator
base_model_relation: finetune
datasets:
- klue
library_name: transformers
pipeline_tag: feature-extraction
model-index:
- name: pair
  results: []
---
# Pair
"""


def test_a_card_in_order_is_mentioned_and_nothing_is_missing_then(pair_copy, found, write):
    write(pair_copy / "README.md", GOOD_CARD)
    report = verify_checkpoint(pair_copy)
    assert found(report, "warning") == [] and ("card", "README.md") in found(report, "info")


def alias_bomb(key):
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for name, before in zip(string.ascii_lowercase[1:12], string.ascii_lowercase, strict=False):
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]")
    return "\n".join([*lines, f"{key}: *l"])


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        (None, "no metadata block"),
        ("license: [", "not YAML"),
        ("date: 2020-13-45", "not YAML"),
        ("a: " + "[" * 1500, "not YAML"),
        ("- a", "are a list"),
        ("license: Apache 2.0", "`license` is 'Apache 2.0'"),
        ("language: Korean (South)", "`language` is 'Korean (South)'"),
        ("language: [ko, 5]", "`language` is 5"),
        ("base_model: a/b/c", "`base_model` is 'a/b/c'"),
        ("datasets: [a b]", "`datasets` is 'a b'"),
        ("library_name: Transformers", "`library_name`"),
        ("pipeline_tag: Fill Mask", "`pipeline_tag`"),
        ("base_model_relation: child", "`base_model_relation` is 'child'"),
        ("base_model_relation: [finetune]", "`base_model_relation` is ['finetune']"),
        ("model-index: {name: x}", "`model-index`"),
        ("model-index: [{name: x}]", "`model-index`"),
        (alias_bomb("license"), "`license` is ["),
        (alias_bomb("base_model_relation"), "`base_model_relation` is ["),
    ],
)
def test_a_card_that_the_hub_would_not_like_is_a_warning(pair_copy, metadata, says, message, warnings, write):
    write(pair_copy / "README.md", "# Pair\n" if metadata is None else f"---\n{metadata}\n---\n# Pair\n")
    assert warnings(pair_copy) == [("card-invalid", "README.md")]
    text = message(pair_copy, "card-invalid")
    assert says in text and len(text) < 300
