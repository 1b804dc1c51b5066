"""Labelled files: which columns are taken, what kind of task they make, what is left out, what is refused."""

import gzip
import json
from pathlib import Path

import pytest
from datasets import Dataset

from electra_rtd.train_tools.evaluation.labels import read_labels


SHARED = Path(__file__).parents[4] / "shared" / "data"  # beside some checkouts
ROWS = [("좋은 영화다", "1"), ("지루하다", "0"), ("또 보고 싶다", "1"), ("돈이 아깝다", "0")]


def write(path, content):
    path.write_text(content, encoding="utf-8")
    return path


def csv(path, header="text,label", rows=ROWS):
    return write(path, header + "\n" + "".join(",".join(row) + "\n" for row in rows))


def jsonl(path, rows):
    return write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


@pytest.mark.parametrize("ending", ["csv", "tsv", "json", "jsonl", "parquet", "csv.gz"])
def test_every_format_gives_the_same_rows(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    objects = [{"text": text, "label": int(label)} for text, label in ROWS]
    if ending == "parquet":
        Dataset.from_list(objects).to_parquet(path)
    elif ending.startswith("json"):
        path.write_text(json.dumps(objects) if ending == "json" else "\n".join(map(json.dumps, objects)))
    else:
        sign = "\t" if ending == "tsv" else ","
        content = "".join(f"{text}{sign}{label}\n" for text, label in [("text", "label"), *ROWS]).encode()
        path.write_bytes(gzip.compress(content) if ending.endswith("gz") else content)
    labels = read_labels(path)
    assert (labels.kind, labels.names, labels.notes) == ("single", ("0", "1"), ())
    assert labels.texts == [text for text, _ in ROWS]
    assert labels.targets == [1, 0, 1, 0]
    assert labels.columns == {"text": ["text"], "label": "label", "group": None}


@pytest.mark.parametrize(
    ("header", "row", "kind", "texts", "label"),
    [
        ("sentence1,sentence2,label", "가 나,다 라,{}", "pair", ["sentence1", "sentence2"], "label"),
        (
            "id,question1,question2,is_duplicate",
            "7,가 나,다 라,{}",
            "pair",
            ["question1", "question2"],
            "is_duplicate",
        ),
        ("ask,reply,stars", "가 나,다 라,{}", "pair", ["ask", "reply"], "stars"),
        (",review,sentiment", "3,가 나,{}", "single", ["review"], "sentiment"),
        ("Unnamed: 0,sen,points", "3,가 나,{}", "single", ["sen"], "points"),
        ("title,text,label,class_no", "가,나 다,{},005.1", "single", ["text"], "label"),
    ],
)
def test_columns_are_found_by_names_and_by_what_they_hold(tmp_path, header, row, kind, texts, label):
    rows = "".join(row.format(number % 2).replace("가", f"가{number}") + "\n" for number in range(6))
    labels = read_labels(write(tmp_path / "a.csv", f"{header}\n{rows}"))
    assert (labels.kind, labels.columns["text"], labels.columns["label"]) == (kind, texts, label)
    assert labels.targets == [0, 1] * 3
    assert isinstance(labels.texts[0], tuple) == labels.pairs == (kind == "pair")


def test_a_text_beside_the_one_that_is_taken_is_told(tmp_path):
    (note,) = read_labels(csv(tmp_path / "a.csv", "title,text,label", [("a b", *row) for row in ROWS])).notes
    assert "the text is the column 'text'; 'title' also holds text" in note


def test_labels_with_fractions_make_a_regression(tmp_path):
    rows = [("가", "나", "2.500"), ("다", "라", "3"), ("마", "바", "0.0")]
    labels = read_labels(csv(tmp_path / "a.csv", "sentence1,sentence2,score", rows))
    assert (labels.kind, labels.pairs, labels.names, labels.targets) == ("regression", True, (), [2.5, 3.0, 0.0])


def test_many_whole_numbers_need_to_be_told_and_can_be_either(tmp_path):
    path = csv(tmp_path / "a.csv", rows=[(f"글 {number}", str(number % 30)) for number in range(90)])
    with pytest.raises(ValueError, match=r"30 different whole numbers.*`task=single` or `task=regression`"):
        read_labels(path)
    assert read_labels(path, task="single").names == tuple(map(str, range(30)))  # by size: 2 before 10
    assert read_labels(path, task="regression").targets[:3] == [0.0, 1.0, 2.0]


def test_words_with_tags_make_token_classification(tmp_path):
    rows = [
        {"id": "a", "tokens": ["서울", "은", "크다"], "tags": ["B-LOC", "O", "O"]},
        {"id": "b", "tokens": [], "tags": []},
        {"id": "c", "tokens": ["김", "씨"], "tags": ["B-PER", "I-PER"]},
    ]
    labels = read_labels(jsonl(tmp_path / "a.jsonl", rows))
    assert (labels.kind, labels.names) == ("tokens", ("B-LOC", "B-PER", "I-PER", "O"))
    assert labels.texts == [["서울", "은", "크다"], ["김", "씨"]]
    assert labels.targets == [[0, 3, 3], [1, 2]]
    assert labels.notes == (f"{tmp_path / 'a.jsonl'}: 1 rows without text or label are left out.",)


def test_tags_that_are_numbers_need_their_names(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", [{"tokens": ["서울", "은"], "ner_tags": [1, 0]}])
    with pytest.raises(ValueError, match=r"tags must be O, or B-.*there are 0, 1.*`names`"):
        read_labels(path)
    assert read_labels(path, names=["O", "B-LOC"]).targets == [[1, 0]]


def test_names_fix_the_order_of_classes_and_numbers_count_in_them(tmp_path):
    path = csv(tmp_path / "a.csv")
    labels = read_labels(path, names=["bad", "good"])
    assert (labels.names, labels.targets) == (("bad", "good"), [1, 0, 1, 0])
    assert read_labels(path, names=["1", "0"]).targets == [0, 1, 0, 1]
    with pytest.raises(ValueError, match=r"labels that `names` does not have: 1\. It has: 0, 2"):
        read_labels(path, names=["0", "2"])
    with pytest.raises(ValueError, match="the label 1 is no place in `names`, which has 1"):
        read_labels(path, names=["good"])


def test_one_label_written_in_two_ways_is_one_class(tmp_path):
    rows = [("가", "1"), ("나", "1.0"), ("다", " 0 "), ("라", "0.0"), ("마", "-1")]
    labels = read_labels(csv(tmp_path / "a.csv", rows=rows), task="single")
    assert (labels.names, labels.targets) == (("-1", "0", "1"), [2, 2, 1, 1, 0])


def test_codes_keep_their_zeros(tmp_path):
    rows = [("가", "005"), ("나", "05"), ("다", "005"), ("라", "05"), ("마", "1.10"), ("바", "1.10")]
    assert read_labels(csv(tmp_path / "a.csv", rows=rows), task="single").names == ("1.10", "005", "05")


def test_rows_without_text_or_label_are_left_out_and_counted(tmp_path):
    rows = [*ROWS, ("", "1"), ("   ", "0"), ("라벨 없음", "")]
    labels = read_labels(csv(tmp_path / "a.csv", rows=rows))
    assert len(labels) == 4
    assert "3 rows without text or label are left out" in labels.notes[0]


def test_texts_with_different_labels_are_counted(tmp_path):
    labels = read_labels(csv(tmp_path / "a.csv", rows=[*ROWS, ("지루하다 ", "1"), ("좋은  영화다", "1")]))
    assert "1 text is there more than once, with different labels" in labels.notes[0]


def test_groups_are_texts_and_none_where_a_cell_is_empty(tmp_path):
    rows = [(*row, page) for row, page in zip(ROWS, ["1", "1", "", "2"], strict=True)]
    labels = read_labels(csv(tmp_path / "a.csv", "text,label,page", rows), group_column="page")
    assert labels.groups == ["1", "1", None, "2"]


@pytest.mark.parametrize(
    ("header", "rows", "options", "message"),
    [
        ("text,label", [("가", "1"), ("나", "1")], {}, "every row has the same label"),
        ("text,label", [("가", ""), ("나", "")], {}, "no row has both a text and a label"),
        ("text,label,label", [("가", "1", "0"), ("나", "0", "1")], {}, "the header has 'label' 2 times"),
        ("text,number,score", [("가", "1", "0"), ("나", "0", "1")], {"label_column": "scor"}, "Do you mean 'score'"),
        (
            "text,n,m",
            [("가", "1", "0"), ("나", "0", "1")],
            {},
            r"label is not clear. It could be 'n' or 'm'.*`label_c",
        ),
        (
            "a,b,c,label",
            [("가 나", "다", "라", "1"), ("마", "바", "사", "0")],
            {},
            r"3 columns hold text.*`text_columns`",
        ),
        ("text,label", [("가", "1"), ("나", "0")], {"task": "pair"}, "`task=pair` needs two columns|not clear"),
        ("text,label", [("가", "1"), ("나", "0")], {"task": "classes"}, "the kinds of task are single, pair"),
        ("text,label", [("가", "1"), ("나", "0")], {"task": "tokens"}, r"`task=tokens` needs.*\"tags\""),
        (
            "text,label",
            [("가", "좋다"), ("나", "0.5")],
            {"task": "regression"},
            "line 2: the label '좋다' is no number",
        ),
        ("text,label", [("가", "a"), ("나", "b"), ("다", "c")], {}, "3 classes in 3 rows. Is it the right column"),
        (
            "text,label",
            [("가", "1"), ("나", "0")],
            {"text_columns": "label", "label_column": "label"},
            "cannot be both text and label",
        ),
        ("text,label", [("가", "1"), ("나", "0")], {"text_columns": list("abc")}, "`text_columns` has 3 names"),
    ],
)
def test_what_is_not_clear_is_refused_with_what_there_is(tmp_path, header, rows, options, message):
    with pytest.raises(ValueError, match=message):
        read_labels(csv(tmp_path / "a.csv", header, rows), **options)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"tokens": ["가", "나"], "tags": ["O"]}], "line 1: 2 words, but 1 tags"),
        ([{"tokens": ["가", " "], "tags": ["O", "B-X"]}], "a list of words, none of them empty"),
        ([{"tokens": ["가", "나"], "tags": ["NOUN", "VERB"]}], "tags must be O, or B-.*NOUN, VERB"),
        ([{"text": 3, "label": "a"}, {"text": "가", "label": "b"}], "line 1: 'text' holds 3.0, not text"),
        ([{"text": "가", "label": ["a"]}, {"text": "나", "label": ["b"]}], "a label is a list or an object"),
    ],
)
def test_rows_that_do_not_fit_are_named(tmp_path, rows, message):
    with pytest.raises(ValueError, match=message):
        read_labels(jsonl(tmp_path / "a.jsonl", rows), task=None if "tokens" in rows[0] else "single")


@pytest.mark.parametrize(
    ("name", "message"), [("a.txt", "unknown kind"), ("b.csv", "No such file"), ("c.csv", "empty")]
)
def test_files_that_are_none_are_refused(tmp_path, name, message):
    for made in ("a.txt", "c.csv"):
        (tmp_path / made).write_text("")
    with pytest.raises(ValueError, match=message):
        read_labels(tmp_path / name)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared texts are not beside this checkout")
@pytest.mark.parametrize(
    ("name", "kind", "texts", "label", "rows", "names"),
    [
        ("ko_nsmc/test.tsv", "single", ["document"], "label", 5000, 2),
        ("ko_book/book_category_test.csv", "single", ["text"], "label", 266, 8),
        ("ko_question_pair/test.tsv", "pair", ["question1", "question2"], "is_duplicate", 758, 2),
        ("ko_korsts/test.tsv", "regression", ["sentence1", "sentence2"], "score", 1379, 0),
        ("en_chemprot/dev.jsonl", "single", ["text"], "label", 2427, 12),
        ("en_scicite/dev.jsonl", "single", ["text"], "label", 916, 3),
    ],
)
def test_the_shared_tasks_need_no_options(name, kind, texts, label, rows, names):
    labels = read_labels(SHARED / name)
    assert (labels.kind, labels.columns["text"], labels.columns["label"]) == (kind, texts, label)
    assert (len(labels), len(labels.names)) == (rows, names)
