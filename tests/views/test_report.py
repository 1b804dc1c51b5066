"""The report of a run: every figure on the page, from a run of which every figure is known."""

import json
import logging
import re
from html.parser import HTMLParser

import made_up_run
import pytest
from made_up_evaluation import evaluation
from made_up_run import STRANGE, write_run
from PIL import Image

from electra_rtd.train_tools import RTDHealthCallback
from electra_rtd.train_tools.fast import dynamic_padding, like_lengths
from electra_rtd.train_tools.report import charts, figures, measures, read_run, report_run, tables
from electra_rtd.train_tools.report.report_texts import TEXTS
from electra_rtd.train_tools.report.tables import printable
from electra_rtd.train_tools.report.translated import reason


EN, KO = TEXTS["en"], TEXTS["ko"]


class Page(HTMLParser):
    """A page as a reader meets it: `tables` by caption (rows of cells, head first), `text`, `elements`."""

    def __init__(self, html):
        super().__init__()
        self.html, self.tables, self.text, self.elements, self.all_tables = html, {}, "", [], []
        self._cell, self._rows, self._caption, self._in_caption = None, [], "", False
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "caption":
            self._caption, self._in_caption = "", True
        elif tag == "table":
            self._rows = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._cell = ""

    def handle_endtag(self, tag):
        if tag == "caption":
            self._in_caption = False
        elif tag in ("td", "th"):
            self._rows[-1].append(self._cell)
            self._cell = None
        elif tag == "table":
            self.tables[self._caption] = self._rows
            self.all_tables.append({row[0]: row[1:] for row in self._rows})

    def handle_data(self, data):
        data = data.replace("\N{NO-BREAK SPACE}", " ")
        self.text += data
        if self._cell is not None:
            self._cell += data
        elif self._in_caption:
            self._caption += data

    def rows(self, caption):
        """The rows of a table by their first cell."""
        return {row[0]: row[1:] for row in self.tables[caption]}

    def rows_of(self, first_cell):
        """The rows of the one table that has a row of this name."""
        [table] = [table for table in self.all_tables if first_cell in table]
        return table

    def column(self, name):
        """A column of the figures behind the curves, by step."""
        [table] = [table for table in self.all_tables if name in table.get("step", [])]
        place = table["step"].index(name)
        return {step: row[place] for step, row in table.items()}


def report(folder, lang="en"):
    (html,) = report_run(folder, lang=lang)
    return Page(html.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "my <b>run</b>", held_out=made_up_run.held_out())


@pytest.fixture(scope="module")
def page(whole_run):
    return report(whole_run)


@pytest.fixture(scope="module")
def korean(whole_run):
    return report(whole_run, "ko")


@pytest.fixture
def no_figures(monkeypatch):
    """Drawing takes most of the time: tests about words and tables go without."""
    monkeypatch.setattr(figures, "draw_svg", lambda chart: "")


# ---- What the page says ----


def test_the_headline_says_how_much_was_done(page):
    said = {"steps": "120", "epochs": "1.2", "training time": "2 min 5 s", "tokens read": "12,345"}
    for label, value in {**said, "tokens a second": "98"}.items():
        assert f"<dt>{label}</dt><dd>{value}</dd>" in page.html


def test_held_out_figures_stand_before_and_after_with_what_is_better(page):
    rows = page.rows(EN["held_out"])
    assert rows["figure"] == ["before", "after", "result", "constant answer"]
    assert list(rows)[1:4] == [
        "AUC of “replaced” ↑",
        "Discriminator's loss ↓",
        "Discriminator's balanced accuracy ↑",
    ]
    # The file about the held-out text comes first, then what `adapt` wrote down, then the log.
    assert rows["AUC of “replaced” ↑"] == ["62.0%", "66.0%", "▲ better, +4.0 points", "50.0%"]
    assert rows["Loss ↓"] == ["25", "-15", "▲ better, -40", "—"]
    assert rows["Discriminator's loss ↓"] == [
        "0.7",
        "0.3",
        "▲ better, -0.4",
        "0.3251",
    ]  # of 10 % replaced
    assert rows["Discriminator's balanced accuracy ↑"] == [
        "50.0%",
        "40.0%",
        "▼ worse, -10.0 points",
        "52.0%",
    ]
    assert rows["Precision of “replaced” ↑"] == ["75.0%", "75.0%", "= same, +0.0 points", "10.0%"]
    assert rows["Generator's perplexity ↓"] == ["1,788", "1,748", "▲ better, -40", "1,998"]
    assert rows["Lucky hits"] == ["4.0%", "4.0%", "+0.0 points", "—"]


def charts_by_name(folder):
    return {chart.name: chart for _, section, _ in charts.curve_sections(read_run(folder), EN) for chart in section}


def held_out_after(**changes):
    held_out = made_up_run.held_out()
    held_out["after"].update(changes)
    return held_out


@pytest.mark.parametrize(
    ("changes", "results", "name", "figure", "said", "why"),
    [
        (
            {"disc_auc": 0.51},
            {},
            "discriminator_chance",
            "Discriminator's loss ↓",
            "chance",
            "its AUC is 51.0%",
        ),
        (
            {},
            {"disc_loss": 0.33},
            "discriminator_constant",
            "Discriminator's loss ↓",
            "constant",
            "(0.33, and 0.3251)",
        ),
        ({}, {"mlm_loss": 0.0}, "generator_empty", "Loss ↓", "empty", "no token was masked"),
        (
            {"frequency_loss": 5.0},
            {},
            "generator_constant",
            "Generator's loss ↓",
            "constant",
            "has 5.",
        ),
    ],
)
def test_what_does_not_beat_a_constant_answer_is_a_finding_and_not_better(
    tmp_path, no_figures, changes, results, name, figure, said, why
):
    results = {**made_up_run.RESULTS, "after": {**made_up_run.RESULTS["after"], **results}}
    folder = write_run(tmp_path / "run", results=results, held_out=held_out_after(**changes))
    page = report(folder)
    assert page.rows(EN["held_out"])[figure][2].split(", ")[0] == EN["results"][said]
    assert f"{EN['held_out_after']} · {name}" in page.text and why in page.text
    assert EN["no_findings"] not in page.text
    assert f"{KO['held_out_after']} · {name}" in report(folder, "ko").text


def test_each_loss_has_the_line_of_a_constant_answer(tmp_path):
    folder = write_run(tmp_path / "run", held_out=made_up_run.held_out())
    config = {"discriminator_config": {"vocab_size": 1000}, "gen_weight": 1.0, "disc_weight": 50.0}
    (folder / "config.json").write_text(json.dumps(config))
    drawn = charts_by_name(folder)
    lines = {name: {one.look: one.points for one in drawn[name].series}.get("constant") for name in drawn}
    steps = [10 * row for row in range(1, 13)]
    entropy = 0.404963  # of 14 % replaced tokens
    assert lines["disc_loss"] == [(step, pytest.approx(entropy, abs=1e-6)) for step in steps]
    assert lines["mlm_loss"] == [(step, 7.6) for step in steps]
    assert lines["loss"] == [(step, pytest.approx(7.6 + 50 * entropy, abs=1e-4)) for step in steps]
    assert lines["disc_acc"] == [(step, 0.52) for step in steps] and lines["disc_auc"] == [
        (step, 0.5) for step in steps
    ]
    assert lines["gen_acc"] is lines["disc_logit_std"] is None
    assert "constant: 0.405 at step 10" in drawn["disc_loss"].description


def test_a_constant_answer_to_a_run_that_changes_is_that_of_its_row(tmp_path):
    """A schedule of `disc_weight`, and steps in which the generator learnt alone."""
    rows = made_up_run.log()
    for row in rows:
        if "loss" in row:
            row["disc_weight"] = row["step"] / 10
            if row["step"] <= 20:
                del row["disc_loss"]
    folder = write_run(tmp_path / "run", rows, held_out=made_up_run.held_out())
    config = {"discriminator_config": {"vocab_size": 1000}, "gen_weight": 1.0, "disc_weight": 50.0}
    (folder / "config.json").write_text(json.dumps(config))
    drawn = charts_by_name(folder)
    [line] = [one.points for one in drawn["loss"].series if one.look == "constant"]
    assert line[:3] == [(10, 7.6), (20, 7.6), (30, pytest.approx(7.6 + 3 * 0.404963, abs=1e-4))]
    schedule = drawn["disc_weight"]
    assert schedule.title == EN["disc_weight"] and schedule.series[0].points[:2] == [(10, 1.0), (20, 2.0)]


def test_where_no_frequencies_are_known_the_generators_line_is_random_choice(tmp_path):
    folder = write_run(tmp_path / "run")
    (folder / "config.json").write_text(json.dumps({"discriminator_config": {"vocab_size": 1000}}))
    assert charts_by_name(folder)["mlm_loss"].series[-1].points[0] == (10, pytest.approx(6.9078, abs=1e-4))


def test_a_run_of_an_earlier_release_has_its_page(tmp_path, no_figures):
    rows = made_up_run.log()
    for row in rows:
        for name in ("disc_auc", "eval_disc_auc", "disc_logit_std", "replaced_share", "lucky_hits"):
            row.pop(name, None)
    page = report(write_run(tmp_path / "run", rows))
    balanced = ["50.0%", "40.0%", "▼ worse, -10.0 points", "50.0%"]
    assert page.rows(EN["held_out"])["Discriminator's balanced accuracy ↑"] == balanced
    assert "AUC of “replaced” ↑" not in page.rows(EN["held_out"])


def test_a_missing_or_infinite_figure_is_a_dash(tmp_path, no_figures):
    held_out = made_up_run.held_out()
    held_out["before"]["gen_perplexity"] = None
    page = report(write_run(tmp_path / "run", held_out=held_out))
    assert page.rows(EN["held_out"])["Generator's perplexity ↓"] == ["—", "1,748", "—", "1,998"]


def test_findings_stand_with_their_step_and_nan_is_one(tmp_path, no_figures):
    finding = {"step": 40, "health": "no_recall", "message": "Recall is 0. Lower <i>disc_weight</i>."}
    broken = [made_up_run.training_row(step, float("nan")) for step in (60, 70)]
    page = report(write_run(tmp_path / "run", [*made_up_run.log()[:5], finding, *broken]))
    assert "3 finding(s):" in page.text
    assert "step 40 · no_recall" in page.text
    assert "Recall is 0. Lower <i>disc_weight</i>." in page.text
    assert "loss was NaN or infinite 2 time(s), first at step 60." in page.text
    assert EN["no_findings"] not in page.text


def test_a_run_without_findings_says_that_nobody_may_have_looked(page):
    assert EN["no_findings"] in page.text


def test_settings_versions_fast_settings_and_datasets_are_listed(page):
    assert page.rows(EN["run_settings"])["train_file"] == [f"{STRANGE}.csv"]
    assert page.rows(EN["versions"]) == {"library": ["value"], "torch": ["2.9"], "transformers": ["5.23.0"]}
    assert page.rows(EN["fast"])["padding"] == ["longest", "a batch is as wide as its longest sequence"]
    assert "Data sets: user/texts" in page.text


def test_an_unfinished_run_says_where_it_stands(tmp_path, no_figures):
    page = report(write_run(tmp_path / "run", made_up_run.log()[:6], results=None))
    assert "The log ends at step 50 of 120" in page.text


def test_the_best_checkpoint_is_named_without_its_folder(tmp_path, no_figures):
    folder = write_run(tmp_path / "run")
    state = made_up_run.state(made_up_run.log())
    state |= {"best_model_checkpoint": "/home/somebody/out/checkpoint-60", "best_metric": 39.0}
    (folder / "trainer_state.json").write_text(json.dumps(state))
    page = report(folder)
    assert "Best checkpoint: checkpoint-60, with eval_loss 39." in page.text
    assert "somebody" not in page.html


def test_the_best_figure_is_named_only_where_one_evaluation_figure_has_its_value(tmp_path, no_figures):
    row = {"eval_loss": 2.0, "eval_disc_precision": 1.0, "eval_disc_recall": 1.0, "epoch": 1.0, "step": 10}
    folder = write_run(tmp_path / "run", [made_up_run.training_row(10), row], results=None)
    state = made_up_run.state([made_up_run.training_row(10), row])
    state |= {"best_model_checkpoint": "out/checkpoint-10", "best_metric": 1.0}
    (folder / "trainer_state.json").write_text(json.dumps(state))
    assert "Best checkpoint: checkpoint-10, with the chosen figure 1." in report(folder).text


def test_evaluations_of_several_sets_are_said_to_be_left_out(tmp_path, no_figures):
    row = {"eval_news_loss": 2.0, "eval_news_runtime": 0.1, "step": 10}
    page = report(write_run(tmp_path / "run", [made_up_run.training_row(10), row], results=None))
    assert EN["missing_named_evaluations"] in page.text
    assert EN["missing_evaluations"] not in page.text


# ---- Confusion, calibration, tokens ----


def test_every_kind_of_token_has_its_rates_and_counts(page):
    rows = page.rows(EN["confusion"])
    rates = ["25.0% → 75.0%\n60 / 80", "5.0% → 2.5%\n18 / 720", "35.7% → 76.9%\n60 / 78"]
    assert rows["frequent"] == rates
    assert [cell.partition("\n")[2] for cell in rows["rare"]] == ["5 / 20", "2 / 180", "5 / 7"]
    assert [cell.partition("\n")[2] for cell in rows["all"]] == ["65 / 100", "20 / 900", "65 / 85"]
    assert set(rows) == {"kind", "all", "frequent", "rare", "Korean", "Latin"}  # no row for kinds without tokens


def test_a_rate_of_nothing_is_a_dash():
    counts = {"tokens": 5, "replaced": 0, "caught": 0, "false_alarms": 0}
    rates = measures.verdicts({"rare": counts})["rare"]
    assert rates == [(0, 0), (0, 5), (0, 0)]
    assert [tables._rate(one, one)[-5:] for one in rates] == ["—", "0 / 5", "—"]


def test_a_change_that_rounds_to_nothing_still_tells_better_from_worse():
    assert [tables.points(change, EN) for change in (0.0, 0.0004, -0.0004, -0.0006)] == [
        *("+0.0 points", "+0.04 points"),
        *("-0.04 points", "-0.1 points"),
    ]


def test_the_calibration_error_is_the_distance_weighted_by_tokens(page):
    # |80 - 900 * 0.02| + |20 - 100 * 0.98| = 62 + 78 of 1000 tokens; after: 0 + 16.
    assert page.rows(EN["held_out"])["Expected calibration error ↓"][:2] == ["14.0%", "1.6%"]
    assert "14.0% before, 1.6% after" in page.text
    rows = page.rows_of("50%-55%")
    assert rows["0%-5%"] == ["900", "2.0%", "8.9%", "900", "2.0%", "2.0%"]
    assert rows["50%-55%"] == ["0", "—", "—", "0", "—", "—"]


def test_the_reliability_curve_has_a_point_and_an_interval_for_each_bin_with_tokens(whole_run):
    reliability, _ = charts.calibration(read_run(whole_run), EN)
    after = reliability.series[1]
    assert after.points == [(0.02, 0.02), (0.98, 0.82)]
    assert all(low < share < high for (low, high), (_, share) in zip(after.bounds, after.points, strict=True))


def test_most_improved_tokens_are_the_surest_ones(page):
    generator = page.tables[EN["generator_improved"]]
    assert [row[0] for row in generator[1:]] == ["##는", "zero\\u200bwidth"]  # "책" is better, not surely
    assert generator[1][:5] == ["##는", "Korean", "100", "20.0%", "80.0%"]
    discriminator = page.tables[EN["discriminator_improved"]]
    assert discriminator[1][:5] == ["##는", "Korean", "500", "20.0%", "10.0%"]
    assert all("once" not in row for rows in page.tables.values() for row in rows)


def test_worst_tokens_are_those_that_are_surely_bad(page):
    generator = page.tables[EN["generator_worst"]]
    assert generator[1][:5] == [STRANGE, "Latin", "8", "50.0%", "12.5%"]
    discriminator = page.tables[EN["discriminator_worst"]]
    assert discriminator[1] == [STRANGE, "Latin", "40", "2.5%", "50.0%", "35.2%"]


def test_bounds_of_shares_are_those_of_wilson_and_newcombe():
    assert measures.wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert measures.wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert measures.wilson(0, 0) == (0.0, 1.0)
    # Wilson's bounds of 10 and 20 of 50: 0.1124 to 0.3304, 0.2761 to 0.5382.
    assert measures.least_gain(10, 20, 50) == pytest.approx(0.2 - (0.1239**2 + 0.1304**2) ** 0.5, abs=1e-4)


def test_few_lucky_places_do_not_win_against_many():
    few, many = measures.TokenScore("few", "", 5, 0, 5), measures.TokenScore("many", "", 1000, 0, 900)
    assert few.after / few.trials > many.after / many.trials
    assert measures.most_improved([few, many]) == [many, few]


def test_a_run_whose_tokens_are_too_few_says_so(tmp_path, no_figures):
    held_out = made_up_run.held_out()
    held_out["tokens"] = {"token": [], "class": [], "count": [], "before": {"masked": []}, "after": {"masked": []}}
    page = report(write_run(tmp_path / "run", held_out=held_out))
    assert page.text.count(EN["none_better"]) == page.text.count(EN["none_worse"]) == 2


# ---- Curves ----


def test_the_figures_behind_a_curve_are_those_of_the_log(page):
    training, held_out = page.column("Loss, training"), page.column("Loss, held out")
    assert [training[step] for step in ("0", "10", "60", "120")] == ["—", "40", "35", "29"]
    assert [held_out[step] for step in ("0", "10", "60", "120")] == ["45", "—", "39", "33"]
    assert len(training) <= 1 + 2 * charts.TABLE_ROWS


def test_every_figure_of_the_log_has_a_curve(page, whole_run):
    names = {"loss", "mlm_loss", "disc_loss", "gen_acc", "disc_acc", "disc_recall", "lucky_hits", "replaced_share"}
    names |= {"learning_rate", "grad_norm", "detection", "guesses", "disc_auc", "disc_logit_std"}
    assert set(charts_by_name(whole_run)) == names
    told = [attributes["alt"] for tag, attributes in page.elements if tag == "img"]
    assert len(told) == len(names) + 1  # and the calibration
    assert any(one.startswith("Loss. training: 40 at step 10, 29 at step 120; lowest 29, highest 40.") for one in told)


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        ({"tokens_per_second": [500.0, 600.0, 700.0]}, [(10, 500.0), (20, 600.0), (30, 700.0)]),
        # What the Trainer counts, between two logs; the clock starts anew after a resumption.
        ({"num_input_tokens_seen": [100, 500, 900], "train_runtime": [1.0, 3.0, 2.0]}, [(20, 200.0)]),
    ],
)
def test_speed_is_drawn_where_the_log_has_it(tmp_path, added, expected):
    rows = [made_up_run.training_row(10 * row) for row in (1, 2, 3)]
    for name, values in added.items():
        for row, value in zip(rows, values, strict=True):
            row[name] = value
    drawn = charts_by_name(write_run(tmp_path / "run", rows))
    assert drawn["tokens_per_second"].series[0].points == expected


def test_without_speed_over_time_the_page_says_so(page):
    assert EN["no_speed"] in page.text


def test_a_spike_survives_downsampling():
    points = [(step, 1.0) for step in range(100_000)]
    points[54_321], points[777] = (54_321, 99.0), (777, -5.0)
    smaller = measures.downsample(points)
    assert len(smaller) <= measures.CURVE_POINTS
    assert (54_321, 99.0) in smaller and (777, -5.0) in smaller
    assert smaller == sorted(smaller)
    assert smaller[0] == points[0] and smaller[-1] == points[-1]


def test_a_short_curve_is_kept_whole():
    points = [(step, float(step)) for step in range(measures.CURVE_POINTS)]
    assert measures.downsample(points) == points


def test_a_log_of_ten_thousand_rows_makes_a_small_page(tmp_path):
    rows = [made_up_run.training_row(step, 30 + (step * 7919 % 1000) / 100) for step in range(1, 10_001)]
    (html,) = report_run(write_run(tmp_path / "run", rows), lang="en")
    assert html.stat().st_size < 200_000  # twice as much where every point of the one curve that varies is drawn


# ---- One file, safe, the same each time ----


def test_the_page_asks_for_nothing_from_anywhere(page):
    assert not {tag for tag, _ in page.elements} & {"script", "link", "iframe", "object", "embed"}
    for _, attributes in page.elements:
        for name in ("href", "src", "xlink:href", "srcset", "action", "data"):
            assert attributes.get(name, "#").startswith(("#", "data:image/svg+xml;base64,"))
        assert not re.search(r"url\((?!#)", attributes.get("style", ""))
        assert not any(name.startswith("on") for name in attributes)
    assert "http:" not in page.html and "https:" not in page.html and "@import" not in page.html
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page.html


def test_names_tokens_settings_and_findings_are_text_and_nothing_else(page, whole_run):
    assert STRANGE in page.text and whole_run.name in page.text
    assert "<script" not in page.html and "<b>run" not in page.html


def test_characters_that_cannot_be_seen_are_written_as_escapes():
    assert printable("책\x00\u200b\ud800") == "책\\x00\\u200b\\ud800"


def test_ids_are_unique_and_the_contents_lead_to_every_section(page):
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    sections = ["findings", "held_out", "curves", "confusion", "calibration", "token_tables", "settings"]
    assert ids == re.findall(r'href="#([^"]+)"', page.html) == sections


def test_every_figure_has_its_title_and_its_words(page):
    pictures = [attributes for tag, attributes in page.elements if tag == "img"]
    assert len(pictures) == len([tag for tag, _ in page.elements if tag == "figure"]) == 15
    assert all(len(attributes["alt"]) > 30 for attributes in pictures)
    assert page.html.count(f"<summary>{EN['numbers']}</summary>") == 4  # three sections of curves, and the calibration


def test_the_same_run_gives_the_same_bytes(whole_run, tmp_path, monkeypatch):
    drawn = [charts.calibration(read_run(whole_run), EN)[0]]
    assert [figures.draw_svg(chart) for chart in drawn] == [figures.draw_svg(chart) for chart in drawn]
    monkeypatch.setattr(figures, "draw_svg", lambda chart: "")
    one, two = (report_run(whole_run, html=tmp_path / name, lang="en")[0] for name in ("one.html", "two.html"))
    assert one.read_bytes() == two.read_bytes()
    for name in ("one.png", "two.png"):
        figures.draw_png(drawn, "title", tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_the_users_own_settings_of_matplotlib_count_neither_way(whole_run):
    import matplotlib

    chart, _ = charts.calibration(read_run(whole_run), EN)
    drawn = figures.draw_svg(chart)
    with matplotlib.rc_context({"lines.linewidth": 9.0, "xtick.labelsize": 30.0}):
        assert figures.draw_svg(chart) == drawn
        assert matplotlib.rcParams["lines.linewidth"] == 9.0


# ---- Languages ----


REASONS = {  # what `adapt` has written down -> what the Korean page says
    like_lengths(None, None, None).why: "길이가 비슷한 행끼리 묶어 패딩이 적음",
    dynamic_padding(None, None, None).why: "배치의 폭은 그 안의 가장 긴 행에 맞춤",
    "this CPU has amx_bf16; the first batch's loss is 21.5500, in float32 21.5312": (
        "이 CPU의 amx_bf16; 첫 배치의 손실이 21.5500, float32에서는 21.5312"
    ),
    "forward and backward of the first batch take 0.212 s with 1, 0.150 s with 2": (
        "첫 배치의 순전파와 역전파에 걸린 시간: 스레드 1개 0.212초, 스레드 2개 0.150초"
    ),
    "128 rows of 40 tokens on average keep the device busy; 8 x 4 are 32 rows a step": (
        "평균 40토큰인 행 128개면 장치가 쉬지 않음; 8 x 4 = 한 스텝에 32행"
    ),
    "something new": "something new",
}


@pytest.mark.parametrize("why", REASONS)
def test_a_korean_page_says_in_korean_why_a_setting_was_chosen(why):
    assert (reason(why, "ko"), reason(why, "en")) == (REASONS[why], why)


def test_every_sign_of_a_dead_run_has_its_korean_words_and_figures(tmp_path, no_figures):
    named = set(re.findall(r"^    \| `(\w+)` \|", RTDHealthCallback.__doc__, re.MULTILINE)) - {"health"}
    signs = [{"step": 40, "health": name, "message": f"step 40: English {name}."} for name in sorted(named)]
    page = report(write_run(tmp_path / "run", [*made_up_run.log()[:5], *signs]), "ko")
    assert len(named) == 9 and "English" not in page.text
    assert "재현율 0.2, 손실 0.4" in page.text  # of the log at that step
    unknown = {"step": 40, "health": "new_sign", "message": "step 40: something new."}
    assert "something new" in report(write_run(tmp_path / "other", [*made_up_run.log()[:5], unknown]), "ko").text


def test_a_korean_page_speaks_korean_with_the_same_figures(page, korean):
    assert ("html", {"lang": "ko"}) in korean.elements
    accuracy = korean.rows(KO["held_out"])["판별기 균형 정확도 ↑"]
    assert accuracy[:3] == ["50.0%", "40.0%", "▼ 나빠짐, -10.0%p"]
    assert "2분 5초" in korean.text
    english = [EN[name] for name in EN if len(EN[name]) > 12 and "{" not in EN[name] and EN[name] != KO[name]]
    assert [text for text in english if text in korean.text] == []


def test_the_language_is_the_locales_unless_given(whole_run, monkeypatch, no_figures, tmp_path):
    monkeypatch.setenv("LC_ALL", "ko_KR.UTF-8")
    (html,) = report_run(whole_run, html=tmp_path / "page.html")
    assert '<html lang="ko">' in html.read_text(encoding="utf-8")


# ---- PNG ----


def test_the_png_shows_all_figures_in_print_quality(whole_run, tmp_path, no_figures):
    written = report_run(whole_run, html=tmp_path / "page.html", png=tmp_path / "figures.png", lang="en")
    assert written == [tmp_path / "page.html", tmp_path / "figures.png"]
    with Image.open(tmp_path / "figures.png") as image:
        assert image.info["dpi"] == pytest.approx((150, 150), abs=0.1)
        assert image.width == round(4 * 3.1 * 150) and image.height > 4 * 2.1 * 150


def test_without_a_korean_font_the_png_is_in_english_and_says_so(whole_run, tmp_path, monkeypatch, caplog, no_figures):
    drawn = []
    monkeypatch.setattr(figures, "hangul_fonts", lambda: [])
    monkeypatch.setattr(
        figures, "draw_png", lambda charts, title, path: (drawn.extend([title, *charts]), path.touch())
    )
    with caplog.at_level(logging.WARNING):
        report_run(whole_run, html=tmp_path / "page.html", png=tmp_path / "figures.png", lang="ko")
    assert "No installed font has Hangul" in caplog.text
    assert drawn[0].endswith("120 steps") and drawn[1].title == "Loss"
    assert '<html lang="ko">' in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_name_that_no_font_can_show_is_left_out_of_the_png(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    titles = []
    monkeypatch.setattr(figures, "hangul_fonts", lambda: [])
    monkeypatch.setattr(Figure, "suptitle", lambda self, title, **place: titles.append(title))
    for number, name in enumerate(("실험", "run")):
        figures.draw_png([], name, tmp_path / f"{number}.png")
    assert titles == ["run"]


# ---- What is missing, and what is wrong ----


def test_a_stock_run_is_read_from_its_last_checkpoint(tmp_path, no_figures):
    for step, rows in ((9, made_up_run.log()[:4]), (120, made_up_run.log())):
        write_run(tmp_path / "run" / f"checkpoint-{step}", rows, results=None)
    write_run(tmp_path / "run" / "checkpoint-best", [{}], results=None)
    page = report(tmp_path / "run")
    assert "checkpoint-120/trainer_state.json" in page.text
    assert page.rows(EN["held_out"])["Loss ↓"] == ["45", "33", "▲ better, -12", "—"]
    assert "<dt>training time</dt><dd>2 min 5 s</dd>" in page.html
    assert page.rows(EN["run_settings"])["num_train_epochs"] == ["2"]
    assert EN["missing_results"] in page.text and EN["missing_held_out"] in page.text
    assert EN["confusion"] not in page.text


def test_evaluations_that_began_late_stand_under_their_steps(tmp_path, no_figures):
    rows = [row for row in made_up_run.log() if row.get("step")]
    page = report(write_run(tmp_path / "run", rows, results=None))
    assert page.rows(EN["held_out"])["figure"][:2] == ["step 60", "step 120"]


def test_a_run_without_evaluations_says_why_there_are_no_curves_of_them(tmp_path, no_figures):
    page = report(write_run(tmp_path / "run", [made_up_run.training_row(10)], results=None))
    assert EN["missing_evaluations"] in page.text
    assert EN["held_out"] not in page.tables
    assert page.column("Loss, training") == {"step": "Loss, training", "10": "30"}


def test_a_run_that_logged_nothing_has_a_page(tmp_path, no_figures):
    page = report(write_run(tmp_path / "run", [{"step": 0}], results=None))
    assert "<dt>tokens read</dt><dd>not recorded</dd>" in page.html


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("trainer_state.json", "{", "trainer_state.json cannot be read"),
        ("trainer_state.json", "[]", "holds list, not an object"),
        ("trainer_state.json", "{}", "has no log_history"),
        ("adapt_results.json", "{", "adapt_results.json cannot be read"),
        ("held_out.json", '{"format": 2}', "has format 2, this release reads 1"),
        ("held_out.json", '{"format": 1}', "held_out.json is not complete"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, file, content, message):
    folder = write_run(tmp_path / "run")
    (folder / file).write_text(content)
    with pytest.raises(ValueError, match=re.escape(message)):
        report_run(folder)
    assert not (folder / "report.html").exists()


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"holds no trainer_state\.json"):
        report_run(tmp_path)
    with pytest.raises(ValueError, match="is no folder"):
        report_run(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_is_a_folder_is_refused(whole_run, tmp_path):
    with pytest.raises(ValueError, match="a folder: give the name of a file"):
        report_run(whole_run, png=tmp_path)


def test_without_matplotlib_it_says_how_to_install_it(whole_run, monkeypatch):
    monkeypatch.setattr(figures.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="-m pip install matplotlib`"):
        report_run(whole_run)


def test_a_picture_that_cannot_be_drawn_leaves_the_earlier_one(whole_run, tmp_path, monkeypatch, no_figures):
    def break_off(charts, title, path):
        path.write_bytes(b"half")
        raise OSError("no space")

    (tmp_path / "figures.png").write_bytes(b"earlier")
    monkeypatch.setattr(figures, "draw_png", break_off)
    with pytest.raises(OSError, match="no space"):
        report_run(whole_run, html=tmp_path / "page.html", png=tmp_path / "figures.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figures.png", "page.html"]
    assert (tmp_path / "figures.png").read_bytes() == b"earlier"


# ---- On labels ----


@pytest.fixture
def evaluated(tmp_path):
    """A run, and an evaluation in its folder."""

    def write(made, below="evaluation"):
        folder = write_run(tmp_path / "run")
        (folder / below).mkdir(exist_ok=True)
        made.write(folder / below)
        return folder

    return write


@pytest.mark.parametrize("below", ["", "evaluation"])
def test_an_evaluation_in_the_folder_has_a_section(evaluated, no_figures, below):
    page = report(evaluated(evaluation(), below))
    assert EN["evaluation"] in page.text
    assert "Better: after against before, +3.0 points of accuracy (95% interval +1.0 to +5.0; 3 seeds" in page.text
    scores = page.rows("Fine-tuned: accuracy on the test rows, x 100, mean ± standard deviation over seeds")
    assert scores["after"] == ["73.0 ± 1.0", "71.0 ± 1.0", "3", "0.0001"]
    differences = page.rows("Fine-tuned: differences of accuracy, in points")
    assert differences["after - before"] == ["+3.0", "+1.0 to +5.0", "better"]


def test_a_run_without_labels_has_no_such_section(page):
    assert EN["evaluation"] not in page.text


def test_the_section_speaks_korean(evaluated, no_figures):
    page = report(evaluated(evaluation()), "ko")
    assert KO["evaluation"] in page.text and "더 좋음: after 대 before" in page.text


def test_what_a_reader_must_know_is_a_finding(evaluated, no_figures):
    page = report(evaluated(evaluation(floor=0.72)))
    assert "before is below naive Bayes, which needs no encoder (70.0 against 72.0)" in page.text


def test_strange_names_of_arms_are_text(evaluated, no_figures):
    made = evaluation(arms={STRANGE[:20]: "a", "b\n": "c"})
    made.comparisons[0].update(arm="b\n", against=STRANGE[:20])
    page = report(evaluated(made))
    assert "<script>" not in page.html.replace("&lt;script&gt;", "") and "b\\n" in page.text


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content.update(format=99),
        lambda content: content.update(runs=3),
        lambda content: content.update(comparisons=[{}]),
        lambda content: content["task"].pop("metric"),
        lambda content: content["runs"][0].update(scores={"accuracy": "much"}),
        lambda content: content.update(arms={}),
    ],
)
def test_an_evaluation_that_cannot_be_read_is_named(evaluated, no_figures, spoil):
    folder = evaluated(evaluation())
    path = folder / "evaluation" / "evaluation.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    spoil(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ValueError, match=r"evaluation\.json (has the format|is no evaluation)"):
        report(folder)
