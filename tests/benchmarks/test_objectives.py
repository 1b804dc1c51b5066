"""The comparison of objectives: what it measures, what it writes down, and that it goes on where it was stopped."""

import json
import math
import statistics

import pytest
import torch
from datasets import Dataset

from benchmarks.objectives import course, measuring, page
from benchmarks.objectives.variants import PLAIN, VARIANTS, load_variant
from benchmarks.study.starts import MINI_PAIR
from electra_rtd.hub_tools.loading import load_tokenizer


TRAINED = ["tied", "exclude_original"]


def made_up(differences, against=0.7):
    """The content of a record: `exclude_original` differs from `tied` by these, one a seed."""
    found = {}
    for seed, difference in enumerate(differences):
        for name, auc in (("tied", against + seed / 100), ("exclude_original", against + seed / 100 + difference)):
            figures = {"mlm_loss": 3.0, "disc_loss": 0.3, "auc": auc, "recall": 0.1, "replaced_share": 0.12}
            found[f"{name}, seed {seed}"] = {"figures": {"own": figures, "common": figures}}
    machine = {"device": "a processor", "threads": 2, "torch": "2", "transformers": "5"}
    next(iter(found.values()))["machine"] = machine
    return {"facts": {"tokens": 5000, "corpus": "sample", "rate": 5e-4, "rows": 32}, "found": found}


def test_an_interval_is_students_over_paired_differences():
    differences = [0.01, 0.03, 0.02]
    middle, half = page.interval(differences)
    assert math.isclose(middle, 0.02)
    assert math.isclose(half, 4.303 * statistics.stdev(differences) / math.sqrt(3))
    assert page.interval([0.5])[1] == math.inf, "one seed has none"


def test_a_row_says_its_mean_and_its_difference_from_what_it_is_compared_with():
    text = page.tables(made_up([0.01, 0.03, 0.02]))
    row = next(line for line in text.splitlines() if line.startswith("| `exclude_original`"))
    assert row.startswith(
        "| `exclude_original` | `tied` | 3.000 (+0.000 ± 0.000) | 0.3000 (+0.0000 ± 0.0000) | 0.7300 "
    )
    assert f"(+0.0200 ± {4.303 * 0.01 / math.sqrt(3):.4f})" in row  # paired: the seeds' own spread is not in it
    assert "| `tied` |  | 3.000 |" in text and "`gdes`" not in text.split("**Time")[0]
    assert "5,000 tokens of `sample` a training, 3 seeds" in text


def test_nothing_measured_is_no_table():
    assert page.tables({"facts": {}, "found": {}}).startswith("Nobody has run it yet")


def test_detection_counts_what_is_told_apart():
    logits, labels = torch.tensor([[3.0, -1.0, 0.5, 9.0], [-2.0, 1.0, 0.0, 9.0]]), torch.tensor([[1, 0, 0, -100]] * 2)
    labels[1] = torch.tensor([1, 1, 0, -100])
    seen = measuring.Detection()
    for row in range(2):
        seen.add(logits[row : row + 1], labels[row : row + 1])
    figures = seen.figures()
    signs = torch.tensor([1, -1, -1, 1, 1, -1.0])
    expected = -torch.nn.functional.logsigmoid(signs * torch.tensor([3.0, -1.0, 0.5, -2.0, 1.0, 0.0])).mean()
    assert math.isclose(figures["disc_loss"], expected, rel_tol=1e-5)
    assert figures["auc"] == pytest.approx(6 / 9)  # of 3 x 3 pairs, -2 is below all three originals
    assert (figures["recall"], figures["replaced_share"]) == (2 / 3, 1 / 2)


def test_each_variant_begins_as_the_start_reads():
    """Different training, the same weights: on one corruption all have the same figures before the first step."""
    plain = load_variant(PLAIN, MINI_PAIR)
    batch = {"input_ids": torch.randint(10, 7000, (2, 12), generator=torch.Generator().manual_seed(0))}
    for name, variant in VARIANTS.items():
        model = load_variant(name, MINI_PAIR)
        for network in ("generator", "discriminator"):
            logits = getattr(model, network)(**batch).logits
            assert torch.equal(logits, getattr(plain, network)(**batch).logits), (name, network)
        wanted, config = variant.changes, model.config
        assert config.embedding_sharing == wanted["embedding_sharing"]
        assert config.exclude_original == wanted.get("exclude_original", False)
        assert config.mask_whole_words == wanted.get("mask_whole_words", False)
        assert all(weight.requires_grad for weight in model.generator.parameters()) == ("freeze" not in wanted)


def test_the_common_corruption_is_the_starts_whatever_a_variant_does():
    tokenizer = load_tokenizer(MINI_PAIR)
    texts = ["모델을 학습합니다.", "파이썬 문서를 읽습니다.", "이 함수는 값을 돌려줍니다."]
    rows = Dataset.from_list([dict(tokenizer(text), length=9) for text in texts])
    corrupted = measuring.corrupt(MINI_PAIR, rows, tokenizer)
    found = {name: measuring.held_out_figures(load_variant(name, MINI_PAIR), corrupted) for name in (PLAIN, "none")}
    found["exclude_original"] = measuring.held_out_figures(load_variant("exclude_original", MINI_PAIR), corrupted)
    assert found[PLAIN]["own"] == pytest.approx(found[PLAIN]["common"]), "the start on its own corruption"
    for name in ("none", "exclude_original"):
        assert found[name]["common"] == pytest.approx(found[PLAIN]["common"])
    own = found["exclude_original"]["own"]
    masked = sum(int(one.masked_positions.sum()) for one in corrupted)
    tokens = sum(int(one.batch["attention_mask"].sum()) for one in corrupted)
    assert own["replaced_share"] == masked / tokens
    assert own["mlm_loss"] == pytest.approx(found[PLAIN]["own"]["mlm_loss"])


def test_the_page_has_the_markers_and_every_variant_is_told_apart():
    text = page.PAGE.read_text(encoding="utf-8")
    assert text.count(f"<!-- bench:{page.NAME} -->") == text.count(f"<!-- /bench:{page.NAME} -->") == 1
    changes = [json.dumps(variant.changes, sort_keys=True) for variant in VARIANTS.values()]
    assert len(set(changes)) == len(VARIANTS) and all(variant.against in VARIANTS for variant in VARIANTS.values())


@pytest.mark.parametrize(
    "wrong", [["--tokens", "0"], ["--seeds", "0"], ["--only", "nothing"], ["--timed-rounds", "1"]]
)
def test_options_that_make_no_sense_are_refused(wrong, capsys):
    with pytest.raises(SystemExit) as refused:
        course.main(wrong)
    assert refused.value.code == 2 and wrong[0] in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_goes_on_where_it_was_stopped_and_trains_nothing_twice(tmp_path, monkeypatch, capsys):
    arguments = ["--corpus", "sample", "--tokens", "1500", "--timed-rounds", "2", "--threads", "1"]
    arguments += ["--output", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    once, trained = course.train_and_measure, []

    def watched(model, work, tokens, seed):
        if len(trained) == 1 and seed == 0:
            raise KeyboardInterrupt
        trained.append(seed)
        return once(model, work, tokens, seed)

    monkeypatch.setattr(course, "train_and_measure", watched)
    with pytest.raises(KeyboardInterrupt):
        course.main([*arguments, "--seeds", "1", "--only", *TRAINED])
    kept = json.loads((tmp_path / "out" / "objectives-cpu.json").read_text(encoding="utf-8"))["found"]
    assert list(kept) == ["start", "tied, seed 0"]
    monkeypatch.setattr(course, "train_and_measure", once)
    assert course.main([*arguments, "--seeds", "1", "--only", *TRAINED]) == 0
    content = json.loads((tmp_path / "out" / "objectives-cpu.json").read_text(encoding="utf-8"))["found"]
    assert content["tied, seed 0"] == kept["tied, seed 0"]
    figures = content["exclude_original, seed 0"]["figures"]
    assert figures["tokens"] == kept["tied, seed 0"]["figures"]["tokens"]
    assert set(content["timing"]["figures"]["seconds"]) == set(TRAINED)
    assert "| `exclude_original` | `tied` |" in (tmp_path / "out" / "objective.md").read_text(encoding="utf-8")
    capsys.readouterr()
    assert course.main([*arguments, "--seeds", "1", "--only", *TRAINED, "--list"]) == 0
    assert "0 trainings" in capsys.readouterr().out
