"""The figure of docs/pairs.md: what is measured, what is not run twice, and what is written."""

import json
from types import SimpleNamespace

import pytest
import torch

from benchmarks import machine, pairs, pairs_page
from benchmarks.text import SHARED


POINTS = [
    {"tokens": 0, "mlm_loss": 9.3, "own_auc": 0.67, "auc": 0.62},
    {"tokens": 5000, "mlm_loss": 7.1, "own_auc": 0.86, "auc": 0.65},
]


def made_up(name, options):
    machine_facts = {"threads": 2, "device": "a machine", "torch": "2", "transformers": "5"}
    sizes = {"generator_layers": 2, "generator_parameters": 1_660_000, "embedding_sharing": "tied", "seconds": 61.2}
    return {**pairs._asked(name, options), **sizes, "points": POINTS, "machine": machine_facts}


def test_the_area_counts_pairs_and_half_of_the_ties():
    draw = torch.Generator().manual_seed(0)
    logits = torch.randint(-3, 4, (6, 9), generator=draw).float()  # with many ties
    labels = torch.randint(-1, 2, (6, 9), generator=draw).masked_fill_(torch.rand(6, 9, generator=draw) < 0.1, -100)
    labels[labels == -1] = -100
    scores = [
        1.0 if high > low else 0.5 if high == low else 0.0
        for high in logits[labels == 1].tolist()
        for low in logits[labels == 0].tolist()
    ]
    batches = [(logits[:2], labels[:2]), (logits[2:], labels[2:])]
    assert pairs.area_under_curve(batches) == pytest.approx(sum(scores) / len(scores))


def test_evaluations_stand_at_even_distances_and_at_both_ends(monkeypatch):
    monkeypatch.setattr(pairs, "evaluate", lambda model, held_out: {"auc": 0.5})
    curve, model, seen = pairs.Curve([], 4), torch.nn.Identity(), []
    curve.on_train_begin(None, None, None, model=model)
    for step in range(1, 11):
        before = len(curve.points)
        curve.on_step_end(None, SimpleNamespace(global_step=step, max_steps=10), None, model=model)
        seen += [step] * (len(curve.points) - before)
    assert seen == [3, 5, 8, 10] and len(curve.points) == 5


def test_an_arm_that_is_in_the_file_is_not_run_again(monkeypatch, tmp_path, capsys):
    (tmp_path / "pairs.md").write_text(
        "Before\n<!-- bench:pairs -->\n<!-- /bench:pairs -->\nAfter\n", encoding="utf-8"
    )
    ran = []
    for module in (pairs, machine):
        monkeypatch.setattr(module, "RESULTS", tmp_path)
    monkeypatch.setattr(pairs, "SHARED", tmp_path)
    (tmp_path / "ko_techdocs").mkdir()
    monkeypatch.setattr(pairs_page, "PAGE", tmp_path / "pairs.md")
    monkeypatch.setattr(pairs_page, "FIGURE", tmp_path / "pairs" / "generators.svg")
    monkeypatch.setattr(pairs, "prepare", lambda: None)
    monkeypatch.setattr(pairs, "run_arm", lambda name, ground, options: ran.append(name) or made_up(name, options))
    threads = ["--threads", str(torch.get_num_threads())]
    assert pairs.main(["--arms", "cut", *threads]) == 0
    assert pairs.main(threads) == 0
    assert ran == ["cut", *(name for name in pairs.ARMS if name != "cut")]
    assert pairs.main(["--arms", "cut", "--tokens", "7", *threads]) == 0 and ran[-1] == "cut"  # asked otherwise
    runs = json.loads((tmp_path / "pairs-cpu.json").read_text(encoding="utf-8"))
    assert len(runs) == len(pairs.ARMS) + 1
    page = (tmp_path / "pairs.md").read_text(encoding="utf-8")
    assert page.startswith("Before\n") and page.endswith("After\n") and "![" in page
    assert "| cut | 2 | 1.7 M | 9.300 → 7.100 | 0.620 → 0.650 | 0.670 → 0.860 | 61 |" in page
    assert "cut" in (tmp_path / "pairs" / "generators.svg").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared texts are not beside this checkout")
def test_every_arm_reads_the_same_tokens_and_begins_with_the_same_discriminator(monkeypatch, tmp_path):
    monkeypatch.setattr(pairs, "WORK", tmp_path)
    monkeypatch.setattr(pairs, "HELD_OUT_ROWS", 20)
    for name in ("DOMAIN", "GENERAL"):
        monkeypatch.setattr(pairs, name, ["ko_techdocs/pytorch_ko.txt.gz"])
    options = pairs.parse_arguments(["--tokens", "1500", "--bert-tokens", "1500", "--points", "1", "--threads", "1"])
    ground = pairs.prepare()
    runs = {name: pairs.run_arm(name, ground, options) for name in pairs.ARMS}
    assert len({tuple(point["tokens"] for point in run["points"]) for run in runs.values()}) == 1
    assert len({run["points"][0]["auc"] for run in runs.values()}) == 1
    assert len({run["points"][-1]["auc"] for run in runs.values()}) == len(runs)
    first = {name: run["points"][0]["mlm_loss"] for name, run in runs.items()}
    assert first["together"] < first["borrowed"] and first["together"] < first["cut"] == first["cut, not tied"]
    assert runs["together"]["points"][0]["auc"] == runs["together"]["points"][0]["own_auc"]
    assert runs["cut"]["embedding_sharing"] == "tied" and runs["cut, not tied"]["embedding_sharing"] == "none"
    assert (tmp_path / "bert-1500" / "config.json").is_file()
