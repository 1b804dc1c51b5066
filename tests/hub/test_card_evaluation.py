"""An evaluation in a model card: what is written, what of a README stays, and whose figures a push carries on."""

import json
import shutil

import pytest
import yaml
from huggingface_hub import EvalResult, ModelCard
from made_up_evaluation import ARMS, evaluation

from electra_rtd.hub_tools import export_discriminator, layout, merge_checkpoints, push_checkpoint, verify_checkpoint
from electra_rtd.hub_tools.card_evaluation import carried
from electra_rtd.hub_tools.local_card import write_evaluation
from electra_rtd.train_tools.evaluation.card import arm_in, write_card


MINE = "---\nlicense: mit\ntags: [mine]  # a comment\n---\n\n# Mine\n\nMy own words.\n"


@pytest.fixture
def adapted(pair_copy):
    """A pair with its discriminator beside it."""
    export_discriminator(pair_copy, pair_copy / "discriminator")
    return pair_copy


def made(folder, **options):
    return evaluation(arms={"before": "koe/discriminator", "after": str(folder)}, **options)


def card(folder):
    return (folder / layout.CARD).read_text(encoding="utf-8")


def metadata(text):
    return yaml.safe_load(text.split("---\n", 2)[1])


def rows(text):
    """The rows of a `model-index`: data set and metric to value."""
    (model,) = metadata(text).get("model-index", [{"results": []}])
    pairs = ((row["dataset"]["name"], metric) for row in model["results"] for metric in row["metrics"])
    return {(name, metric["name"]): metric["value"] for name, metric in pairs}


def pushed(hub, folder, **options):
    push_checkpoint(folder, "alice/model", token=hub.alice, export=(), **options)
    return hub.files("alice/model")[layout.CARD].decode("utf-8")


# ---- What is written ----


def test_the_card_of_an_arm_gets_its_scores_and_the_verdict(adapted):
    write_card(made(adapted), adapted)
    text = card(adapted)
    assert rows(text) == {
        ("reviews.csv", "accuracy, mean of 3 seeds"): 0.73,
        ("reviews.csv", "macro_f1, mean of 3 seeds"): 0.71,
        ("reviews.csv", "micro_f1, mean of 3 seeds"): 0.73,
    }
    assert "## Evaluation on reviews.csv\n" in text
    assert "**Better: after against before, +3.0 points of accuracy (95% interval +1.0 to +5.0; 3 seeds" in text
    assert "| after | 73.0 ± 1.0 | 71.0 ± 1.0 | 3 | 0.0001 |\n" in text
    assert "`after` is this checkpoint; `before` is `koe/discriminator`." in text


def test_the_hubs_own_reader_finds_the_results(adapted):
    write_card(made(adapted), adapted)
    results = ModelCard.load(adapted / layout.CARD).data.eval_results
    assert [result.metric_type for result in results] == ["accuracy", "f1", "f1"]
    first = results[0]
    assert (first.task_type, first.dataset_name, first.dataset_split) == ("text-classification", "reviews.csv", "test")
    assert first.dataset_args["train_rows"] == 400 and first.dataset_args["test_rows"] == 500
    assert {finding.code for finding in verify_checkpoint(adapted).findings} >= {"card"}


@pytest.mark.parametrize(
    ("kind", "metric", "task_type", "hub_metric"),
    [
        ("regression", "spearman", "text-classification", "spearmanr"),
        ("tokens", "f1", "token-classification", "f1"),
    ],
)
def test_other_tasks_have_the_hubs_names(adapted, kind, metric, task_type, hub_metric):
    of_kind = made(adapted, kind=kind, metric=metric)
    for run in of_kind.runs:
        run.scores = {metric: run.scores["accuracy"]}
    write_card(of_kind, adapted)
    (result,) = ModelCard.load(adapted / layout.CARD).data.eval_results
    assert (result.task_type, result.metric_type) == (task_type, hub_metric)


def test_of_a_curve_the_model_index_has_the_scores_with_the_most_rows(adapted):
    write_card(made(adapted, counts=(50, 200)), adapted)
    assert rows(card(adapted))["reviews.csv", "accuracy, mean of 3 seeds"] == 0.78
    assert metadata(card(adapted))["model-index"][0]["results"][0]["dataset"]["args"]["train_rows"] == 200


def test_no_place_on_this_disk_is_in_a_card(adapted, tmp_path):
    both = evaluation(arms={"before": str(tmp_path / "secret" / "base"), "after": str(adapted)})
    write_card(both, adapted)
    assert "somebody" not in card(adapted) and str(tmp_path) not in card(adapted) and "secret" not in card(adapted)
    assert "`before` is `base`" in card(adapted)


def test_names_cannot_be_markup(adapted):
    strange = "a|b_<script>*x*"
    named = made(adapted, files=[f"/home/{strange}.csv"], names=[strange, "b"])
    write_card(named, adapted)
    assert "<script>" not in card(adapted).split("---\n", 2)[2]
    assert r"## Evaluation on a\|b\_\<script\>\*x\*.csv" in card(adapted)
    assert rows(card(adapted))[f"{strange}.csv", "accuracy, mean of 3 seeds"] == 0.73


# ---- Whose card ----


@pytest.mark.parametrize(
    ("arm", "folder"),
    [("", ""), ("discriminator", "discriminator"), ("discriminator", ""), ("", "discriminator")],
)
def test_a_pair_and_its_exported_discriminator_are_one_encoder(adapted, arm, folder):
    write_card(made(adapted / arm), adapted / folder)
    assert rows(card(adapted / folder))["reviews.csv", "accuracy, mean of 3 seeds"] == 0.73


def test_the_card_of_the_base_gets_its_own_scores(adapted):
    write_card(evaluation(arms={"before": str(adapted), "after": "koe/x"}), adapted)
    assert rows(card(adapted))["reviews.csv", "accuracy, mean of 3 seeds"] == 0.7


def test_a_folder_that_was_not_evaluated_gets_no_figures(adapted, saved_pair):
    with pytest.raises(ValueError, match=r"`write_card=.*` holds none of the encoders that are evaluated"):
        write_card(made(adapted), saved_pair)
    assert not (saved_pair / layout.CARD).exists()


@pytest.mark.parametrize("folder", ["nothing", "empty"])
def test_a_folder_without_a_checkpoint_is_refused(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="is no folder with a checkpoint"):
        arm_in(ARMS, tmp_path / folder)


# ---- What stays ----


def test_what_a_person_wrote_stays(adapted):
    (adapted / layout.CARD).write_text(MINE, encoding="utf-8")
    write_card(made(adapted), adapted)
    text = card(adapted)
    body = text.split("---\n", 2)[2]
    assert body.startswith("\n# Mine\n\nMy own words.\n\n<!-- electra-rtd evaluation ")
    assert metadata(text)["license"] == "mit" and metadata(text)["tags"] == ["mine"] and rows(text)


def test_results_of_others_stay_in_the_model_index(adapted):
    theirs = {
        "task": {"type": "x"},
        "dataset": {"name": "theirs", "type": "text"},
        "metrics": [{"type": "f1", "value": 0.5, "name": "f1"}],
    }
    index = yaml.safe_dump({"model-index": [{"name": "m", "results": [theirs]}]})
    (adapted / layout.CARD).write_text(f"---\n{index}---\n\n# Mine\n", encoding="utf-8")
    for _ in range(2):
        write_card(made(adapted), adapted)
    assert rows(card(adapted))["theirs", "f1"] == 0.5 and len(rows(card(adapted))) == 4
    assert metadata(card(adapted))["model-index"][0]["name"] == "m"


def test_the_same_evaluation_again_takes_the_place_of_the_first(adapted):
    write_card(made(adapted, after=0.01, verdict="cannot tell"), adapted)
    write_card(made(adapted), adapted)
    assert card(adapted).count("## Evaluation on") == 1 and "Cannot tell" not in card(adapted)
    assert rows(card(adapted))["reviews.csv", "accuracy, mean of 3 seeds"] == 0.73


def test_another_task_stands_beside_it(adapted):
    write_card(made(adapted), adapted)
    write_card(made(adapted, files=["news.csv"], after=0.05), adapted)
    scores = rows(card(adapted))
    assert scores["reviews.csv", "accuracy, mean of 3 seeds"] == 0.73
    assert scores["news.csv", "accuracy, mean of 3 seeds"] == 0.75
    assert card(adapted).count("## Evaluation on") == 2


def test_line_ends_stay_as_they_are(adapted):
    (adapted / layout.CARD).write_bytes(MINE.replace("\n", "\r\n").encode())
    write_card(made(adapted), adapted)
    content = (adapted / layout.CARD).read_bytes()
    assert content.count(b"\n") == content.count(b"\r\n")


@pytest.mark.parametrize("readme", ["---\na: [\n---\n# Mine\n", "---\nmodel-index: 3\n---\n# Mine\n"])
def test_metadata_that_cannot_be_read_are_left_alone(adapted, readme):
    (adapted / layout.CARD).write_text(readme, encoding="utf-8")
    with pytest.raises(ValueError, match="Nothing is written"):
        write_card(made(adapted), adapted)
    assert card(adapted) == readme


def test_a_merged_stock_checkpoint_says_so(adapted, save_pair, tokenizer, tmp_path):
    _, other = save_pair(tmp_path / "stock", tokenizer, seed=5)
    merged = merge_checkpoints(adapted / "discriminator", other, 0.7, tmp_path / "merged")
    write_card(made(merged), merged)
    assert "These weights were merged, not trained: 0.3 of `pair/discriminator` and 0.7 of" in card(merged)


# ---- Under a push ----


def test_a_push_keeps_the_evaluation_and_adds_what_it_knows(adapted, hub):
    write_card(made(adapted), adapted)
    text = pushed(hub, adapted)
    assert rows(text)["reviews.csv", "accuracy, mean of 3 seeds"] == 0.73
    assert text.count("## Evaluation on reviews.csv") == 1
    assert "## Load it" in text and "## Training" in text and "## Limits" in text and "results of none" not in text
    assert pushed(hub, adapted) == text  # and again


def test_a_readme_that_is_kept_gets_the_evaluation_of_the_new_weights(adapted, hub, plant, other_weights):
    pushed(hub, adapted)
    plant("alice/model", {layout.CARD: MINE.encode()})
    write_card(made(adapted), adapted)
    text = pushed(hub, adapted)
    assert "My own words." in text and rows(text)["reviews.csv", "accuracy, mean of 3 seeds"] == 0.73


def test_figures_do_not_outlive_their_weights(adapted, hub, other_weights):
    write_card(made(adapted), adapted)
    pushed(hub, adapted)
    shutil.copyfile(other_weights, adapted / layout.WEIGHTS)
    (adapted / layout.CARD).unlink()
    text = pushed(hub, adapted)
    assert rows(text) == {} and "## Evaluation on" not in text and "## Limits" in text
    write_evaluation(adapted, "new", "new figures", [EvalResult("x", "text", "d", "f1", 0.5, metric_name="f1")])
    text = pushed(hub, adapted)
    assert "new figures" in text and rows(text) == {("d", "f1"): 0.5}


def test_a_section_of_other_weights_is_not_carried():
    text = "# A\n\n<!-- electra-rtd evaluation aa of bb -->\nold\n<!-- end of electra-rtd evaluation -->\n\nmine\n"
    assert carried(text, None, "cc", "m") == "# A\n\n\n\nmine\n"
    assert carried(text, None, "bb", "m") == text
    assert carried("# B\n", text, "bb", "m").startswith("# B\n\n<!-- electra-rtd evaluation aa of bb -->\nold\n")
    assert carried("# B\n", text, "cc", "m") == "# B\n"


def test_a_section_without_an_end_is_no_section():
    text = "<!-- electra-rtd evaluation aa of bb -->\n" * 2000
    assert carried(text, text, "cc", "m") == text


def test_the_card_of_a_run_with_an_evaluation_is_json_free_of_surprises(adapted):
    """The metadata are plain: numbers, texts, lists and tables, as YAML that anybody reads."""
    write_card(made(adapted), adapted)
    json.dumps(metadata(card(adapted)))
