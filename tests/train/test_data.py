"""Text in: which files are read, which column, what is dropped, what is refused; and tokenizing with a cache."""

import gzip
import json

import datasets
import pytest
from datasets import Dataset

from electra_rtd.train_tools.data import read_text, tokenize_text, tokenizer_identity
from electra_rtd.train_tools.text import tokenizing


SENTENCES = ["나는 책을 읽는다.", "오늘은 비가 온다.", "우리는 산에 간다."]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for name in ("HF_DATASETS_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.setattr(datasets.config, name, True, raising=False)


def write(folder, name, sentences=SENTENCES):
    """A file of the kind that its name says."""
    contents = {
        "csv": "text,stars\n" + "".join(f'"{sentence}",3\n' for sentence in sentences),
        "tsv": "text\tstars\n" + "".join(f"{sentence}\t3\n" for sentence in sentences),
        "json": json.dumps([{"text": sentence, "stars": 3} for sentence in sentences]),
        "jsonl": "".join(json.dumps({"text": sentence, "stars": 3}) + "\n" for sentence in sentences),
        "txt": "".join(f"{sentence}\n" for sentence in sentences),
    }
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = name.removesuffix(".gz").split(".")[-1]
    if kind == "parquet":
        Dataset.from_dict({"text": sentences, "stars": [3] * len(sentences)}).to_parquet(path)
        return path
    data = contents[kind].encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


@pytest.mark.parametrize("ending", ["csv", "tsv", "json", "jsonl", "parquet", "txt"])
def test_every_format_gives_the_same_sentences(tmp_path, ending):
    read = read_text(write(tmp_path, f"a.{ending}"))
    assert read.dataset["text"][:] == SENTENCES
    assert read.dataset.column_names == ["text"]
    assert (read.column, read.dropped_rows) == ("text", 0)


@pytest.mark.parametrize("ending", ["csv", "tsv", "json", "jsonl", "txt"])
def test_every_text_format_may_be_compressed(tmp_path, ending):
    assert read_text(write(tmp_path, f"a.{ending}.gz")).dataset["text"][:] == SENTENCES


def test_folders_globs_and_lists_join_files_of_different_kinds(tmp_path):
    write(tmp_path, "corpus/a.csv", SENTENCES[:1])
    write(tmp_path, "corpus/deep/b.txt.gz", SENTENCES[1:2])
    write(tmp_path, "corpus/c.parquet", SENTENCES[2:])
    (tmp_path / "corpus" / "README.md").write_text("not text to train on")
    assert sorted(read_text(tmp_path / "corpus").dataset["text"]) == sorted(SENTENCES)
    assert sorted(read_text(str(tmp_path / "corpus" / "*.*")[:-3] + "*.csv").dataset["text"]) == SENTENCES[:1]
    both = read_text([tmp_path / "corpus" / "a.csv", str(tmp_path / "corpus" / "deep")])
    assert sorted(both.dataset["text"]) == sorted(SENTENCES[:2])
    assert len(both.sources) == 2


def test_a_file_named_twice_is_read_once(tmp_path):
    file = write(tmp_path, "a.txt")
    assert len(read_text([file, tmp_path / "*.txt", tmp_path]).dataset) == 3


def test_empty_rows_are_dropped_and_counted(tmp_path):
    read = read_text(write(tmp_path, "a.jsonl", ["가", "", "  \t", "나"]))
    assert read.dataset["text"][:] == ["가", "나"]
    assert read.dropped_rows == 2


def test_words_that_look_like_no_value_are_text(tmp_path):
    read = read_text(write(tmp_path, "a.csv", ["NA", "null", "None", "nan", "가"]))
    assert read.dataset["text"][:] == ["NA", "null", "None", "nan", "가"]


def test_quotation_marks_in_tsv_are_text(tmp_path):
    (tmp_path / "a.tsv").write_text('id\tdocument\n1\t"최고의 영화\n2\t그냥 "그런" 영화\n', encoding="utf-8")
    assert read_text(tmp_path / "a.tsv").dataset["text"][:] == ['"최고의 영화', '그냥 "그런" 영화']


def test_the_only_string_column_is_the_text(tmp_path):
    (tmp_path / "a.csv").write_text("number,sen\n1,가 나\n", encoding="utf-8")
    assert read_text(tmp_path / "a.csv").column == "sen"


def test_two_string_columns_need_a_name(tmp_path):
    (tmp_path / "a.csv").write_text("sen,source\n가 나,blurb\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"2 columns hold text: sen, source.*`text_column=sen`"):
        read_text(tmp_path / "a.csv")
    assert read_text(tmp_path / "a.csv", text_column="source").dataset["text"][:] == ["blurb"]
    with pytest.raises(ValueError, match=r"no column 'body'.*sen, source"):
        read_text(tmp_path / "a.csv", text_column="body")


@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a.jsonl", "a.tsv"])
def test_a_file_that_is_not_utf8_is_named_with_the_mend(tmp_path, name):
    good = write(tmp_path, f"good-{name}")
    bad = tmp_path / name
    bad.write_bytes(write(tmp_path, f"utf8-{name}").read_text(encoding="utf-8").replace("\\u", "").encode("cp949"))
    if name.endswith("jsonl"):
        bad.write_bytes('{"text": "한국어"}\n'.encode("cp949"))
    with pytest.raises(ValueError, match=r"is not UTF-8.*iconv") as error:
        read_text([good, bad])
    assert str(bad) in str(error.value)


def test_what_cannot_be_read_is_refused_with_its_name(tmp_path):
    (tmp_path / "empty.csv").touch()
    (tmp_path / "header.csv").write_text("text\n")
    (tmp_path / "blank.csv").write_text('text\n" "\n')
    (tmp_path / "broken.json").write_text('{"text": ')
    (tmp_path / "numbers.csv").write_text("a,b\n1,2\n")
    (tmp_path / "picture.png").write_bytes(b"png")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no more")
    (tmp_path / "plain.csv.gz").write_bytes(b"text\nnot packed\n")
    (tmp_path / "nothing").mkdir()
    expected = {
        "empty.csv": "empty",
        "header.csv": "no rows",
        "blank.csv": "no row of the column",
        "broken.json": "could not be read as json",
        "numbers.csv": "no column holds text.*a, b",
        "broken.parquet": "could not be read as parquet",
        "plain.csv.gz": "is not gzip",
        "picture.png": "unknown kind.*\\.csv",
        "nothing": "holds no text file",
        "missing.csv": "No such file",
        "*.xyz": "No file matches",
    }
    for name, message in expected.items():
        with pytest.raises(ValueError, match=message) as error:
            read_text(tmp_path / name)
        assert name in str(error.value)


def test_a_name_that_is_no_file_is_asked_of_the_hub():
    with pytest.raises(ValueError, match="nobody/nothing is no file or folder here, and no dataset"):
        read_text("nobody/nothing")


def test_tokenizing_keeps_ids_alone_and_loses_no_text(tokenizer):
    texts = ["나는 책을 읽는다", "우리 집 책 글 노래 말 길 물 밥 어제 내일 오늘 하루"]
    tokenized = tokenize_text(Dataset.from_dict({"text": texts}), tokenizer, max_length=8)
    assert tokenized.column_names == ["input_ids"]
    sequences = tokenized["input_ids"][:]
    assert max(len(sequence) for sequence in sequences) == 8
    assert all(
        sequence[0] == tokenizer.cls_token_id and sequence[-1] == tokenizer.sep_token_id for sequence in sequences
    )
    inner = [token for sequence in sequences for token in sequence[1:-1]]
    assert inner == [token for text in texts for token in tokenizer(text, add_special_tokens=False)["input_ids"]]


def test_the_cache_is_found_again_whatever_the_tokenizer_did_between(tmp_path, make_tokenizer):
    texts = read_text(write(tmp_path, "a.txt")).dataset
    first = tokenize_text(texts, make_tokenizer(), max_length=16)
    used = make_tokenizer()
    used("나는 책을 읽는다", truncation=True, max_length=4, padding="max_length")
    again = tokenize_text(read_text(tmp_path / "a.txt").dataset, used, max_length=16)
    assert again.cache_files == first.cache_files and first.cache_files
    assert tokenize_text(texts, used, max_length=8).cache_files != first.cache_files
    used.truncation_side = "left"
    assert tokenize_text(texts, used, max_length=16).cache_files != first.cache_files
    used.truncation_side, used.split_special_tokens = "right", True
    assert tokenize_text(texts, used, max_length=16).cache_files != first.cache_files
    other = make_tokenizer(extra_words=["강아지"])
    assert tokenizer_identity(other) != tokenizer_identity(used)
    assert tokenize_text(texts, other, max_length=16).cache_files != first.cache_files


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_ids_are_those_of_the_tokenizer(make_tokenizer, side):
    tokenizer = make_tokenizer()
    tokenizer.truncation_side = side
    texts = ["나 책 [MASK] 비 [SEP] 눈", "", "알 수 없는 말", " ".join(["우리", "집", "책"] * 20)]
    truncation = {"truncation": True, "max_length": 9, "return_overflowing_tokens": True}
    expected = tokenizer(texts, **truncation)["input_ids"]
    assert tokenize_text(Dataset.from_dict({"text": texts}), tokenizer, max_length=9)["input_ids"][:] == expected
    tokenizer.split_special_tokens = True
    literal = tokenizer(texts, split_special_tokens=True, **truncation)["input_ids"]
    assert literal != expected
    assert tokenize_text(Dataset.from_dict({"text": texts}), tokenizer, max_length=9)["input_ids"][:] == literal


def test_few_texts_at_once_give_the_same_ids(tokenizer, monkeypatch):
    texts = Dataset.from_dict({"text": ["나 책", "우리 집 책 글 노래", "", "비 눈", "오늘 하루"]})
    whole = tokenize_text(texts, tokenizer, max_length=8)["input_ids"][:]
    monkeypatch.setattr(tokenizing, "CHARACTERS_AT_ONCE", 6)
    assert list(map(len, tokenizing.few_at_once(texts["text"]))) == [1, 1, 2, 1]
    again = Dataset.from_dict({"text": texts["text"][:]})
    assert tokenize_text(again, tokenizer, max_length=8)["input_ids"][:] == whole


def test_text_seen_before_is_neither_filtered_nor_tokenized_again(tmp_path, tokenizer, monkeypatch):
    file = write(tmp_path, "a.txt")
    first = tokenize_text(read_text(file).dataset, tokenizer, max_length=16)["input_ids"][:]
    monkeypatch.setattr(Dataset, "_map_single", lambda *arguments, **options: pytest.fail("rows were processed"))
    again = tokenize_text(read_text(file).dataset, tokenizer, max_length=16)["input_ids"][:]
    assert again == first
    with pytest.raises(pytest.fail.Exception):
        tokenize_text(read_text(file).dataset, tokenizer, max_length=15)


def test_several_processes_give_the_same_rows(tmp_path, tokenizer):
    texts = read_text(write(tmp_path, "a.txt", SENTENCES * 20), num_proc=2).dataset
    alone = tokenize_text(Dataset.from_dict({"text": texts["text"][:]}), tokenizer, max_length=16)
    assert tokenize_text(texts, tokenizer, max_length=16, num_proc=2)["input_ids"][:] == alone["input_ids"][:]
