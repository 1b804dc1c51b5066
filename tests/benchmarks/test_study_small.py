"""The small form from end to end: arms trained on the same rows, scored, recorded, interrupted, gone on with."""

import functools
import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from transformers import ElectraForMaskedLM

from benchmarks.study import course, tables, work
from benchmarks.study.plan import FORMS
from electra_rtd import ElectraRTDForPreTraining


pytestmark = pytest.mark.slow

NOT_A_LABEL = -100
SCORES = ("none", "mlm", "rtd", "merged, 6000 tokens, alpha 0,", "merged, 6000 tokens, alpha 0.5,")


def watch(monkeypatch, model_class, seen):
    """What a model reads in training, as it was before a collator masked it: ids and attention mask of each batch."""
    forward = model_class.forward

    @functools.wraps(forward)  # the Trainer reads its signature
    def watched(self, input_ids=None, attention_mask=None, **kwargs):
        if self.training and attention_mask is not None:
            labels = kwargs.get("labels")
            originals = input_ids if labels is None else torch.where(labels == NOT_A_LABEL, input_ids, labels)
            seen.append((originals.clone(), attention_mask.clone()))
        return forward(self, input_ids=input_ids, attention_mask=attention_mask, **kwargs)

    monkeypatch.setattr(model_class, "forward", watched)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The small form, interrupted after its first piece, and gone on with."""
    folder = tmp_path_factory.mktemp("study")
    arguments = ["--form", "small", "--threads", "1"]
    arguments += ["--output", str(folder / "out"), "--work", str(folder / "work")]
    with pytest.MonkeyPatch.context() as monkeypatch:
        read = SimpleNamespace(rtd=[], mlm=[])
        watch(monkeypatch, ElectraRTDForPreTraining, read.rtd)
        watch(monkeypatch, ElectraForMaskedLM, read.mlm)
        assert course.main([*arguments, "--only", "tiny, none"]) == 0
        first = contents(folder / "out")
        assert course.main(arguments) == 0
    return SimpleNamespace(
        folder=folder, arguments=arguments, read=read, first=first, content=contents(folder / "out")
    )


def contents(folder):
    (file,) = folder.glob("study-small-*.json")
    return json.loads(file.read_text(encoding="utf-8"))


def score_of(study, arm):
    scores = [name for name in study.content["found"] if name.startswith("score: ")]
    (name,) = (name for name in scores if f", {arm}" in name.partition(";")[0])
    return study.content["found"][name]["figures"]


def training_of(study, arm):
    (name,) = (name for name in study.content["found"] if name.startswith("training: ") and f", {arm}," in name)
    return study.content["found"][name]["figures"]


def test_mlm_and_rtd_read_the_same_rows_in_the_same_order_and_so_as_many_tokens(study):
    assert len(study.read.rtd) == len(study.read.mlm) == training_of(study, "rtd")["steps"] > 20
    for (ids, mask), (ids_of_mlm, mask_of_mlm) in zip(study.read.rtd, study.read.mlm, strict=True):
        assert torch.equal(ids, ids_of_mlm) and torch.equal(mask, mask_of_mlm)
    tokens = sum(int(mask.sum()) for _, mask in study.read.rtd)
    assert training_of(study, "rtd")["tokens"] == training_of(study, "mlm")["tokens"] == tokens
    assert abs(tokens - 6_000) < 600


def test_every_arm_has_the_same_seeds_and_what_is_merged_with_alpha_0_scores_what_the_base_does(study):
    scores = {arm: score_of(study, arm) for arm in SCORES}
    for figures in scores.values():
        assert [run["seed"] for run in figures["runs"]] == [0, 1]
    base, same, half = (scores[arm]["runs"] for arm in (SCORES[0], *SCORES[3:]))
    assert base == same  # predictions, validation and test scores
    assert base != half
    assert scores["rtd"]["runs"] != scores["mlm"]["runs"] != base


def test_an_interrupted_study_keeps_what_was_done_and_goes_on(study, monkeypatch):
    first = study.first["found"]
    assert [name.partition(":")[0] for name in first] == ["targets", "score"]
    assert all(study.content["found"][name] == entry for name, entry in first.items())

    def refuse(*arguments):
        raise AssertionError("done already")

    for name in ("train", "score_encoder", "merge_checkpoints"):
        monkeypatch.setattr(work, name, refuse)
    assert course.main(study.arguments) == 0
    again = contents(study.folder / "out")
    assert again["found"] == study.content["found"] and len(again["runs"]) == len(study.content["runs"]) + 1


def test_tables_can_be_made_again_from_the_results_alone(study, tmp_path):
    shutil.copytree(study.folder / "out", tmp_path / "out")
    arguments = ["--form", "small", "--report", "--output", str(tmp_path / "out"), "--work", str(tmp_path / "none")]
    (tmp_path / "out" / "study.md").unlink()
    assert course.main(arguments) == 0
    text = (tmp_path / "out" / "study.md").read_text(encoding="utf-8").partition("<!-- study:small -->")[2]
    assert tables.NOBODY not in text and "All 6 pieces of the plan were run." in text
    base = [run["scores"]["accuracy"] for run in score_of(study, "none")["runs"] if run["collapsed"] is None]
    shown = f"{sum(base) / len(base):.3f}" if base else "all 2 collapsed"
    assert f"a. the start as it is |  |  |  |  | {shown}" in text
    assert "naive Bayes" in text and "Weights of the starts (first digits of their hash): tiny" in text
    assert not (tmp_path / "none").exists()


def test_a_call_ends_before_what_does_not_fit_into_its_hours(study, tmp_path, capsys):
    arguments = ["--form", "small", "--output", str(tmp_path), "--work", str(tmp_path / "work"), "--hours", "1e-6"]
    assert course.main(arguments) == 0
    assert "6 pieces are left: the next, score: tiny, none; latin, 48 rows, takes about" in capsys.readouterr().out
    assert not contents(tmp_path)["found"]


def test_a_word_that_no_piece_has_is_refused(tmp_path, capsys):
    assert course.main(["--only", "nothing", "--output", str(tmp_path)]) == 2
    assert "No piece has nothing in its name" in capsys.readouterr().err
    assert FORMS["small"].seeds == 2
