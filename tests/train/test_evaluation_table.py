"""What a terminal says of an evaluation: every figure, every warning, in both languages, in 100 columns."""

import json
import string

import pytest
from made_up_evaluation import comparison, evaluation, run
from rich.cells import cell_len

from electra_rtd.train_tools.evaluation.evaluation import Evaluation
from electra_rtd.train_tools.evaluation.result_texts import TEXTS
from electra_rtd.train_tools.evaluation.table import table


def said(made, lang="en"):
    """The text on one line, as far as it is sentences: words are not cut apart where a line ends."""
    return " ".join(table(made, lang).split())


def lines(made, lang="en"):
    return table(made, lang).splitlines()


def row(made, first, lang="en"):
    """The cells of the rows that begin with a cell."""
    found = [line.strip() for line in lines(made, lang) if line.strip().startswith(first)]
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in found]


def test_an_encoder_has_its_mean_its_spread_its_seeds_and_its_rate():
    made = evaluation(floor=0.6)
    assert row(made, "encoder")[0] == ["encoder", "accuracy", "macro_f1", "seeds", "rate"]
    assert row(made, "before ")[0] == ["before", "70.0 ± 1.0", "68.0 ± 1.0", "3", "0.0001"]
    assert row(made, "after ")[0] == ["after", "73.0 ± 1.0", "71.0 ± 1.0", "3", "0.0001"]
    assert row(made, "naive Bayes")[0] == ["naive Bayes (no encoder)", "60.0", "58.0", "—", "—"]


def test_runs_at_other_rates_of_the_grid_are_not_in_the_mean():
    assert "40.0" not in table(evaluation(), "en")


def test_differences_stand_with_their_interval_and_verdict():
    assert row(evaluation(), "after - before") == [["after - before", "+3.0", "+1.0 to +5.0", "better"]]
    assert row(evaluation(after=-0.03, verdict="worse"), "after - before")[0][1:] == ["-3.0", "-5.0 to -1.0", "worse"]


@pytest.mark.parametrize(
    ("verdict", "after", "word"),
    [("better", 0.03, "Better"), ("worse", -0.03, "Worse"), ("cannot tell", 0.01, "Cannot tell")],
)
def test_one_sentence_says_which(verdict, after, word):
    low, high = 100 * after - 2, 100 * after + 2
    assert said(evaluation(after=after, verdict=verdict)).endswith(
        f" {word}: after against before, {100 * after:+.1f} points of accuracy (95% interval {low:+.1f} to "
        f"{high:+.1f}; 3 seeds, 500 test rows)."
    )


def test_where_nobody_can_tell_it_says_what_would_be_needed():
    made = evaluation(after=0.01, verdict="cannot tell")
    made.comparisons[0] |= {"needed": "to tell one point apart, ...", "needed_seeds": 20, "needed_rows": 3000}
    assert said(made).endswith("To tell a difference of one point: about 20 seeds or about 3,000 test rows.")
    assert said(made, "ko").endswith("시드 약 20개 또는 평가 행 약 3,000개가 필요합니다.")
    made.comparisons[0] |= {"needed_seeds": None}
    assert said(made).endswith("To tell a difference of one point: about 3,000 test rows.")
    made.comparisons[0] |= {"needed_rows": None, "needed": "both arms say the same of every test row."}
    assert said(made).endswith(" Both arms say the same of every test row.")


def test_what_was_read_is_named_without_its_folder():
    first = lines(evaluation())[0]
    assert first == "reviews.csv: classes of sentences (neg, pos); 400 training, 100 validation and 500 test rows."
    assert "somebody" not in table(evaluation(), "en")


def test_of_many_classes_a_few_are_named():
    made = evaluation(names=[f"class {number}" for number in range(40)])
    assert "class 5 and 34 more" in said(made) and "class 6" not in said(made)


def test_a_collapse_is_named_and_marked_and_left_out_of_comparisons_aloud():
    made = evaluation()
    spoilt = made.chosen("after", 400)[1]
    spoilt.scores["accuracy"], spoilt.collapsed = 0.5, "one class for all rows (pos)"
    made.comparisons[0] |= {"left_out": 1, "collapsed_after": 1, "seeds": 2}
    assert row(made, "after ")[0][1] == "65.3 ± 13.3 !"
    assert "COLLAPSED: after, seed 1: one class for all rows (pos). It is in the mean marked with !" in said(made)
    assert "Not in after - before: 1 of 3 seeds, in which a run collapsed." in said(made)
    assert "COLLAPSED" not in said(evaluation())


def test_an_encoder_below_the_floor_is_told_apart():
    made = evaluation(floor=0.72)
    assert "before is below naive Bayes, which needs no encoder (70.0 against 72.0)" in said(made)
    assert "after is below" not in said(made)
    assert "below naive Bayes" not in said(evaluation(floor=0.70))  # equal is not below


def test_without_a_floor_nobody_is_below_it():
    assert "naive" not in said(evaluation(floor=None))


def test_a_rate_at_the_edge_of_the_grid_is_told():
    made = evaluation()
    assert "of the grid" not in said(made)
    made.settings["learning_rates"] = [1e-4, 2e-4]
    assert "The rate of before is the lowest of the grid: a lower one may be better (`learning_rates`)." in said(made)


def test_the_curve_over_label_counts_has_a_column_each():
    made = evaluation(counts=(50, 200, 1000))
    assert row(made, "encoder")[0] == ["encoder", "50", "200", "1,000"]
    assert row(made, "after ")[0] == ["after", "73.0 ± 1.0", "78.0 ± 1.0", "83.0 ± 1.0"]
    assert row(made, "after ")[1] == ["after", "0.0001", "0.0001", "0.0001"]  # the rates
    assert [cells[1] for cells in row(made, "after - before")] == ["50", "200", "1,000"]


def test_with_several_counts_a_sentence_says_where_it_pays():
    made = evaluation(counts=(50, 200, 1000))
    made.comparisons[2]["verdict"] = "cannot tell"
    words = said(made)
    assert "after against before, by training rows: better with 50 and 200; cannot tell with 1,000." in words
    assert "Cannot tell: after against before, +3.0 points of accuracy with 1,000 training rows (95%" in words


def test_a_floor_and_an_edge_are_told_once_for_all_counts():
    made = evaluation(counts=(50, 200, 1000), floor=0.76)
    made.settings["learning_rates"] = [5e-5, 1e-4]
    words = said(made)
    assert "after with 50 training rows is below naive Bayes, which needs no encoder (73.0 against 76.0)" in words
    assert "before with 50 and 200 training rows is below naive Bayes" in words
    assert words.count("is the highest of the grid") == 2  # an encoder each


def test_a_probe_has_a_table_and_a_sentence_of_its_own():
    made = evaluation()
    made.runs += [run(arm, 0.6 + 0.01 * place, None, way="probe") for place, arm in enumerate(made.arms)]
    made.comparisons.append(comparison(difference=0.01, verdict="cannot tell", way="probe", seeds=1))
    words = said(made)
    assert "Linear probe of frozen features: accuracy on the test rows" in words
    assert ["before", "60.0", "58.0"] in [cells[:3] for cells in row(made, "before ")]
    assert words.endswith("(95% interval -1.0 to +3.0; linear probe, 500 test rows).")


def test_an_interval_that_is_not_there_is_a_dash():
    made = evaluation()
    made.comparisons[0].update(low=None, high=None, verdict="cannot tell", needed="at least 2 seeds")
    assert row(made, "after - before")[0][2] == "— to —"


def test_texts_that_were_cut_off_are_counted():
    made = evaluation()
    made.runs[0].cut_off = 17
    assert "17 of the test rows are longer than before reads" in said(made)
    made.task["kind"] = "tokens"
    assert "17 words of the test rows lie behind the end of what before reads: they count as O." in said(made)


@pytest.mark.parametrize("lang", ["en", "ko"])
@pytest.mark.parametrize("counts", [(400,), (50, 100, 200, 400, 800, 1600, 3200, 6400)])
def test_nothing_is_wider_than_a_terminal(lang, counts):
    arms = {"before": "a", "어댑테이션을 거친 판별기" * 3: "b", "x\n" * 30: "c"}
    made = evaluation(counts=counts, arms=arms, floor=0.9, names=["긍정적인 평가", "부정적인 평가"] * 4)
    made.settings["learning_rates"] = [1e-4, 2e-4]
    shown = lines(made, lang)
    assert max(map(cell_len, shown)) <= 100
    assert len({cell_len(line) for line in shown if line.startswith("  before")}) <= 6


def test_columns_of_a_korean_table_end_under_each_other():
    made = evaluation()
    shown = [
        line for line in lines(made, "ko") if line.startswith(("  인코더", "  before  ", "  after  ", "  나이브"))
    ]
    assert len(shown) == 4 and len({cell_len(line) for line in shown}) == 1


def test_both_languages_say_the_same():
    assert TEXTS["en"].keys() == TEXTS["ko"].keys()
    for name, english in TEXTS["en"].items():
        fields = [
            {field for _, field, *_ in string.Formatter().parse(text) if field}
            for text in (english, TEXTS["ko"][name])
        ]
        assert fields[0] == fields[1], name


def test_what_was_written_and_read_again_says_the_same(tmp_path):
    made = evaluation(counts=(50, 200))
    made.runs[0].scores["macro_f1"] = float("nan")
    made.write(tmp_path)
    json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))
    assert table(Evaluation.read(tmp_path), "en") == table(made, "en")


def test_another_language_is_refused():
    with pytest.raises(ValueError, match="`lang` is 'fr'"):
        table(evaluation(), "fr")
