"""Text as people have it: odd files give the right rows, or a message that names the file, the line and the way on."""

import codecs
import csv
import gzip
import json
import logging

import datasets
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict
from rich.cells import cell_len

from electra_rtd.train_tools import run_text
from electra_rtd.train_tools.arguments import AdaptArguments
from electra_rtd.train_tools.data import read_text
from electra_rtd.train_tools.inspector import collect_texts
from electra_rtd.train_tools.text import stored


ROWS = ["나는 책을 읽는다.", "오늘은 비가 온다."]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for name in ("HF_DATASETS_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.setattr(datasets.config, name, True, raising=False)


@pytest.fixture
def made(tmp_path):
    """Writes a file: its name, and its content as `str` or `bytes`."""

    def make(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path

    return make


def rows_of(*sources, **options):
    return read_text(list(sources), **options).dataset["text"][:]


def message_of(*sources, **options):
    with pytest.raises(ValueError) as error:
        read_text(list(sources), **options)
    return str(error.value)


# Cells, separators, quotation marks, headers


@pytest.mark.parametrize(
    ("content", "line", "cells"),
    [
        ("text\n앞, 뒤\n", 2, 2),
        ("text\n문장\n\n앞, 가운데, 뒤\n", 4, 3),
        ("id,text\n1,문장\n2,앞, 뒤\n", 3, 3),
        ("text,label\n문장,1\n앞, 뒤,1\n", 3, 3),
        ('text,label\n"두\n줄",1\n앞, 뒤,1\n', 4, 3),
        ("text,label\n문장\n", 2, 1),
    ],
)
def test_a_row_with_other_cells_than_the_header_is_refused_by_its_line(made, content, line, cells):
    message = message_of(made("a.csv", content), text_column="text")
    assert f"a.csv, line {line}: {cells} cells, but the header" in message
    assert "quotation marks" in message


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "text;label\n앞, 뒤;1\n"),
        ("a.csv", "text\tlabel\n앞, 뒤\t1\n"),
        ("a.csv", "text|label\n앞, 뒤|1\n"),
        ("a.csv", '"label; of it";text\n1;"앞, 뒤"\n'),
        ("a.tsv", 'label,text\n1,"앞, 뒤"\n'),
    ],
)
def test_the_separator_is_the_one_that_divides_the_header(made, name, content):
    read = read_text(made(name, content))
    assert (read.column, read.dataset["text"][:]) == ("text", ["앞, 뒤"])
    assert "separated by a" in read.notes[0]


def test_a_usual_separator_is_not_worth_a_note(made):
    assert read_text(made("a.csv", 'text,label\n"앞; 뒤\t끝",1\n')).notes == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('text,label\n"하나,1\n둘,2\n셋,3\n', "line 2: a quotation mark that opens here is never closed"),
        (
            'text,label\n"하나,1\n둘,2\n그는 "셋",3\n',
            "line 4: a quotation mark inside a quoted cell, or one from line 2",
        ),
        ('text,label\n"그는 "네"라고 했다",1\n', "line 2: a quotation mark inside a quoted cell"),
        ('text,label\n"그는 \\"네\\"라고 했다",1\n', "line 2: a quotation mark inside a quoted cell"),
        ("text,label\n앞\r뒤,1\n", "line 2 holds a carriage return"),
    ],
)
def test_a_quotation_mark_that_swallows_rows_is_refused_by_its_line(made, content, message):
    assert f"a.csv, {message}" in message_of(made("a.csv", content))


def test_line_breaks_in_quotation_marks_belong_to_the_row_and_are_counted(made):
    read = read_text(made("a.csv", 'text,label\n"두\n줄",1\n\n"그는 ""네""",2\n그냥 "그런" 영화,3\n'))
    assert read.dataset["text"][:] == ["두\n줄", '그는 "네"', '그냥 "그런" 영화']
    assert "1 rows hold line breaks" in read.notes[0]


def test_line_ends_of_windows_a_mark_and_blank_lines_do_not_matter(made):
    content = "\ufeff\r\ntext,label\r\n\r\n하나,1\r\n둘,2\r\n\r\n"
    assert rows_of(made("a.csv", content)) == ["하나", "둘"]
    assert rows_of(made("b.tsv", content.replace(",", "\t"))) == ["하나", "둘"]
    assert rows_of(made("c.txt", "\ufeff하나\r\n둘")) == ["하나", "둘"]
    assert rows_of(made("d.jsonl", '\ufeff{"text": "하나"}\r\n\r\n{"text": "둘"}\r\n')) == ["하나", "둘"]
    assert rows_of(made("mac.csv", b"text,label\rone,1\rtwo,2\r")) == ["one", "two"]


ODD = ['그는 "네"라고', "탭\t뒤", "두\n줄", '"처음', "평범", '""', ",;|"]


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_what_pandas_writes_is_read_back_as_it_was(tmp_path, name, quoting):
    table = pandas.DataFrame({"id": range(len(ODD)), "text": ODD})
    separator = "\t" if name == "a.tsv" else ","
    table.to_csv(tmp_path / name, sep=separator, index=False, quoting=quoting)
    assert rows_of(tmp_path / name) == ODD
    assert any("marks around cells are taken off" in note for note in read_text(tmp_path / name).notes) == (
        name == "a.tsv"
    )
    table[["text"]].to_csv(tmp_path / f"one-{name}", sep=separator, index=False, quoting=quoting)
    assert rows_of(tmp_path / f"one-{name}") == ODD


def test_quotation_marks_of_a_corpus_with_tabs_stay_text(made):
    cells = ['"최고의 영화', '그냥 "그런" 영화', '"네"', '""', "끝"]
    file = made("a.tsv", "id\tdocument\n" + "".join(f"{number}\t{cell}\n" for number, cell in enumerate(cells)))
    assert (rows_of(file), read_text(file).notes) == (cells, [])
    mixed = ['그냥 "그런" 영화', '"그는 ""네""라고"']  # a writer would have quoted the first too
    assert rows_of(made("c.tsv", "id\tdocument\n" + "".join(f"1\t{cell}\n" for cell in mixed))) == mixed
    assert rows_of(made("b.tsv", 'id\tdocument\n1\t"네"\n')) == ['"네"']  # a writer would not have quoted this


@pytest.mark.parametrize(
    "content",
    [
        "오늘은 비가 온다.\n나는 책을 읽는다.\n",
        "이 영화는 정말 볼 만하고 아름답다\n나는 책을 읽는다\n",
        "1,이 영화 좋다,0\n2,별로다,1\n",
        f"{'가' * 41}\n나\n",
    ],
)
def test_a_first_sentence_is_not_taken_for_a_header_in_silence(made, content):
    file = made("a.csv", content)
    assert "it looks like text" in message_of(file) and ".txt" in message_of(file)
    name = max(content.split("\n")[0].split(","), key=len)
    assert rows_of(file, text_column=name)


def test_a_header_of_two_words_is_named(made):
    read = read_text(made("a.csv", "review text\n좋다\n"))
    assert read.column == "review text" and "'review text'" in read.notes[0]


def test_a_column_that_stands_twice_is_refused(made):
    assert "has 'text' 2 times" in message_of(made("a.csv", "text,text\n가,나\n"))


def test_a_cell_longer_than_the_csv_module_allows_is_read(made):
    long = "가" * 200_000
    assert rows_of(made("a.csv", f'text,n\n"{long}",1\n')) == [long]


# Other columns, and which one is the text


def test_other_columns_do_not_decide_whether_text_loads(made):
    many = 10_050
    changing = "".join(f"{number if number < 10_001 else 'A'},문장,\n" for number in range(many))
    late = "".join(
        f'{{"text": "문장", "memo": {"null" if n < 10_001 else chr(34) + "늦게" + chr(34)}}}\n' for n in range(many)
    )
    other = "".join(f'{{"text": "문장", "id": {n if n < 10_001 else [1]}}}\n' for n in range(many))
    for file in (made("a.csv", f"id,text,memo\n{changing}"), made("b.jsonl", late), made("c.jsonl", other)):
        assert rows_of(file, text_column="text") == ["문장"] * many == rows_of(file)
    assert rows_of(made("d.csv", "text,stars\n가,3\n"), made("e.csv", "date,text\n2020-01-01,나\n")) == ["가", "나"]
    assert rows_of(made("f.csv", "memo,n\n" + ",1\n" * many + "글,2\n"), text_column="memo") == ["글"]
    assert rows_of(made("g.jsonl", '{"n": 1}\n' * 2000 + '{"memo": "글"}\n'), text_column="memo") == ["글"]


def test_a_column_of_numbers_or_of_nothing_is_no_text(made):
    assert "no column holds text. The columns are: n." in message_of(made("a.csv", "n\n1\n"))
    assert "no column holds text. The columns are: a, b." in message_of(made("b.csv", "a,b\n,\n"))
    assert "no row of the column 'a' holds text (1 rows read)" in message_of(made("c.csv", 'a\n" "\n'))
    many = " \n" * 10_050
    assert rows_of(made("d.csv", f"text,n\n{many.replace(' ', ',1')}글,2\n")) == ["글"]


def test_files_whose_text_is_in_different_columns_are_not_joined_in_silence(made):
    message = message_of(made("a.csv", "sen,n\n가,1\n"), made("b.csv", "name,n\n나,1\n"))
    assert "a.csv is in the column 'sen'" in message and "b.csv in 'name'" in message


SQUAD = {"version": "1.1", "data": [{"title": "t", "paragraphs": [{"context": "본문", "qas": []}]}]}


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(SQUAD),
        json.dumps(SQUAD, indent=2),
        json.dumps([{"id": "a", "article": {"body": "본문"}}]),
        '{"id": "a", "sentences": ["본문"]}\n',
        json.dumps({"document": {"0": "본문"}, "name": {"0": "n"}}),  # pandas' to_json
    ],
)
def test_no_column_is_guessed_where_there_are_lists_or_objects(made, content):
    message = message_of(made("a.json", content))
    assert "cannot be guessed" in message and "`text_column=NAME`" in message


def test_text_beside_lists_and_objects_is_read(made):
    assert rows_of(made("a.jsonl", '{"text": "본문", "meta": {"id": "a"}, "tags": ["b"]}\n')) == ["본문"]
    assert rows_of(made("b.jsonl", '{"body": "본문", "tags": ["b"]}\n'), text_column="body") == ["본문"]


def test_a_list_of_texts_gives_a_row_for_each(made, tmp_path):
    lists = [["하나", "둘"], [], ["셋", None]]
    file = made("a.jsonl", "".join(json.dumps({"id": "a", "sentences": one}) + "\n" for one in lists))
    read = read_text(file, text_column="sentences")
    assert (read.dataset["text"][:], read.dropped_rows) == (["하나", "둘", "셋"], 1)
    pq.write_table(pa.table({"id": ["a"] * 3, "sentences": lists}), tmp_path / "a.parquet")
    assert rows_of(tmp_path / "a.parquet", text_column="sentences") == ["하나", "둘", "셋"]
    assert rows_of(made("b.json", '["하나", "둘"]')) == ["하나", "둘"] == rows_of(made("c.jsonl", '"하나"\n"둘"\n'))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"text": 5}', "line 2: 'text' holds a number, not text"),
        ('{"text": true}', "line 2: 'text' holds true or false, not text"),
        ('{"text": ["가", 1]}', "'text' holds objects or lists, not text"),
        ('{"text": {"a": "b"}}', "'text' holds objects or lists, not text"),
        ("5", "line 2 holds a number: a row must be an object"),
        ("null", "line 2 holds null: a row must be an object"),
        ('["가"]', "line 2 holds a list: a row must be an object"),
        ('{"text": "가"', "line 2: Expecting"),
        ('{"text": "가"} x', "line 2: Extra data"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_row_of_json_that_is_no_text_is_refused_by_its_line(made, row, message):
    assert message in message_of(made("a.jsonl", f'{{"text": "첫 줄"}}\n{row}\n'), text_column="text")


@pytest.mark.parametrize(
    "content", ["null", "null\n", 'null\n{"text": "가"}', "[null]", " \n null", "123", "true", "NaN"]
)
def test_a_file_that_begins_with_null_ends_in_a_message_and_no_crash(made, content):
    for name in ("a.json", "a.jsonl"):
        assert "a row must be an object" in message_of(made(name, content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "no rows"),
        ('[{"text": "가"},\n', "line 2: the list has no end"),
        (" \n", "no rows"),
        ('[{"text": "가"}', "a comma or the end of the list is missing"),
        ('[{"text": "가"} {"text": "나"}]', "a comma or the end of the list is missing"),
        ('[{"text": "가"}]\n[]', "there is more behind the list"),
        ('[\n{"text": "가"},\n{"text": "나}]', "line 3: Unterminated string"),
        ('{\n"text": "가",\n"b" 1}', "line 3: Expecting ':'"),
    ],
)
def test_broken_json_is_refused_with_what_is_broken(made, content, message):
    assert message in message_of(made("a.json", content))


def test_json_is_read_however_it_is_laid_out(made):
    rows = [{"text": text, "n": [1, 2]} for text in ["가" * 100_000, "나", ' ],"'] * 3]
    expected = [row["text"] for row in rows]
    layouts = [
        json.dumps(rows),
        json.dumps(rows, indent=1, ensure_ascii=False),
        "".join(json.dumps(row) + "\n" for row in rows),
        "".join(json.dumps(row, indent=2) + "\n" for row in rows),
        "\n \n[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n",
        json.dumps(rows).replace("[1, 2]", "1" * 5000),
    ]
    for number, layout in enumerate(layouts):
        assert rows_of(made(f"{number}.json", layout)) == expected


def test_half_a_character_in_json_becomes_the_replacement_sign(made):
    assert rows_of(made("a.jsonl", '{"text": "\\ud83d 끝"}\n')) == ["? 끝"]


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)
def test_every_kind_of_string_in_parquet_is_text(tmp_path, kind):
    values = pa.array(ROWS).cast(kind) if kind != pa.string_view() else pa.array(ROWS, type=kind)
    pq.write_table(pa.table({"n": pa.array([1, 2]), "body": values}), tmp_path / "a.parquet")
    assert rows_of(tmp_path / "a.parquet") == ROWS
    (tmp_path / "b.parquet.gz").write_bytes(gzip.compress((tmp_path / "a.parquet").read_bytes()))
    assert rows_of(tmp_path / "b.parquet.gz") == ROWS
    assert "'n' holds int64, not text" in message_of(tmp_path / "a.parquet", text_column="n")


def test_what_save_to_disk_wrote_is_read(tmp_path):
    data = Dataset.from_dict({"text": ROWS, "n": [1, 2]})
    data.save_to_disk(tmp_path / "one")
    DatasetDict({"train": data.select([0]), "validation": data.select([1])}).save_to_disk(tmp_path / "two")
    assert rows_of(tmp_path / "one") == ROWS
    assert rows_of(tmp_path / "two") == ROWS[:1]
    assert rows_of(tmp_path / "two", hub_split="validation") == ROWS[1:]
    assert rows_of(tmp_path / "two" / "validation") == ROWS[1:]
    assert "no split 'test', but train, validation" in message_of(tmp_path / "two", hub_split="test")
    assert "save_to_disk" in message_of(tmp_path)
    next((tmp_path / "one").glob("*.arrow")).write_bytes(b"broken")
    assert "could not be read as what `save_to_disk` writes" in message_of(tmp_path / "one")


# Which files


def test_a_path_that_exists_is_no_pattern(made):
    file, beside = made("data[1].csv", "text\n이것\n"), made("data1.csv", "text\n저것\n")
    assert rows_of(file) == ["이것"] and rows_of(beside) == ["저것"]
    starred = made("a*b?.txt", "별\n")
    made("a1b2.txt", "다른\n")
    assert rows_of(starred) == ["별"]
    assert rows_of(made("folder[x]/a.txt", "안\n").parent) == ["안"]
    assert sorted(rows_of(file.parent / "data*.csv")) == ["이것", "저것"]


def test_hidden_files_and_those_of_systems_are_left_out(made):
    folder = made("corpus/a.csv", "text\n글\n").parent
    for name in (".ipynb_checkpoints/a.csv", "._a.csv", "__MACOSX/a.csv", ".git/x.txt", "~$a.csv", "sub/.b.txt"):
        made(f"corpus/{name}", "text\n아님\n")
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini"):
        made(f"corpus/{name}", "x")
    assert rows_of(folder) == ["글"] == rows_of(folder / "*.csv") == rows_of(folder / "**" / "*")
    assert rows_of(folder / "._a.csv") == ["아님"]  # by its name, it is meant
    assert rows_of(made(".hidden/a.txt", "글\n").parent) == ["글"]


def test_a_file_that_is_there_packed_and_unpacked_is_named(made):
    file = made("corpus/a.txt", "글\n")
    made("corpus/a.txt.gz", gzip.compress("글\n".encode()))
    assert read_text(file.parent).notes == [f"{file} and {file}.gz are both read: leave one out."]


def test_a_file_that_is_reached_twice_is_read_once(made, tmp_path):
    file = made("corpus/a.txt", "글\n")
    (tmp_path / "link.txt").symlink_to(file)
    (tmp_path / "folder").symlink_to(file.parent)
    read = read_text(
        [tmp_path / "link.txt", tmp_path / "folder", file, tmp_path / "corpus" / ".." / "corpus" / "a.txt"]
    )
    assert read.dataset["text"][:] == ["글"] and len(read.sources) == 1


def test_no_source_at_all_is_refused():
    assert "no text to read" in message_of()


# Bytes


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.txt", "a.json", "a.jsonl", "a.csv.gz"])
@pytest.mark.parametrize(
    ("mark", "encoding", "named"),
    [
        (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16"),
        (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16"),
        (codecs.BOM_UTF32_LE, "utf-32-le", "UTF-32"),
        (codecs.BOM_UTF32_BE, "utf-32-be", "UTF-32"),
    ],
)
def test_an_encoding_is_named_by_its_mark(made, name, mark, encoding, named):
    content = mark + "text,label\n글,1\n".encode(encoding)
    message = message_of(made(name, gzip.compress(content) if name.endswith(".gz") else content))
    assert f"is {named}, not UTF-8" in message and f"iconv -f {named} -t UTF-8" in message
    assert "CP949" not in message and (not name.endswith(".gz") or ("gzip -dc" in message and "utf8.csv`" in message))


def test_utf16_without_a_mark_is_named_by_its_zeros(made):
    assert "iconv -f UTF-16LE" in message_of(made("a.txt", "plain text\n".encode("utf-16-le")))
    assert "iconv -f UTF-16BE" in message_of(made("b.txt", "plain text\n".encode("utf-16-be")))


def test_cp949_is_advised_only_where_it_decodes(made):
    korean = message_of(made("a.txt", ("ascii\n" * 3 + "한국어 문장입니다\n").encode("cp949")))
    assert "not UTF-8 (line 4)" in korean and "iconv -f CP949" in korean and "한국어 문장" in korean
    for number, content in enumerate(
        (
            "été à Paris, ça va".encode("latin-1"),
            b"ok\n\xff\xfe\xfa",
            "ひらがなのにほんご".encode("euc-jp"),
            "für Müller".encode("cp1252"),
        )
    ):
        message = message_of(made(f"{number}.txt", content))
        assert "CP949" not in message and "file -bi" in message and "is not UTF-8" in message


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.txt", "a.json", "a.jsonl", "a.parquet"])
def test_damaged_gzip_ends_in_a_message_that_names_the_file(made, name):
    noise = "".join(f'{{"text": "{number * 7919 % 10007}"}}\n' for number in range(3000))
    packed = gzip.compress(noise.encode())
    for number, content in enumerate((packed[:-4000], packed[:40], packed[:20] + b"\0" * 50 + packed[70:], b"plain")):
        message = message_of(made(f"{number}-{name}.gz", content), text_column="text")
        assert f"{number}-{name}.gz" in message and ("cut off or damaged" in message or "is not gzip" in message)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "짧다\n" + "가" * 2000 + "\n"),
        ("a.csv", "text,n\n짧다,1\n" + "가" * 2000 + ",2\n"),
        ("a.csv", 'text,n\n짧다,1\n"' + "가\n" * 1000 + '",2\n'),
        ("a.csv", 'text,n\n짧다,1\n"' + "가,1\n" * 1000),
        ("a.tsv", "text\tn\n짧다\t1\n" + "가" * 2000 + "\t2\n"),
        ("a.jsonl", '{"text": "짧다"}\n{"text": "' + "가" * 2000 + '"}\n'),
        ("a.json", '[{"text": "짧다"},\n{"text": "' + "가" * 100_000 + '"}]'),
        ("a.json", '[{"text": "짧다"},\n{"n": [' + "1," * 100_000 + "1]}]"),
    ],
)
def test_a_row_that_is_too_long_is_refused_by_its_line(made, name, content):
    for file in (made(name, content), made(f"{name}.gz", gzip.compress(content.encode()))):
        message = message_of(file, max_row_length=1000, text_column="text" if name != "a.txt" else None)
        assert "longer than 1,000 characters" in message and f"{file}, line" in message


def test_a_row_as_long_as_allowed_is_read(made):
    long = "가" * 995
    assert rows_of(made("a.txt", f"{long}\n짧다\n"), max_row_length=1000) == [long, "짧다"]
    assert rows_of(made("a.csv", f"text,n\n{long},1\n"), max_row_length=1000) == [long]
    assert rows_of(made("a.json", json.dumps([{"text": long}] * 3)), max_row_length=1000) == [long] * 3


def test_a_row_that_is_too_long_in_parquet_is_refused(tmp_path):
    pq.write_table(pa.table({"text": ["짧다", "가" * 2000]}), tmp_path / "a.parquet")
    assert "a.parquet, row 2: this text is longer than 1,000" in message_of(
        tmp_path / "a.parquet", max_row_length=1000
    )


def test_lines_are_those_that_an_editor_shows(made):
    content = "하나\u2028둘\u0085셋\x0b넷\x0c다섯\x1c여섯\n일곱\r여덟\r\n\n"
    read = read_text(made("a.txt", content))
    assert read.dataset["text"][:] == ["하나\u2028둘\u0085셋\x0b넷\x0c다섯\x1c여섯", "일곱\r여덟"]
    assert len(read.dataset) + read.dropped_rows == content.count("\n")
    assert rows_of(made("b.txt", "하나\r둘\r")) == ["하나", "둘"]  # old Macintosh: no line feed at all
    assert rows_of(made("c.csv", "text,n\n하나\u2028둘\u0085셋,1\n")) == ["하나\u2028둘\u0085셋"]
    assert rows_of(made("d.jsonl", '{"text": "하나\u2028둘\u0085셋"}\n')) == ["하나\u2028둘\u0085셋"]


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.tsv"])
def test_a_nul_byte_is_refused_by_its_line(made, name):
    message = message_of(made(name, "text\n글\n가\0나\n"))
    assert f"{name}, line 3 holds a NUL byte" in message and "tr -d" in message


@pytest.mark.parametrize(
    ("content", "kind"),
    [(gzip.compress(b"text\na\n"), r"add .gz"), (b"PK\x03\x04xxxx", "spreadsheet"), (b"PAR1", "parquet")],
    ids=["gzip", "spreadsheet", "parquet"],
)
def test_another_kind_of_file_under_the_name_of_text_is_named(made, content, kind):
    assert kind in message_of(made("a.csv", content))


# The Hub


def test_a_hub_dataset_of_several_configurations_has_an_option_for_its_name(monkeypatch):
    asked = []

    def load(name, config, **options):
        asked.append((name, config, options["split"]))
        if config is None:
            raise ValueError("Config name is missing.\nPlease pick one among the available configs: ['ko', 'en']")
        return Dataset.from_dict({"text": ROWS})

    monkeypatch.setattr(stored, "load_dataset", load)
    message = message_of("somebody/texts")
    assert "['ko', 'en']" in message and "`dataset_config_name=NAME`" in message
    assert rows_of("somebody/texts", hub_config="ko") == ROWS
    arguments = AdaptArguments(checkpoint="c", train_file=["somebody/texts"], dataset_config_name="ko")
    run_text.read_texts(arguments, seed=0)
    assert collect_texts([], ["somebody/texts"], hub_config="ko") == (ROWS, 0)
    assert asked[1:] == [("somebody/texts", "ko", "train")] * 3


def test_a_configuration_of_files_alone_is_refused_before_they_are_read(made, monkeypatch):
    arguments = AdaptArguments(checkpoint="c", train_file=[str(made("a.txt", "글\n말\n"))], dataset_config_name="ko")
    with monkeypatch.context() as patched:
        patched.setattr(run_text, "read_text", lambda *_, **__: pytest.fail("was read"))
        with pytest.raises(ValueError, match="`dataset_config_name` is ko, but no Hub dataset is read"):
            run_text.read_texts(arguments, seed=0)
    monkeypatch.setattr(stored, "load_dataset", lambda name, config, **options: Dataset.from_dict({"text": [config]}))
    arguments.validation_file = ["somebody/texts"]
    assert run_text.read_texts(arguments, seed=0)[1]["text"][:] == ["ko"]


# What adapt and inspect show


def shown_by_adapt(caplog, **arguments):
    caplog.set_level(logging.INFO, logger="electra_rtd")
    run_text.read_texts(AdaptArguments(checkpoint="c", **arguments), seed=0)
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("text", ["가" * 500, "a" * 500, "가나다 " * 100, "짧다", "두\n줄\x1b[31m"])
def test_adapt_shows_one_example_row_within_a_hundred_columns(tmp_path, caplog, text):
    pq.write_table(pa.table({"text": [text, "둘"]}), tmp_path / "a.parquet")
    (line,) = [
        line for line in shown_by_adapt(caplog, train_file=[str(tmp_path / "a.parquet")]) if "An example" in line
    ]
    assert cell_len(line) <= 100 and line.isprintable()
    assert " ".join(text.split())[:20].replace("\x1b", "\ufffd").rstrip() in line


def test_adapt_says_how_cells_were_separated_and_what_is_trained_on(made, caplog):
    lines = shown_by_adapt(caplog, train_file=[str(made("a.csv", "text;label\n하나, 둘;1\n셋;2\n"))])
    assert any("separated by a semicolon" in line for line in lines)
    assert any('"하나, 둘"' in line for line in lines)


def test_adapt_warns_of_held_out_files_that_are_trained_on(made, caplog):
    folder = made("corpus/a.txt", "글\n말\n").parent
    dev = str(made("corpus/dev.txt", "책\n"))
    lines = shown_by_adapt(caplog, train_file=[str(folder)], validation_file=[dev])
    assert any(f"`validation_file` {dev} is part of `train_file`" in line for line in lines)
    caplog.clear()
    apart = str(made("dev.txt", "책\n"))
    assert not any("is part of" in line for line in shown_by_adapt(caplog, train_file=[dev], validation_file=[apart]))


def test_a_changed_file_is_read_anew_and_an_unchanged_one_is_not_opened(made, monkeypatch):
    file = made("a.csv", "text,n\n하나,1\n")
    assert rows_of(file) == ["하나"]
    with monkeypatch.context() as patched:
        patched.setattr("electra_rtd.train_tools.data.read_delimited", lambda *arguments: pytest.fail("was read"))
        assert rows_of(file) == ["하나"]
    made("a.csv", "text,n\n둘,1\n셋,1\n")
    assert rows_of(file) == ["둘", "셋"]
    assert not any(path.name.count(".") for path in (file.parent / "cache" / "electra_rtd_text").iterdir())


def test_what_was_refused_leaves_nothing_in_the_cache(made):
    message_of(made("a.csv", "text,n\n하나,1\n앞, 뒤,1\n"))
    assert list((made("x", "").parent / "cache" / "electra_rtd_text").iterdir()) == []
