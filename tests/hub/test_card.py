"""The model card that a push writes: what stands in it, where that comes from, and that nothing breaks it."""

import ast
import importlib.util
import json
import math
import re

import datasets
import pytest
import yaml
from PIL import Image

from electra_rtd import cli, run_parsers
from electra_rtd.hub_tools import card as card_file
from electra_rtd.hub_tools import continuation_tokens, layout, push_checkpoint
from electra_rtd.hub_tools.card import METRICS
from electra_rtd.hub_tools.checks.metadata import check_card
from electra_rtd.hub_tools.curves import plot_losses
from electra_rtd.hub_tools.layout import CheckpointFiles
from electra_rtd.train_tools.provenance import describe_run


PARENTS = ["koe/generator", "koe/discriminator"]
APACHE_KOREAN = b"---\nlicense: apache-2.0\nlanguage: ko\n---\n"
STRANGE = "te|xt_<script>{{ 1 }} `(b)_.csv"
QUICK = ["--max_steps", "4", "--per_device_train_batch_size", "4", "--max_seq_length", "32", "--logging_steps", "1"]
QUICK += ["--use_cpu", "--disable_tqdm", "true", "--report_to", "none", "--save_strategy", "no", "--seed", "0"]
QUICK += ["--eval_strategy", "steps", "--eval_steps", "2", "--learning_rate", "1e-3", "--weight_decay", "0"]


@pytest.fixture
def plant_parents(plant, pair_folders):
    """Two stock checkpoints on the Hub, each with the README given, or none."""

    def plant_both(*readmes):
        for repo_id, folder, readme in zip(PARENTS, pair_folders, readmes, strict=True):
            plant(repo_id, folder)
            if readme is not None:
                plant(repo_id, {layout.CARD: readme})

    return plant_both


@pytest.fixture
def text(tmp_path, monkeypatch):
    """A file with sentences in the working directory, under a strange name."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpus").mkdir()
    words = "나 너 우리 학교 책 비 눈 산 강 바다 사람 시간 하루 오늘 내일 밥 물 집 길 말 글".split()  # noqa: SIM905
    rows = [" ".join(words[(7 * row + step) % len(words)] for step in range(4 + row % 9)) for row in range(40)]
    (tmp_path / "corpus" / STRANGE).write_text("text\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return f"corpus/{STRANGE}"


@pytest.fixture
def adapted(plant_parents, text, tmp_path):
    """What `electra-rtd adapt` leaves that went on from two parents on the Hub."""
    plant_parents(APACHE_KOREAN, APACHE_KOREAN)
    start = ["--generator", PARENTS[0], "--discriminator", PARENTS[1]]
    assert cli.main(["adapt", *start, "--train_file", text, "--output_dir", "out", *QUICK]) == 0
    return tmp_path / "out"


LOG = [
    {"step": 0, "eval_loss": 30.0, "eval_mlm_loss": 5.0},
    {"step": 2, "loss": 28.0, "mlm_loss": 4.5},
    {"step": 4, "loss": 27.0, "mlm_loss": 4.25},
    {"step": 4, "eval_loss": 26.5, "eval_mlm_loss": 4.0},
]


@pytest.fixture(scope="session")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("picture") / layout.CURVES
    assert plot_losses(LOG, path)
    return path.read_bytes()


@pytest.fixture
def write_run(pair_copy, picture, monkeypatch):
    """The saved pair with what a run would leave beside it: settings, datasets, a log.

    Drawing takes longer than the rest of a push: one picture does for every card that is not about it.
    """
    monkeypatch.setattr(card_file, "plot_losses", lambda log, path: bool(log and path.write_bytes(picture)))

    def write(settings=None, datasets=None, log=LOG, parents=()):
        results = {"settings": settings or {}, "datasets": datasets or []}
        (pair_copy / "adapt_results.json").write_text(json.dumps(results), encoding="utf-8")
        (pair_copy / "trainer_state.json").write_text(json.dumps({"log_history": log}), encoding="utf-8")
        config = json.loads((pair_copy / layout.CONFIG).read_text(encoding="utf-8"))
        for part, origin in zip(("generator_config", "discriminator_config"), parents, strict=False):
            config[part]["_name_or_path"] = origin
        (pair_copy / layout.CONFIG).write_text(json.dumps(config), encoding="utf-8")
        return pair_copy

    return write


@pytest.fixture
def card_of(hub):
    """Push a folder to alice/model; the card's metadata and its text."""

    def push(folder, **options):
        push_checkpoint(folder, "alice/model", token=hub.alice, **options)
        return split(hub.files("alice/model")[layout.CARD].decode("utf-8"))

    return push


def split(card):
    _, metadata, body = card.split("---\n", 2)
    return yaml.safe_load(metadata), body


def table_under(body, heading):
    """Rows of the first table below a heading, cells unescaped; fails where a row has more or fewer cells."""
    lines = body.split(f"## {heading}\n", 1)[1].split("\n## ")[0].splitlines()
    rows = [line for line in lines if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]
    assert {len(row) for row in cells} == {len(cells[0])}
    return [[re.sub(r"\\(.)", r"\1", cell) for cell in row] for row in [cells[0], *cells[2:]]]


def python_of(body):
    return re.findall(r"```python\n(.*?)```", body, flags=re.DOTALL)


def test_a_run_of_adapt_has_a_whole_card(adapted, card_of, hub, tmp_path):
    metadata, body = card_of(adapted, tags=["korean", "electra"])
    results = json.loads((adapted / "adapt_results.json").read_text(encoding="utf-8"))
    model_index = metadata.pop("model-index")
    assert metadata == {
        "base_model": PARENTS,
        "base_model_relation": "finetune",
        "language": ["ko"],
        "library_name": "transformers",
        "license": "apache-2.0",
        "pipeline_tag": "feature-extraction",
        "tags": ["electra", "electra-rtd", "replaced-token-detection", "korean"],
    }
    (model,) = model_index
    (result,) = model["results"]
    assert model["name"] == "model" and result["task"]["type"] == "replaced-token-detection"
    assert result["dataset"] == {"name": "held-out text", "type": "text"}
    figures = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert figures == {name: round(results["after"][name], 6) for name in METRICS}

    assert body.startswith("\n# model\n")
    assert "[koe/generator](https://huggingface.co/koe/generator) and [koe/discriminator](" in body
    rows = table_under(body, "Results")
    assert rows[0] == ["", "step 0", "step 4", "constant answer"]
    assert [row[:3] for row in rows[1:]] == [
        [about, f"{results['before'][name]:.4f}", f"{results['after'][name]:.4f}"] for name, about in METRICS.items()
    ]
    constant = {name: row[3] for name, row in zip(METRICS, rows[1:], strict=True)}
    after = results["after"]
    assert constant["disc_auc"] == "0.5000" and constant["disc_acc"] == f"{(1 + after['lucky_hits']) / 2:.4f}"
    assert constant["mlm_loss"] == f"{results['before']['frequency_loss']:.4f}" and constant["gen_acc"] == ""
    share = after["replaced_share"]
    assert constant["disc_loss"] == f"{-share * math.log(share) - (1 - share) * math.log(1 - share):.4f}"
    assert body.count("![losses against steps](losses.png)") == 1
    settings = {name.strip("`"): value for name, value in table_under(body, "Training")}
    assert settings["learning_rate"] == "0.001" and settings["seed"] == "0" and settings["weight_decay"] == "0.0"
    assert settings["train_file"] == STRANGE and settings["max_steps"] == "4"
    assert settings["mask_prob"] == "0.15" and settings["disc_weight"] == "50.0"
    assert str(tmp_path) not in body and "corpus/" not in body
    digests = dict(table_under(body, "Load it")[1:])
    assert digests == {f"`{name}`": f"`{layout.sha256(adapted / name)}`" for name in layout.CODE}
    assert "at most\n128 tokens long." in body

    repo = CheckpointFiles(tmp_path, [layout.CARD], "alice/model")
    (tmp_path / layout.CARD).write_bytes(hub.files("alice/model")[layout.CARD])
    assert [finding.level for finding in check_card(repo)] == ["info"]
    asked = [request for request in hub.requests if request.kind == "validate-yaml"]
    assert asked and {request.status for request in asked} == {200}


def test_the_same_run_gives_the_same_bytes(write_run, card_of, hub, monkeypatch):
    monkeypatch.setattr(card_file, "plot_losses", plot_losses)
    folder = write_run(settings={"learning_rate": 1e-3})
    card_of(folder)
    first, count = hub.files("alice/model"), len(hub.commits("alice/model"))
    hub.clear_requests()
    card_of(folder)
    assert len(hub.commits("alice/model")) == count and hub.uploaded_lfs_bytes == 0
    assert not [request for request in hub.requests if request.kind in ("preupload", "commit")]
    del hub.repos["alice/model"]
    card_of(folder)
    again = hub.files("alice/model")
    assert again[layout.CARD] == first[layout.CARD] and again[layout.CURVES] == first[layout.CURVES]


def test_without_parents_there_is_neither_base_model_nor_relation(write_run, card_of):
    metadata, body = card_of(write_run(settings={"preset": "tiny"}))
    assert not {"base_model", "base_model_relation", "license", "language", "datasets"} & metadata.keys()
    assert "It goes on from" not in body


def test_without_a_log_the_card_says_so(saved_pair, card_of, hub):
    metadata, body = card_of(saved_pair)
    assert "No figures were recorded with this state." in body
    assert "model-index" not in metadata and "model_name" not in metadata
    assert layout.CURVES not in body and layout.CURVES not in hub.files("alice/model")


@pytest.mark.parametrize(
    ("readmes", "expected"),
    [
        ([APACHE_KOREAN, b"---\nlicense: mit\nlanguage: [ko, en]\n---\n"], {"language": ["ko", "en"]}),
        ([APACHE_KOREAN, b"---\nlanguage: ko\n---\n"], {"language": ["ko"]}),
        ([APACHE_KOREAN, None], {"language": ["ko"]}),
        ([b"no metadata", None], {}),
        ([b"---\nlicense: [mit\n---\n", b"---\nlicense: [mit\n---\n"], {}),
        ([b"---\nlicense: [mit]\nlanguage: no\n---\n"] * 2, {"license": ["mit"]}),
        ([b"---\nlanguage:\n- {ko: 1}\n- en\n---\n", None], {"language": ["en"]}),
    ],
    ids=["they differ", "one has none", "one has no card", "no card has any", "broken", "lists", "strange"],
)
def test_licence_and_languages_are_taken_over_where_the_parents_agree(
    readmes, expected, plant_parents, write_run, card_of
):
    plant_parents(*readmes)
    metadata, _ = card_of(write_run(parents=PARENTS))
    assert metadata["base_model"] == PARENTS and metadata["base_model_relation"] == "finetune"
    assert {name: metadata[name] for name in ("license", "language") if name in metadata} == expected


@pytest.mark.parametrize(
    ("settings", "parents", "expected"),
    [
        ({"checkpoint": "alice/earlier"}, PARENTS, ["alice/earlier"]),
        ({"checkpoint": "adapted"}, PARENTS, PARENTS),  # a folder: what that one went on from
        ({}, ["koe/one", "koe/one"], ["koe/one"]),
        ({}, ["koe/a b", "koe/<b>"], None),
        ({}, ["koe/a|b](x", "koe/discriminator"], ["koe/discriminator"]),
        ({}, ["/home/me/a", "bert"], None),
    ],
)
def test_parents_are_repositories(settings, parents, expected, write_run, card_of, hub):
    for repo_id in expected or ():
        hub.create_repo(repo_id)
    metadata, body = card_of(write_run(settings=settings, parents=parents))
    assert metadata.get("base_model") == expected
    assert ("base_model_relation" in metadata) == (expected is not None)
    assert "/home/me" not in body


def test_what_the_hub_does_not_have_is_no_parent(write_run, card_of):
    metadata, body = card_of(write_run(parents=["models/gen", "models/disc"]))  # relative folders of another machine
    assert "base_model" not in metadata and "models/gen" not in body


def test_how_to_load_and_the_hashes_are_of_the_newest_state(pair_copy, card_of, hub):
    _, body = card_of(pair_copy)
    assert 'subfolder="discriminator"' in body
    first = layout.sha256(pair_copy / layout.CODE[1])
    (pair_copy / layout.CODE[1]).write_text((pair_copy / layout.CODE[1]).read_text() + "# edited\n")
    _, body = card_of(pair_copy, export=())
    assert 'subfolder="discriminator"' not in body and first not in body
    assert f"| `{layout.CODE[1]}` | `{layout.sha256(pair_copy / layout.CODE[1])}` |" in body


def test_results_of_others_stay_whole_and_under_their_model(write_run, card_of, hub, plant):
    theirs = [
        {
            "name": name,
            "results": [
                {
                    "task": {"type": "text-classification"},
                    "dataset": {"type": "nsmc", "name": "NSMC", "extra": 1},
                    "metrics": [{"type": "accuracy", "value": value, "note": "by hand"}],
                }
            ],
        }
        for name, value in (("first", 0.8), ("second", 0.9))
    ]
    plant("alice/model", {layout.CARD: f"---\n{yaml.safe_dump({'model-index': theirs})}---\n# Ours\n".encode()})
    metadata, _ = card_of(write_run())
    assert metadata["model-index"][:2] == theirs and metadata["model-index"][2]["name"] == "model"


def test_one_dataset_of_the_hub_is_named(write_run, card_of):
    metadata, _ = card_of(write_run(datasets=["koe/corpus"]))
    assert metadata["datasets"] == ["koe/corpus"]


@pytest.mark.parametrize(
    ("files", "datasets", "shown"),
    [
        (["koe/corpus"], ["koe/corpus"], "koe/corpus"),
        (["koe/corpus", "b.txt"], [], "koe/corpus, b.txt"),
        (["data/a.csv", "/home/me/b.csv"], [], "a.csv, b.csv"),
        (["data/*.csv"], [], "*.csv"),
        (["~/x.csv"], [], "x.csv"),
    ],
)
def test_a_run_is_described_by_names_and_no_path(files, datasets, shown, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").touch()
    given = ["--checkpoint", str(tmp_path / "secret" / "pair"), "--output_dir", "o", "--use_cpu", "--seed", "0"]
    arguments, training_args = run_parsers.adapt_parser().parse_args_into_dataclasses([*given, "--train_file", *files])
    run = describe_run(arguments, training_args)
    assert run["datasets"] == datasets
    assert run["settings"]["train_file"] == shown
    assert run["settings"]["checkpoint"] == "pair" and run["settings"]["seed"] == 0
    assert not {"max_steps", "generator", "bf16", "tokenizer"} & run["settings"].keys()
    assert str(tmp_path) not in json.dumps(run)


@pytest.mark.parametrize(
    "value", [STRANGE, "[a](b)*", "{% raw %}", "a\nb | c", "<!-- -->", "_x_ **y** ~~z~~", "&lt;", "\\|"]
)
def test_no_name_breaks_the_table_or_the_page(value, write_run, card_of):
    _, body = card_of(write_run(settings={"tokenizer": value, "last": 1}))
    rows = table_under(body, "Training")
    assert rows[-2:] == [["`tokenizer`", " ".join(value.split())], ["`last`", "1"]]
    line = next(line for line in body.splitlines() if line.startswith("| `tokenizer`"))
    assert not re.search(r"(?<!\\)[<>*&~\[\]]|(?<!\\)_(?!\w)", line.removeprefix("| `tokenizer`"))


def test_figures_that_are_no_numbers_are_left_out(write_run, card_of):
    log = [*LOG, {"step": 6, "eval_loss": float("nan")}, {"step": 7, "eval_loss": True, "eval_disc_loss": "x"}]
    metadata, body = card_of(write_run(log=log))
    assert table_under(body, "Results") == [
        ["", "step 0", "step 4", "constant answer"],
        ["generator's cross-entropy (nats)", "5.0000", "4.0000", "4.3820"],  # ln 80
        ["loss", "30.0000", "26.5000", ""],
    ]
    metrics = metadata["model-index"][0]["results"][0]["metrics"]
    assert {metric["type"]: metric["value"] for metric in metrics} == {"loss": 26.5, "mlm_loss": 4.0}


def test_a_configuration_that_leaves_defaults_out_has_a_card(pair_copy, card_of):
    config = json.loads((pair_copy / layout.CONFIG).read_text(encoding="utf-8"))
    for name in ("mask_prob", "embedding_sharing", "gen_weight"):
        del config[name]
    (pair_copy / layout.CONFIG).write_text(json.dumps(config), encoding="utf-8")
    _, body = card_of(pair_copy)
    assert ["`mask_prob`", "0.15"] in table_under(body, "Training")


@pytest.mark.parametrize("on", [False, True])
def test_switches_of_the_corruption_stand_in_the_card_where_they_are_on(on, pair_copy, card_of, tokenizer):
    config = json.loads((pair_copy / layout.CONFIG).read_text(encoding="utf-8"))
    config |= {"exclude_original": on, "mask_whole_words": on, "continuation_tokens": continuation_tokens(tokenizer)}
    (pair_copy / layout.CONFIG).write_text(json.dumps(config), encoding="utf-8")
    rows = dict(table_under(card_of(pair_copy)[1], "Training"))
    switches = [rows.get(f"`{name}`") for name in ("exclude_original", "mask_whole_words")]
    assert switches == (["yes", "yes"] if on else [None, None])


# ---- The picture ----


def test_the_picture_has_a_panel_for_each_loss(tmp_path):
    log = [row | dict.fromkeys(["disc_loss"] if "loss" in row else [], 1.0) for row in LOG]
    sizes = []
    for rows in (log, [{"step": 1, "loss": 1.0}]):
        assert plot_losses(rows, tmp_path / "losses.png")
        with Image.open(tmp_path / "losses.png") as image:
            sizes.append(image.size)
            colours = {colour for _, colour in image.convert("RGB").getcolors(maxcolors=10**6)}
            assert (0x1F, 0x77, 0xB4) in colours  # the training line; also where it is one point
            assert image.format == "PNG" and "Software" not in image.info
    assert sizes == [(1056, 286), (352, 286)]
    assert not plot_losses([{"step": 1, "grad_norm": 1.0}, {"loss": 3.0}], tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_without_matplotlib_there_is_no_picture_and_no_link(write_run, card_of, hub, monkeypatch):
    monkeypatch.setattr(card_file, "plot_losses", plot_losses)
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "matplotlib" else find_spec(name)
    )
    _, body = card_of(write_run())
    assert layout.CURVES not in body and layout.CURVES not in hub.files("alice/model")
    assert table_under(body, "Results")[-1][:3] == ["loss", "30.0000", "26.5000"]


# ---- What people do with a card ----


@pytest.mark.parametrize("export", [("discriminator",), ("generator",), ("discriminator", "generator"), ()])
def test_the_code_in_a_card_is_python(export, saved_pair, card_of):
    _, body = card_of(saved_pair, export=export)
    snippets = python_of(body)
    for snippet in snippets:
        ast.parse(snippet)
    stock = [f'subfolder="{export[0]}"' in snippets[0]] if export else []
    assert all(stock) and len(snippets) == 1 + bool(export) + ("discriminator" in export)
    assert ("the stock networks:" in body) == (len(export) == 2)
    assert "\n\n\n\n" not in body
    for heading in ("Load it", "Training", "Results", "Limits"):
        assert f"\n\n## {heading}\n\n" in body or f"-->\n## {heading}\n\n" in body


RUN_SNIPPETS = """
import json
import sys

stock, pinned, classifier = sys.argv[1:]
found = {}
exec(stock, found)
exec(classifier, found)
names = [type(found[name]).__module__ for name in ("encoder", "classifier")]
names += ["transformers_modules" in sys.modules and any(m.startswith("transformers_modules.") for m in sys.modules)]
exec(pinned, found)
names += [type(found["model"]).__module__, found["encoder"].config.hidden_size, len(found["tokenizer"])]
print(json.dumps(names))
"""


@pytest.mark.slow
def test_the_code_in_a_card_runs(saved_pair, card_of, hub, run_fresh):
    _, body = card_of(saved_pair)
    stock, pinned, classifier = python_of(body)
    assert "trust_remote_code" not in stock + classifier
    commit = hub.head("alice/model")
    pinned = pinned.replace("<commit>", commit)
    encoder, head, ran_code, pair, hidden_size, tokens = run_fresh(
        RUN_SNIPPETS, stock, pinned, classifier, environment=hub.environment(hub.alice)
    )
    assert encoder == head == "transformers.models.electra.modeling_electra" and not ran_code
    assert pair == f"transformers_modules.alice.model.{commit}.modeling_electra_rtd"
    assert (hidden_size, tokens) == (32, 80)


# ---- A card that is there already ----


PERSONS = """---
# my own comment
license: mit
pipeline_tag: fill-mask
tags: [mine]
model-index:
- name: my name
  results:
  - task: {type: text-classification}
    dataset: {type: nsmc, name: NSMC}
    metrics: [{type: accuracy, value: 90.1}]
---
# My words

<!-- electra-rtd results of 0 -->old<!-- end of electra-rtd results -->

More words, and {{ braces }}.
"""


def test_a_persons_card_keeps_its_words_and_its_metadata(write_run, card_of, hub, plant):
    plant("alice/model", {layout.CARD: PERSONS.encode()})
    metadata, body = card_of(write_run(datasets=["koe/corpus"]))
    assert metadata["license"] == "mit" and metadata["pipeline_tag"] == "fill-mask"
    assert metadata["library_name"] == "transformers" and metadata["datasets"] == ["koe/corpus"]
    assert metadata["tags"] == ["mine", "electra", "electra-rtd", "replaced-token-detection"]
    (model,) = metadata["model-index"]
    assert model["name"] == "my name"
    assert [result["task"]["type"] for result in model["results"]] == [
        "text-classification",
        "replaced-token-detection",
    ]
    assert body.startswith("# My words\n\n<!-- electra-rtd results of ") and ">old<" not in body
    assert body.endswith("\n\nMore words, and {{ braces }}.\n")
    assert "| loss | 30.0000 | 26.5000 |  |" in body


def test_figures_leave_with_the_weights_that_they_were_about(write_run, card_of, make_model, tokenizer, tmp_path, hub):
    folder = write_run()
    first, body = card_of(folder)
    assert "model-index" in first
    (folder / "trainer_state.json").unlink()
    kept, same_body = card_of(folder)  # the same weights: the figures are theirs, with or without the log
    assert (kept, same_body) == (first, body) and layout.CURVES in hub.files("alice/model")
    make_model(seed=9).save_pretrained(tmp_path / "other")
    tokenizer.save_pretrained(tmp_path / "other")
    metadata, body = card_of(tmp_path / "other")
    assert "model-index" not in metadata
    assert "No figures were recorded with this state." in body and "26.5" not in body
    assert layout.CURVES not in hub.files("alice/model")


def test_metadata_that_cannot_be_read_stay_as_they_are(write_run, hub, plant):
    broken = "---\nlicense: [mit\n---\nwords <!-- electra-rtd results of 0 -->old<!-- end of electra-rtd results -->\n"
    plant("alice/model", {layout.CARD: broken.encode()})
    with pytest.raises(OSError, match="alice/model"):  # the Hub wants metadata that it can read
        push_checkpoint(write_run(), "alice/model", token=hub.alice)
    assert hub.files("alice/model")[layout.CARD].decode() == broken


def test_a_parent_that_refuses_costs_no_push_and_shows_no_token(write_run, plant_parents, hub, capsys, caplog):
    plant_parents(APACHE_KOREAN, APACHE_KOREAN)
    hub.echo_token_in_errors = True
    hub.fault(r"/koe/.*README", status=404, headers={"X-Error-Code": "RevisionNotFound"}, times=None)
    folder = write_run(parents=PARENTS)
    assert cli.main(["push", str(folder), "alice/model", "--token", hub.alice]) == 0
    shown = "".join(capsys.readouterr()) + caplog.text
    assert hub.alice not in shown
    assert "<token>" in shown and "licence and language are not taken over" in shown
    metadata, _ = split(hub.files("alice/model")[layout.CARD].decode("utf-8"))
    assert "license" not in metadata and metadata["base_model"] == PARENTS
