"""The study trains, counts and compares as docs/study.md says: arms, budgets, starts, and what is shown of results."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from datasets import Dataset
from transformers import BertConfig, BertForMaskedLM, BertModel, ElectraForMaskedLM, ElectraForPreTraining

from benchmarks.study import article, corpora, minilm, page, plan, results, tables, tasks, work
from benchmarks.study.adaptation import Adaptation
from benchmarks.study.arms import ARMS
from benchmarks.study.figure import draw_gains
from benchmarks.study.packing import pack, unpack
from benchmarks.study.record import StudyRecord
from benchmarks.text import SHARED


needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared texts are not beside this checkout")
SMALL, WHOLE = plan.FORMS["small"], plan.FORMS["whole"]
BASE = Adaptation("mini", "ko_techdocs", "none")
MACHINE = {"device": "a machine", "threads": 2, "torch": "2", "transformers": "5", "python": "3"}
RTD = Adaptation("mini", "ko_techdocs", "rtd", 1_000_000, rate=1e-4)
MLM = replace(RTD, arm="mlm", rate=5e-4)


# ---- The English start ----------------------------------------------------------------------------------------------


@pytest.fixture
def bert_config(ids):
    return BertConfig(
        vocab_size=ids.vocab_size,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=64,
        pad_token_id=ids.pad,
        initializer_range=0.2,
    )


@pytest.mark.parametrize("model_class", [BertModel, BertForMaskedLM])  # names without `bert.` before them, and with
def test_an_encoder_of_bert_gives_the_same_hidden_states_under_electras_names(
    bert_config, model_class, make_batch, tmp_path
):
    torch.manual_seed(0)
    bert = model_class(bert_config).eval()
    bert.save_pretrained(tmp_path)
    electra = minilm.discriminator_of(tmp_path).eval().electra
    batch = make_batch(segments=True)
    attended = batch["attention_mask"].bool()
    expected = getattr(bert, "bert", bert)(**batch)[0][attended]
    torch.testing.assert_close(electra(**batch)[0][attended], expected, rtol=1e-5, atol=1e-5)
    assert expected.std() > 0.1


def test_an_encoder_with_other_layers_than_its_configuration_says_is_refused(bert_config, tmp_path):
    BertModel(bert_config).save_pretrained(tmp_path)
    fields = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**fields, "num_hidden_layers": 2}))
    with pytest.raises(ValueError, match=r"encoder\.layer\.2"):
        minilm.discriminator_of(tmp_path)


def test_a_generator_is_cut_from_a_discriminator_and_warming_up_leaves_the_encoder_as_it_was(
    make_electra_config, tokenizer, ids, tmp_path, monkeypatch
):
    torch.manual_seed(0)
    discriminator = ElectraForPreTraining(make_electra_config(num_hidden_layers=3))
    generator = minilm.generator_of(discriminator, layers=2)
    assert generator.config.num_hidden_layers == 2
    assert generator.generator_lm_head.weight is generator.electra.embeddings.word_embeddings.weight
    for name, weight in generator.electra.state_dict().items():
        assert torch.equal(weight, discriminator.electra.state_dict()[name]), name
    before = {name: weight.clone() for name, weight in discriminator.state_dict().items()}
    of_generator = {name: weight.clone() for name, weight in generator.state_dict().items()}
    rows = Dataset.from_dict(
        {"input_ids": [[ids.cls, *ids.ordinary[start : start + 9], ids.sep] for start in range(40)]}
    )
    monkeypatch.setattr(minilm, "ROWS", 4)
    minilm.warm_up(generator, discriminator, tokenizer, rows, tmp_path / "run", tokens=(200, 200))
    for name, weight in discriminator.state_dict().items():
        assert torch.equal(weight, before[name]) == name.startswith("electra."), name
    moved = {name for name, weight in generator.state_dict().items() if not torch.equal(weight, of_generator[name])}
    assert "generator_predictions.dense.weight" in moved and "electra.encoder.layer.1.output.dense.weight" in moved


# ---- The article's recipe -------------------------------------------------------------------------------------------


def test_the_article_masks_as_many_tokens_as_asked_or_one_more_and_no_special_ones(make_batch, ids):
    torch.manual_seed(0)
    batch = make_batch(lengths=(40, 22, 7, 3), width=40)["input_ids"]
    candidates = ~torch.isin(batch, torch.tensor([ids.pad, ids.cls, ids.sep]))
    counts = []
    for _ in range(50):
        masked = article.article_mask(candidates)
        assert not (masked & ~candidates).any()
        counts.append(masked.sum(dim=1))
    counts = torch.stack(counts)  # (50, 4)
    # ceil(0.15 n) of 38, 20, 5 and 1 tokens is 6, 3, 1 and 1; the count begins one late. The longest row of 40 has
    # room for ceil(0.15 * 40) = 6 alone.
    assert counts.unique(dim=0).tolist() == [[6, 4, 2, 1]]


def test_the_article_shows_networks_no_attention_mask_and_learns_in_both(
    pair_folders, tokenizer, make_batch, monkeypatch
):
    generator, discriminator = pair_folders
    model = article.ArticleModel(
        ElectraForMaskedLM.from_pretrained(generator), ElectraForPreTraining.from_pretrained(discriminator), tokenizer
    )
    seen = []
    for network in (model.generator, model.discriminator):
        network.register_forward_pre_hook(lambda module, arguments, named: seen.append(named), with_kwargs=True)
    torch.manual_seed(0)
    model(**make_batch()).loss.backward()
    assert seen == [{}, {}]
    still = [name for name, one in model.named_parameters() if one.grad is None or not one.grad.abs().sum() > 0]
    assert all("position" in name or "token_type" in name or "pad" in name for name in still), still


# ---- Budgets --------------------------------------------------------------------------------------------------------


class Told(work.Work):
    """A workshop with texts of 50 tokens a row, which nobody has to tokenize."""

    def tokens_a_row(self, adaptation):
        return 50.0


@pytest.fixture
def record(tmp_path):
    return StudyRecord(tmp_path / "study.json", {"study": 1, "form": "whole"})


@pytest.fixture
def shop(record, tmp_path):
    return Told(WHOLE, record, tmp_path / "work", MACHINE)


def test_equal_tokens_are_equal_steps_and_equal_time_is_by_the_seconds_of_a_step(shop):
    assert shop.steps(RTD) == 1_000_000 / (32 * 50) == shop.steps(MLM)
    assert shop.steps(replace(RTD, arm="article")) == 2 * shop.steps(RTD)  # batches of 16
    figures = {"step_against_rtd": {"median": 0.8, "p10": 0.7, "p90": 0.9}}
    shop.keep("timing: mini, ko_techdocs, mlm", figures, 1.0)
    assert shop.steps(replace(MLM, budget="time")) == round(625 / 0.8)
    assert shop.steps(replace(RTD, budget="time")) == 625


def test_an_arm_has_one_rate_for_its_start_whatever_its_text_budget_seed_and_changes(shop, monkeypatch):
    asked = []

    def score(adaptation, task, rows, seeds=None):
        asked.append((adaptation.arm, adaptation.rate, adaptation.seed, adaptation.budget, task, seeds))
        value = {1.5e-4: 0.5, 5e-4: 0.7, 1.5e-3: 0.6}[adaptation.rate]
        return {"metric": "accuracy", "runs": [{"validation": {"accuracy": value}, "scores": {"accuracy": 1 - value}}]}

    monkeypatch.setattr(shop, "score", score)
    free = replace(MLM, rate=None)
    for one in (
        free,
        replace(free, seed=2),
        replace(free, budget="time"),
        replace(free, changes=(("mask_prob", 0.25),)),
        replace(free, corpus="ko_book"),  # a start's rates are chosen on one text
    ):
        assert shop.with_rate(one).rate == 5e-4  # by validation rows: test rows say otherwise
    assert asked == [("mlm", rate, 0, "tokens", "projects", 1) for rate in WHOLE.rates["mini"]]
    merged = shop.with_rate(replace(RTD, arm="merged", alpha=0.5, rate=None))
    assert merged.rate == 5e-4 and merged.source.arm == "rtd"
    assert shop.with_rate(BASE) == BASE


def test_results_of_another_pair_are_not_mixed_in(record):
    record.require_start("mini", "aaa")
    record.finish("a piece")
    again = StudyRecord(record.path, {"study": 1, "form": "whole"})
    assert again.is_finished("a piece") and not again.is_finished("another")
    again.require_start("mini", "aaa")
    with pytest.raises(ValueError, match=r"another pair.*mini.*--output"):
        again.require_start("mini", "bbb")


# ---- The plan -------------------------------------------------------------------------------------------------------


def test_the_plan_begins_with_the_main_question_and_each_rate_is_chosen_before_its_scores():
    pieces = plan.plan(WHOLE)
    names = [piece.name for piece in pieces]
    assert len(set(names)) == len(names)
    main = [name for name in names if ", mlm, 1M tokens" in name and name.startswith("score")][:4]
    assert [("equal time" in name, "ko_book" in name) for name in main] == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert max(names.index(name) for name in main) < 20
    seen = set()
    for name in names:
        of = name.partition(": ")[2].partition(";")[0]
        start, corpus, arm = (*of.split(", ")[:3], "", "")[:3]
        key = start, tasks.RATED_ON.get(start), arm
        if name.startswith("rate: "):
            assert corpus == key[1]
            seen.add(key)
        elif name.startswith("score: ") and key[-1] in ("rtd", "mlm", "article", "replay", "frozen"):
            assert key in seen, name
    arms = {name.split(", ")[2] for name in names if name.startswith("score") and "tokens" in name}
    assert arms == set(ARMS) - {"none", "random"}
    assert all(0 < piece.seconds < 2 * 3600 for piece in pieces)  # each fits into a call of two hours


@pytest.mark.parametrize("name", plan.ABLATIONS)
def test_an_ablation_changes_one_thing(name):
    plain = Adaptation("mini", plan.ABLATED_CORPUS, "rtd", WHOLE.tokens_of["mini"])
    for adaptation in plan.ablated(WHOLE)[name]:
        fields = [field for field, value in asdict(adaptation).items() if value != asdict(plain)[field]]
        assert len(fields) == 1, fields


# ---- What is shown --------------------------------------------------------------------------------------------------

ROWS = 40
TARGETS = [number % 2 for number in range(ROWS)]


def figures_of(adaptation, right, validation=0.5, task="projects", rows=300):
    """Five seeds, each with so many right answers (`list[int]`) and a validation score."""
    runs = []
    for seed, number in enumerate(right):
        predictions = [target if row < number else 1 - target for row, target in enumerate(TARGETS)]
        scores = {"accuracy": number / ROWS}
        runs.append({"seed": seed, "validation": {"accuracy": validation}, "scores": scores, "collapsed": None})
        runs[-1]["predictions"] = pack(predictions)
    return {
        "of": asdict(adaptation),
        "task": task,
        "rows": rows,
        "metric": "accuracy",
        "kind": "single",
        "edge": "highest",
        "runs": runs,
    }


@pytest.fixture
def filled(shop):
    """A record with a base, arms b and c, and a merge."""
    shop.keep("targets: projects", {"names": ["no", "yes"], "targets": pack(TARGETS)}, 0.0)
    merged = replace(RTD, arm="merged", alpha=0.5)
    for adaptation, right, validation in (
        (BASE, (20, 21, 20, 21, 20), 0.50),
        (RTD, (30, 31, 30, 31, 19), 0.45),
        (MLM, (22, 21, 23, 22, 22), 0.55),
        (merged, (25, 25, 25, 25, 25), 0.60),
    ):
        name = f"score: {adaptation.name()}; projects, 300 rows, 5 seeds"
        shop.keep(name, figures_of(adaptation, right, validation), 1.0)
    # One seed chose a rate: no result.
    shop.keep("score: chosen by", figures_of(replace(RTD, rate=5e-5), (40,)), 1.0)
    # And what was scored at another rate than the chosen one is for the ablation of rates.
    chosen = {"of": asdict(replace(RTD, rate=None)), "task": "projects", "validation": {}, "rate": 1e-4}
    shop.keep(f"rate: {RTD.name(with_rate=False)}", chosen, 0.0)
    other = replace(RTD, rate=5e-4)
    shop.keep(f"score: {other.name()}; ...", figures_of(other, (29, 31, 30, 31, 19)), 1.0)
    training = {"of": asdict(RTD), "steps": 3125, "tokens": 4_012_345, "seconds": 600.0}
    shop.keep(f"training: {RTD.name()}", training, 600.0)
    shop.record.begin("python -m benchmarks.study --form whole", "2026-01-01T00:00+00:00")
    return shop.record


def test_harm_counts_seeds_below_the_base_and_what_gate_and_merge_would_have_taken(filled):
    counts = results.harm(results.Results(filled.content, 5))
    rtd, mlm = counts["mini", "rtd"], counts["mini", "mlm"]
    # Arm c is below the base in one seed; its validation score is below too, so a gate keeps the base everywhere.
    assert (rtd["runs"], rtd["plain"], rtd["gated"]) == (5, 1, 0)
    assert (rtd["merged_runs"], rtd["merged"], rtd["alphas"]) == (5, 0, [0.5])
    assert (mlm["runs"], mlm["plain"], mlm["gated"], mlm["merged_runs"]) == (5, 0, 0, 0)


def test_a_gate_that_opens_lets_harm_through(filled, shop):
    worse = replace(RTD, arm="frozen")
    name = f"score: {worse.name()}; projects, 300 rows, 5 seeds"
    shop.keep(name, figures_of(worse, (10, 30, 10, 30, 10), validation=0.9), 1.0)
    counts = results.harm(results.Results(filled.content, 5))["mini", "frozen"]
    assert (counts["plain"], counts["gated"]) == (3, 3)


def test_tables_show_differences_with_intervals_and_name_what_was_not_run(filled):
    known = results.Results(filled.content, 5)
    assert [one.of.arm for one in known.scores] == ["none", "rtd", "mlm", "merged"]
    text = tables.study_tables(known, WHOLE)
    # (30 + 31 + 30 + 31 + 19 - 22 - 21 - 23 - 22 - 22) / 200 = 0.155
    assert "| 0.550 | 0.705 | +15.5 [" in tables.main_question(known)
    assert "4.01M | 10 |" in text and "Machine: a machine, 2 threads" in text
    assert "python -m benchmarks.study --form whole" in text
    assert "the highest in 4 of 4 scores" in text
    missing = len(plan.plan(WHOLE))
    assert f"Not run: {missing} of {missing} pieces" in text and "timing: english, en_biomed, mlm" in text


def test_a_collapsed_run_is_named_and_in_no_mean_but_it_is_harm(filled, shop):
    one = replace(RTD, arm="replay")
    figures = figures_of(one, (30, 30, 30, 20, 0))
    for seed in (3, 4):
        figures["runs"][seed]["collapsed"] = "one class for all rows"
    shop.keep(f"score: {one.name()}; projects, 300 rows, 5 seeds", figures, 1.0)
    known = results.Results(filled.content, 5)
    assert "0.750 (2 of 5 collapsed), +24.2 [" in tables.study_tables(known, WHOLE)
    assert results.harm(known)["mini", "replay"]["plain"] == 2


def test_advice_takes_what_is_shown_to_be_better_and_keeps_the_default_otherwise(filled, shop):
    lines = tables.advice(results.Results(filled.content, 5), WHOLE).splitlines()
    assert [tables.NOBODY in line for line in lines] == [name != "learning rate" for name in plan.ABLATIONS]
    rates = next(line for line in lines if "rate" in line)
    assert "keep the default" in rates and "default 0.705; rate 0.0005 0.700 (-0.5 [" in rates
    for weight, right in ((10.0, (40, 40, 40, 40, 40)), (25.0, (30, 31, 30, 31, 20))):
        changed = replace(RTD, changes=(("disc_weight", weight),))
        name = f"score: {changed.name()}; projects, 300 rows, 5 seeds"
        shop.keep(name, figures_of(changed, right), 1.0)
    weights = next(
        line for line in tables.advice(results.Results(filled.content, 5), WHOLE).splitlines() if "disc" in line
    )
    assert weights.startswith(
        "- **disc_weight**: take `disc_weight=10.0`. default 0.705; `disc_weight=10.0` 1.000 (+29.5 ["
    )
    assert "`disc_weight=25.0` 0.710 (+0.5 [" in weights and "cannot tell" in weights


def test_the_pages_have_a_place_for_every_table_and_say_so_until_it_is_there(record, tmp_path):
    written = page.write_pages(record.content, WHOLE, tmp_path / "pages")
    study, recipes = (path.read_text(encoding="utf-8") for path in written)
    assert study.count(tables.NOBODY) >= 1 and "Not run: " in study
    assert recipes.count(tables.NOBODY) == len(plan.ABLATIONS)
    assert "<!-- study:small -->" in study
    with pytest.raises(ValueError, match="study:whole"):
        page.replace_between_markers("no markers", "whole", "text")


def test_the_figure_has_a_panel_a_task_and_stands_before_the_tables(filled, tmp_path):
    study, _, figure = page.write_pages(filled.content, WHOLE, tmp_path)
    assert figure.read_text(encoding="utf-8").startswith("<?xml")
    text = study.read_text(encoding="utf-8").partition("<!-- study:whole -->")[2]
    assert text.index("(study/study-gains.svg)") < text.index("**RTD against MLM**")
    (axis,) = draw_gains(results.Results(filled.content, 5)).axes
    assert axis.get_title() == "mini, ko_techdocs: projects"
    assert [label.get_text() for label in axis.get_yticklabels()] == ["rtd", "mlm", "merged alpha 0.5"]


def test_predictions_are_packed_without_loss():
    classes = [number % 13 for number in range(3469)]
    assert unpack(pack(classes)) == classes and len(pack(classes)) < len(classes)


# ---- The shared data ------------------------------------------------------------------------------------------------


@needs_shared
@pytest.mark.slow
def test_no_paragraph_that_is_tested_is_trained_on(tmp_path):
    train, validation, test = (
        [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        for file in tasks.task_files("projects", tmp_path)
    )
    adapted_to = set(corpora.prepare_corpus("ko_techdocs", tmp_path).train.read_text(encoding="utf-8").splitlines())
    assert {row["label"] for row in test} == set(tasks.PROJECTS) == {row["label"] for row in train}
    tested = {row["text"] for row in test}
    shared = [row["text"] for row in (*train, *validation) if row["text"] in tested]
    assert len(shared) <= 0.02 * len(test)  # phrases that many pages have
    assert len(tested & adapted_to) <= 0.05 * len(test)


@needs_shared
@pytest.mark.slow
def test_less_text_is_part_of_more_text(tmp_path):
    few, more = (corpora.prepare_corpus("ko_book", tmp_path, share) for share in (0.1, 0.3))
    assert few.rows == 3406 and more.rows == 10218
    assert set(few.train.read_text(encoding="utf-8").splitlines()) <= set(
        more.train.read_text(encoding="utf-8").splitlines()
    )
