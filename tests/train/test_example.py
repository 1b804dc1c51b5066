"""`adapt --example`: what it shows is true, and what it reads is apart from what it measures on."""

import csv
import gzip
import importlib.util
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.cells import cell_len
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer, ElectraConfig, set_seed

from electra_rtd import ElectraRTDConfig, ElectraRTDForPreTraining, cli, run_parsers
from electra_rtd.train_tools import example
from electra_rtd.train_tools.arguments import MINI_PAIR, SAMPLE
from electra_rtd.train_tools.evaluation import extra
from electra_rtd.train_tools.example import ReadTwice, catches, example_words, read_twice, what_encoders_know
from electra_rtd.train_tools.from_scratch import train_tokenizer
from electra_rtd.train_tools.inspector import inspect_texts
from electra_rtd.train_tools.inspector.reading import Reading, Token


SHARED = Path(__file__).parents[3] / "shared" / "data" / "ko_techdocs"
PARTS = ("train", "held_out", "labelled_train", "labelled_test")
TEXTS = ["오늘 학교에 간다", "나는 책을 읽는다 너는 밥을 먹는다", "비 눈 산 강 바다 사람 마음 시간 하루"]


def rows_of(part):
    with gzip.open(SAMPLE / f"techdocs_{part}.csv.gz", "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def sample():
    return {part: rows_of(part) for part in PARTS}


# ---- The sample -----------------------------------------------------------------------------------------------------


def test_nothing_that_is_measured_on_is_trained_on(sample):
    texts = {part: [row["text"] for row in rows] for part, rows in sample.items()}
    assert all(len(set(rows)) == len(rows) for rows in texts.values())
    for one, other in (("train", "held_out"), ("train", "labelled_test"), ("held_out", "labelled_test")):
        assert not set(texts[one]) & set(texts[other])
    assert not set(texts["labelled_train"]) & {*texts["train"], *texts["held_out"], *texts["labelled_test"]}
    starts = {text[:30] for part in ("train", "labelled_train") for text in texts[part]}
    shared = [text for part in ("held_out", "labelled_test") for text in texts[part] if text[:30] in starts]
    assert len(shared) < 5  # near copies are left out, too


def test_labelled_paragraphs_do_not_name_their_project_and_every_project_is_there(sample):
    for part in ("labelled_train", "labelled_test"):
        assert {row["project"] for row in sample[part]} == {"tensorflow", "python", "react", "pytorch"}
        assert not [
            row for row in sample[part] if re.search(r"텐서플로|파이썬|리액트|react|python|torch", row["text"], re.I)
        ]


def test_the_sample_is_small_and_its_readme_counts_its_rows_and_names_every_licence(sample):
    readme = (SAMPLE / "README.md").read_text(encoding="utf-8")
    for part, rows in sample.items():
        assert f"| `techdocs_{part}.csv.gz` | {len(rows):,} |" in readme
    assert all(name in readme for name in ("Apache-2.0", "PSF License", "CC BY 4.0", "BSD-3-Clause"))
    for link in re.findall(r"\]\((LICENSES/[^)]+)\)", readme):
        assert (SAMPLE / link).read_text(encoding="utf-8").count("\n") > 20
    assert sum(file.stat().st_size for file in SAMPLE.glob("*.gz")) < 400_000


@pytest.mark.skipif(not SHARED.is_dir(), reason="the texts that the sample is drawn from are not at ../shared/data")
@pytest.mark.slow
def test_the_sample_is_drawn_again_to_the_byte(tmp_path):
    specification = importlib.util.spec_from_file_location("draw_sample", SAMPLE / "draw.py")
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    for part, rows in script.draw(SHARED).items():
        script.write(rows, tmp_path / "again.gz", ("text", "project", "block")[: len(rows[0])])
        assert (tmp_path / "again.gz").read_bytes() == (SAMPLE / f"techdocs_{part}.csv.gz").read_bytes(), part


# ---- The pair in the package ----------------------------------------------------------------------------------------


def test_the_packages_pair_is_small_carries_no_code_and_loads_without_trust():
    files = [path for path in MINI_PAIR.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 16 * 2**20
    assert not [path for path in files if path.suffix not in (".json", ".safetensors", ".md", ".txt")]
    weights = load_file(MINI_PAIR / "model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float16}
    model, tokenizer = AutoModel.from_pretrained(MINI_PAIR), AutoTokenizer.from_pretrained(MINI_PAIR)
    assert isinstance(model, ElectraRTDForPreTraining) and len(tokenizer) == model.config.vocab_size


def test_the_packages_pair_knows_something_of_text_that_it_has_not_read(sample):
    """A pair that was never trained has losses of 9 nats and an area of 0.5."""
    model, tokenizer = AutoModel.from_pretrained(MINI_PAIR).float().eval(), AutoTokenizer.from_pretrained(MINI_PAIR)
    texts = [row["text"] for row in sample["held_out"][:60]]
    batch = tokenizer(texts, padding=True, truncation=True, max_length=128, return_tensors="pt")
    with torch.no_grad():
        output = model(**batch)
    replaced, original = (output.logits[output.disc_labels == label] for label in (1, 0))
    assert output.mlm_loss < 5
    assert (replaced[:, None] > original).float().mean() > 0.55  # the area under the curve


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory, sample):
    """A tiny pair of random weights in float16: configuration, weights and tokenizer alone, for the sample's text."""
    tokenizer = train_tokenizer([row["text"] for row in sample["train"][::5]], 1500)
    set_seed(0)
    sizes = {"embedding_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 128}
    networks = [
        ElectraConfig(vocab_size=len(tokenizer), hidden_size=size, intermediate_size=size, **sizes)
        for size in (16, 32)
    ]
    ids = {"mask_token_id": tokenizer.mask_token_id, "pad_token_id": tokenizer.pad_token_id}
    config = ElectraRTDConfig.from_generator_discriminator_configs(
        *networks, **ids, special_token_ids=sorted(tokenizer.all_special_ids), embedding_sharing="tied"
    )
    folder = tmp_path_factory.mktemp("mini_pair")
    ElectraRTDForPreTraining(config).half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for code in folder.glob("*.py"):
        code.unlink()
    return folder


@pytest.fixture
def small(stand_in, sample, tmp_path, monkeypatch):
    """The example with the stand-in, on a few rows."""
    for part, name in (("train", "train_file"), ("held_out", "validation_file")):
        file = tmp_path / f"{part}.csv"
        with file.open("w", encoding="utf-8", newline="") as opened:
            writer = csv.DictWriter(opened, ("text", "project"))
            writer.writeheader()
            writer.writerows(sample[part][:40])
        monkeypatch.setitem(run_parsers.EXAMPLE, name, [str(file)])
    monkeypatch.setitem(run_parsers.EXAMPLE, "checkpoint", str(stand_in))
    monkeypatch.setattr(example, "HELD_OUT", tmp_path / "held_out.csv")
    return ["adapt", "--example", "--max_steps", "2", "--disable_tqdm", "true", "--use_cpu", "--report_to", "none"]


def test_the_example_trains_in_float32_replaces_itself_and_ends_with_its_words(small, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(example, "what_encoders_know", lambda start, adapted: f"PROBE {Path(start).name} {adapted}")
    for _ in range(2):
        assert cli.main(small) == 0
    shown = capsys.readouterr().out.split("\n\n  held-out")[-1]
    assert (
        shown.index("disc_auc") < shown.index("40 held-out paragraphs") < shown.index("PROBE") < shown.index("Next:")
    )
    assert "PROBE mini_pair" in shown and "electra-rtd-sample\n" in shown
    weights = load_file(tmp_path / "electra-rtd-sample" / "model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float32}
    results = json.loads((tmp_path / "electra-rtd-sample" / "adapt_results.json").read_text(encoding="utf-8"))
    assert results["steps"] == 2 and results["settings"]["checkpoint"].startswith("mini_pair")


def test_other_runs_end_without_the_examples_words(small, monkeypatch):
    monkeypatch.setattr(example, "example_words", lambda *_: pytest.fail("it is no example"))
    arguments = ["--checkpoint", run_parsers.EXAMPLE["checkpoint"], "--train_file", *run_parsers.EXAMPLE["train_file"]]
    assert cli.main(["adapt", *arguments, "--text_column", "text", "--output_dir", "mine", *small[2:]]) == 0


# ---- What is caught now ---------------------------------------------------------------------------------------------


@pytest.fixture
def two_pairs(make_model, tokenizer, tmp_path):
    """Folders of two pairs whose networks are all different."""
    for seed, name in enumerate(("start", "adapted")):
        make_model(seed=seed, mask_prob=0.4).save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
    return tmp_path / "start", tmp_path / "adapted"


def test_both_discriminators_judge_the_same_replacements_those_of_the_first_generator(two_pairs, tokenizer):
    start, adapted = two_pairs
    read = read_twice(start, adapted, TEXTS)
    expected, others = (inspect_texts(folder, TEXTS).readings for folder in two_pairs)
    trained = AutoModel.from_pretrained(adapted).eval()
    assert any(one.replaced for one in expected)
    for one, before, other in zip(read, expected, others, strict=True):
        became = [token.discriminator_read for token in before.tokens]
        assert [token.discriminator_read for token in one.before.tokens] == became
        assert [token.discriminator_read for token in one.after.tokens] == became
        assert [token.discriminator_read for token in other.tokens] != became  # the other generator's
        assert [token.probability for token in one.before.tokens] == pytest.approx(
            [token.probability for token in before.tokens], abs=1e-5
        )
        ids = tokenizer.convert_tokens_to_ids(["[CLS]", *became, "[SEP]"])
        with torch.no_grad():
            logits = trained.discriminator(torch.tensor([ids])).logits[0, 1:-1]
        assert [token.probability for token in one.after.tokens] == pytest.approx(
            torch.sigmoid(logits).tolist(), abs=1e-5
        )


def reading(*tokens):
    """A reading of (token, what stands there, probability)."""
    text, made = "", []
    for token, became, probability in tokens:
        text += " " if text else ""
        made.append(
            Token(token, len(text), len(text) + len(token), True, "[MASK]", became, token != became, probability)
        )
        text += token
    return Reading(text, tuple(made), 1.0)


def twice(*tokens):
    """The same of (token, what stands there, probability before, probability after)."""
    return ReadTwice(
        reading(*((token, became, before) for token, became, before, _ in tokens)),
        reading(*((token, became, after) for token, became, _, after in tokens)),
    )


GAINED = twice(("책을", "밥을", 0.2, 0.8), ("나는", "나는", 0.1, 0.1))
GAINED_MORE = twice(("비가", "눈이", 0.2, 0.9), ("온다", "간다", 0.4, 0.7), ("오늘", "오늘", 0.6, 0.2))
ONLY_LOUDER = twice(("산", "강", 0.2, 0.8), ("물", "물", 0.1, 0.9))  # one more caught, one more false alarm
LOST = twice(("집", "길", 0.7, 0.3), ("말", "말", 0.1, 0.1))


def test_the_texts_where_most_is_gained_come_first_and_others_are_counted_too():
    shown = catches([GAINED, ONLY_LOUDER, LOST, GAINED_MORE])
    assert re.search(r"4 held-out paragraphs, 9 tokens; 5 of them were replaced", shown)
    assert re.search(r"replaced tokens caught +1 +4  better", shown)
    assert re.search(r"false alarms +1 +1  same", shown)
    assert "It catches more than before in 3 paragraphs, and fewer in 1." in shown
    texts = shown[shown.index("Where it gained most") :]
    assert texts.index("1  «눈이» «간다» 오늘") < texts.index("2  «밥을» 나는") and "3  " not in texts
    assert re.search(r"책을 → 밥을 +✗ missed 20% +✓ caught 80%", texts)
    assert re.search(r"오늘 +! false alarm 60% +· right 20%", texts)


def test_what_got_worse_is_said():
    shown = catches([LOST])
    assert re.search(r"disc_auc +1\.0000 +1\.0000", shown) and re.search(r"caught +1 +0  worse", shown)
    assert "It calls every token original now" in shown
    assert "In no paragraph does it gain anything" in shown
    backwards = catches([replace(GAINED, before=GAINED.after, after=GAINED.before)] * 3)
    assert re.search(r"replaced tokens caught +3 +0  worse", backwards) and "«" not in backwards


def test_what_is_shown_fits_a_terminal_by_the_width_of_korean():
    words = [(f"매우긴낱말{number}", f"매우긴낱말{number}", 0.1, 0.1) for number in range(10)]
    long = twice(("책을", "밥을", 0.2, 0.8), *words)
    too_long = twice(("책을", "밥을", 0.2, 0.99), *words, *words, *words)
    shown = catches([long, too_long, GAINED])
    assert max(map(cell_len, shown.splitlines())) <= 100
    assert "매우긴낱말9" in shown and shown.count("«밥을»") == 2


# ---- What an encoder knows ------------------------------------------------------------------------------------------


def test_without_scikit_learn_one_line_says_how_to_get_the_figure(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    shown = what_encoders_know("nowhere", "nowhere")
    assert "\n" not in shown and "`pip install scikit-learn`" in shown


def test_the_encoders_are_judged_on_the_same_rows_and_a_difference_of_nothing_is_called_that(
    stand_in, sample, tmp_path, monkeypatch
):
    pytest.importorskip("sklearn", reason="the probe is fitted with scikit-learn: install '.[dev]'")
    files = {}
    for part in ("train", "test"):
        files[part] = tmp_path / f"{part}.csv"
        with files[part].open("w", encoding="utf-8", newline="") as opened:
            writer = csv.DictWriter(opened, ("text", "project", "block"))
            writer.writeheader()
            writer.writerows(sample[f"labelled_{part}"][:150])
    monkeypatch.setattr(example, "LABELLED", files)
    shown = what_encoders_know(stand_in, stand_in)
    found = re.search(r"encoder before +(0\.\d{3})\n +encoder after +(0\.\d{3})  (.*)$", shown)
    assert found[1] == found[2] and found[3].startswith("cannot tell: +0.000")
    assert "which of 4 projects" in shown and "150 labelled paragraphs, and 150 of other pages" in shown
    assert re.search(r"naive Bayes on letters, no encoder +0\.\d{3}\n", shown)
    assert max(map(len, shown.splitlines())) <= 100


def test_the_words_come_one_after_the_other(two_pairs, monkeypatch, tmp_path):
    (tmp_path / "held_out.csv").write_text("text\n" + "\n".join(TEXTS) + "\n", encoding="utf-8")
    monkeypatch.setattr(example, "HELD_OUT", tmp_path / "held_out.csv")
    monkeypatch.setattr(extra, "import_module", lambda name: pytest.fail("before the first words"))
    words = example_words(*two_pairs)
    assert next(words).startswith("What the discriminator makes of the same replacements")
