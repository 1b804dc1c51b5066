"""What somebody else made is bounded before it is read, runs nothing, asks nothing, and ends in words."""

import ast
import importlib.util
import itertools
import json
import math
import os
import random
from pathlib import Path

import pytest
import yaml
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.repocard import REGEX_YAML_BLOCK
from transformers import AutoTokenizer

from electra_rtd import cli, modeling_electra_rtd
from electra_rtd.hub_tools import (
    CheckpointError,
    HubError,
    card_text,
    diff_checkpoints,
    export_discriminator,
    layout,
    pull_checkpoint,
    push_checkpoint,
    verify_checkpoint,
)
from electra_rtd.hub_tools import card as card_file
from electra_rtd.hub_tools.checks import metadata as card
from electra_rtd.hub_tools.checks import pickles
from electra_rtd.hub_tools.checks.code import check_code
from electra_rtd.hub_tools.checks.files import check_files, check_names, check_sizes
from electra_rtd.hub_tools.layout import CheckpointFiles
from electra_rtd.hub_tools.remote import Remote
from electra_rtd.pairing_electra_rtd import find_tokenizer
from electra_rtd.train_tools.report import figures, read_run, report_run


specification = importlib.util.spec_from_file_location(
    "made_up_run", Path(__file__).parents[1] / "views" / "made_up_run.py"
)
made_up_run = importlib.util.module_from_spec(specification)
specification.loader.exec_module(made_up_run)

ROOT = Path(modeling_electra_rtd.__file__).parent
REPO = "alice/pair"


def codes(report, *levels):
    return [(finding.code, finding.path) for finding in report.findings if finding.level in (levels or ("error",))]


@pytest.fixture
def repo(hub, saved_pair):
    """A repository with a sound pair."""
    hub.create_repo(REPO)
    hub.commit(REPO, {file.name: file.read_bytes() for file in saved_pair.iterdir()})
    return hub


def downloads(hub):
    return [request for request in hub.requests if "/resolve/" in request.path or "download" in request.kind]


# -------------------------------------------------------------------------------------------------- bounded reading


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[" + "1," * 400_000 + "1]", "about 400,001 values, and at most 262,144 are read"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ('{"a":' * 65 + "1" + "}" * 65, "at most 64"),
        (" " * (layout.LARGEST_CONFIG + 1), "4,194,305 bytes, and at most 4,194,304"),
    ],
)
def test_json_beyond_the_bounds_is_refused(tmp_path, content, says):
    (tmp_path / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=says):
        CheckpointFiles(tmp_path, ["config.json"], "x").read_json("config.json")


def test_json_within_the_bounds_is_read(tmp_path):
    vocabulary = {"model": {"vocab": {f"##{number}": number for number in range(250_000)}}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (tmp_path / "config.json").write_text('{"a":' * 64 + "1" + "}" * 64, encoding="utf-8")
    files = CheckpointFiles(tmp_path, ["tokenizer.json", "config.json"], "x")
    assert files.read_json("tokenizer.json") == vocabulary and "a" in files.read_json("config.json")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(ValueError, match="no file"):
        layout.read_json(tmp_path / "config.json")


def grow(path, size):
    with open(path, "ab") as file:
        file.truncate(size)


@pytest.mark.parametrize(
    "name", ["README.md", "config.json", "discriminator/config.json", "extra.py", "tokenizer.json", "vocab.txt"]
)
def test_a_file_that_is_far_too_large_is_an_error_and_nothing_is_read(pair_copy, name, monkeypatch):
    (pair_copy / name).parent.mkdir(exist_ok=True)
    grow(pair_copy / name, 3 * 2**30)  # sparse: it takes no room
    monkeypatch.setattr(layout, "read_bytes", None)
    monkeypatch.setattr(layout, "sha256", None)
    report = verify_checkpoint(pair_copy)
    assert codes(report) == [("too-large", name)] and "3,221,225,472 bytes" in report.errors[0].message


def test_many_small_files_are_bounded_together():
    sizes = {f"{number}/config.json": layout.LARGEST_CONFIG for number in range(5)}
    (finding,) = check_sizes(sizes)
    assert (finding.code, finding.path) == ("too-large", "") and "20,971,520 bytes" in finding.message
    assert not list(check_sizes({**dict(list(sizes.items())[:4]), "model.safetensors": 10**12, "book.txt": 10**12}))


def test_too_many_files_are_an_error_and_nobody_lists_them_all(pair_copy, monkeypatch):
    monkeypatch.setattr(layout, "MOST_FILES", 20)
    for number in range(50):
        (pair_copy / f"{number}.txt").touch()
    assert len(layout.list_files(pair_copy)) == 21
    monkeypatch.setattr(layout, "read_bytes", None)
    assert codes(verify_checkpoint(pair_copy)) == [("too-large", "")]
    with pytest.raises(CheckpointError, match="too-large"):
        diff_checkpoints(pair_copy, pair_copy)


class NotSearched(list):
    def __contains__(self, name):
        raise AssertionError(f"{name} is looked for in a list, once a file: that takes the square of their number")


def test_no_file_is_looked_for_in_the_list_of_all(pair_copy):
    names = NotSearched(layout.list_files(pair_copy))
    files = CheckpointFiles(pair_copy, names, str(pair_copy))
    found = [*check_names(names), *check_files(files), *check_code(files)]
    assert [finding.code for finding in found] == ["no-card", *["code"] * len(layout.CODE)]


def compare(repo):
    return diff_checkpoints(repo, repo)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        *itertools.product((verify_checkpoint, pull_checkpoint), ("README.md", "config.json", "extra.py")),
        *((compare, name) for name in ("config.json", "extra.py")),  # a comparison reads no README
    ],
)
def test_nothing_of_a_repository_is_downloaded_where_a_file_is_too_large(repo, name, command, monkeypatch):
    repo.commit(REPO, {name: b" " * 50})
    usual = layout.largest
    monkeypatch.setattr(layout, "largest", lambda other: 49 if other == name else usual(other))
    try:
        report = command(REPO)
    except CheckpointError as error:
        report = error.report
    assert ("too-large", name) in codes(report) and not downloads(repo)


def test_nothing_of_a_repository_is_downloaded_where_there_are_too_many_files(repo, saved_pair, monkeypatch):
    monkeypatch.setattr(layout, "MOST_FILES", 3)
    assert codes(verify_checkpoint(REPO)) == [("too-large", "")]
    with pytest.raises(CheckpointError, match="Nothing was downloaded"):
        pull_checkpoint(REPO, verify=False)
    with pytest.raises(ValueError, match="more than 3 files"):
        push_checkpoint(saved_pair, REPO, token=repo.alice)
    assert not downloads(repo)


def test_imports_that_lead_nowhere_are_listed_once_and_not_all(pair_copy):
    lines = [f"from .m{number % 500} import x" for number in range(1000)]
    (pair_copy / "extra.py").write_text("\n".join(lines), encoding="utf-8")
    messages = [finding.message for finding in verify_checkpoint(pair_copy).errors]
    assert len(messages) == 20 and messages[0].startswith("line 1 imports m0.py") and len(set(messages)) == 20


def test_pickles_of_many_files_are_bounded_together(pair_copy, monkeypatch):
    monkeypatch.setattr(pickles, "MOST_PICKLED", 1000)
    import torch

    for number in range(3):
        (pair_copy / f"checkpoint-{number}").mkdir()
        torch.save({"a": "x" * 600}, pair_copy / f"checkpoint-{number}" / "optimizer.pt")
    assert codes(verify_checkpoint(pair_copy)) == [
        ("pickle", "checkpoint-1/optimizer.pt"),
        ("pickle", "checkpoint-2/optimizer.pt"),
    ]


def test_an_archive_with_an_endless_table_of_contents_is_not_opened(tmp_path, monkeypatch):
    import zipfile

    with zipfile.ZipFile(tmp_path / "optimizer.pt", "w") as archive:
        for number in range(100):
            archive.writestr(f"archive/{number}.pkl", b"N.")
    monkeypatch.setattr(pickles, "LARGEST_DIRECTORY", 1000)
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with open(tmp_path / "optimizer.pt", "rb") as file, pytest.raises(zipfile.BadZipFile, match="1000 bytes"):
        pickles.open_archive(file)


# --------------------------------------------------------------------------------------------------------- the card


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ("a: &a {x: 1}\nb: {<<: [*a, *a]}", "merge key"),
        ("a: 1" + ":1" * 100_000, "at most 50,000 are read"),
        ("a: 1" + ":1" * 1000, "number of 2,001 characters"),
        ("a: 0x" + "f" * 4400, "number of 4,402 characters"),
        ("a: !!int '" + "1" * 9000 + "'", "number of 9,000 characters"),
        ("? [a]\n: b", "not YAML"),
        ("license: " + "[" * 900 + "]" * 900, "not YAML"),
    ],
)
def test_metadata_that_would_cost_minutes_are_not_read(tmp_path, metadata, says):
    (tmp_path / "README.md").write_text(f"---\n{metadata}\n---\n", encoding="utf-8")
    (finding,) = card.check_card(CheckpointFiles(tmp_path, ["README.md"], "x"))
    assert (finding.code, finding.level) == ("card-invalid", "warning") and says in finding.message


def test_only_what_is_only_read_may_have_aliases():
    assert card.read_metadata("a: &a [1]\nb: *a", card.MetadataLoader) == {"a": [1], "b": [1]}
    with pytest.raises(ValueError, match="an alias"):
        card.read_metadata("a: &a [1]\nb: *a")
    text = "license: mit\ntags: [a, b]\nsize: 1e5\nwhen: 2020-01-01\nmore:\n- {x: 0x1f}"
    assert card.read_metadata(text) == yaml.safe_load(text)


def test_metadata_are_found_where_the_client_finds_them():
    pieces = ["---", "\n", "\r\n", "\r", " ", "\t", "a: 1", "\n---\n"]
    draw = random.Random(0)
    for _ in range(3000):
        text = "".join(draw.choices(pieces, k=draw.randint(0, 9)))
        theirs = REGEX_YAML_BLOCK.search(text)
        assert card.metadata_block(text) == (theirs and (theirs[2], theirs.end())), repr(text)


def test_marked_sections_are_replaced_all_and_only_whole_ones():
    start, end = "<!-- electra-rtd facts -->", "<!-- end of electra-rtd facts -->"
    text = f"a {start} b {start} c {end} d {start}{end} e {start} f"
    assert card_text.replaced(text, card_file.FACTS, end, "X") == f"a X d X e {start} f"
    assert card_text.section(f"{end} {start}", card_file.FACTS, end) is None


def test_a_large_card_of_a_parent_is_not_downloaded(hub, monkeypatch):
    hub.create_repo("koe/base")
    hub.commit("koe/base", {"README.md": b"---\nlicense: mit\nlanguage: ko\n---\n"})
    assert card_file._card_data("koe/base", None) == {"license": "mit", "language": "ko"}
    monkeypatch.setattr(layout, "LARGEST_TEXT", 10)
    hub.requests.clear()
    assert card_file._card_data("koe/base", None) == {}
    assert {request.method for request in hub.requests} == {"HEAD"}


def test_a_large_card_of_the_repository_stops_a_push(repo, saved_pair, monkeypatch):
    repo.commit(REPO, {"README.md": b"x" * 3000})
    monkeypatch.setattr(layout, "LARGEST_TEXT", 2000)
    with pytest.raises(ValueError, match=r"README.md of alice/pair has 3,000 bytes, and at most 2,000"):
        push_checkpoint(saved_pair, REPO, token=repo.alice)


# ------------------------------------------------------------------------------------------------------------ links


@pytest.mark.parametrize("name", ["README.md", "config.json", "model.safetensors", "vocab.txt", "adapt_results.json"])
def test_a_link_out_of_the_folder_is_not_pushed(pair_copy, hub, tmp_path, name):
    secret = tmp_path / "elsewhere.txt"
    secret.write_bytes((pair_copy / name).read_bytes() if (pair_copy / name).exists() else b"{}")
    (pair_copy / name).unlink(missing_ok=True)
    (pair_copy / name).symlink_to(secret)
    with pytest.raises(ValueError, match=f"{name} is a link that leaves the folder"):
        push_checkpoint(pair_copy, REPO, token=hub.alice)
    assert not hub.requests
    assert ("outside-link", name) in codes(verify_checkpoint(pair_copy), "info")


@pytest.mark.parametrize("kind", ["pipe", "to a folder", "to nowhere"])
def test_what_is_no_file_is_not_pushed(pair_copy, hub, kind):
    path = pair_copy / "README.md"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to(pair_copy if kind == "to a folder" else "nowhere")
    with pytest.raises(ValueError, match=r"README.md cannot be read as a file"):
        push_checkpoint(pair_copy, REPO, token=hub.alice)


def test_links_inside_the_folder_and_of_the_cache_are_pushed(repo, pair_copy, tmp_path):
    snapshot = Path(snapshot_download(REPO, endpoint=repo.url, cache_dir=tmp_path / "cache"))
    assert (snapshot / "config.json").is_symlink()
    assert push_checkpoint(snapshot, "alice/copy", token=repo.alice, export=()) is not None
    (pair_copy / "config.json").rename(pair_copy / "the-config")
    (pair_copy / "config.json").symlink_to("the-config")
    (tmp_path / "linked").symlink_to(pair_copy)
    push_checkpoint(tmp_path / "linked", "alice/other", token=repo.alice, export=())
    assert set(repo.files("alice/other")) == set(repo.files("alice/copy"))


# ------------------------------------------------------------------------------------------------------------- pull


@pytest.mark.parametrize(
    "name",
    ["../x", "/x", "a/../../x", "C:/x", "a\\b", "com¹.txt", "CONIN$", "nul .txt", "x" * 256, "d/" * 600 + "x", "a/é."],
)
def test_names_that_leave_the_folder_or_that_disks_do_not_know_are_refused(name):
    assert [finding.code for finding in check_names(["config.json", name])] == ["unsafe-path"]


def test_long_names_of_accents_are_not_sorted_out():
    assert len(list(check_names(["\u0301\u0323" * 200_000, "a"]))) == 1


def test_a_file_of_another_size_than_the_listing_says_is_not_taken(repo, tmp_path, monkeypatch):
    listed = Remote._list_files

    def lying(self):
        files = listed(self)
        files["config.json"].size -= 1
        return files

    monkeypatch.setattr(Remote, "_list_files", lying)
    with pytest.raises(HubError, match=r"config.json of alice/pair came damaged twice"):
        pull_checkpoint(REPO, local_dir=tmp_path / "here")
    assert not (tmp_path / "here").exists()


@pytest.mark.parametrize("sha", ["../../elsewhere", None, "main"])
def test_a_commit_that_is_none_is_not_taken(repo, sha, monkeypatch):
    asked = HfApi.model_info

    def lying(self, *arguments, **keywords):
        info = asked(self, *arguments, **keywords)
        info.sha = sha
        return info

    monkeypatch.setattr(HfApi, "model_info", lying)
    with pytest.raises(HubError, match="which is no commit"):
        pull_checkpoint(REPO)


# ------------------------------------------------------------------------------------------------- nothing is run


def calls_of(path, names):
    """Calls of functions, by the last two parts of their names, with their keywords."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if any(called == name or called.endswith(f".{name}") for name in names):
                yield called, {keyword.arg: keyword.value for keyword in node.keywords}


def test_every_call_that_could_run_code_says_that_it_must_not():
    autos = [f"Auto{kind}.from_pretrained" for kind in ("Config", "Model", "Tokenizer", "ModelForPreTraining")]
    seen = 0
    for path in [*ROOT.glob("hub_tools/**/*.py"), *ROOT.glob("train_tools/**/*.py"), ROOT / "cli.py"]:
        for called, keywords in calls_of(path, autos):
            seen += 1
            assert ast.unparse(keywords["trust_remote_code"]) == "False", f"{path}: {called}"
        for called, _ in calls_of(path, ["load_dataset"]):  # newer releases run no code, and know no such option
            seen += 1
            assert '{"trust_remote_code": False}' in path.read_text(encoding="utf-8"), f"{path}: {called}"
    assert seen >= 1
    ((_, keywords),) = calls_of(ROOT / "pairing_electra_rtd.py", ["AutoTokenizer.from_pretrained"])
    assert "trust_remote_code" in keywords


@pytest.mark.parametrize(("given", "passed"), [({}, False), ({"trust_remote_code": True}, True)])
def test_a_tokenizer_may_run_code_only_if_the_caller_says_so(saved_pair, given, passed, monkeypatch):
    seen = []
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda source, **keywords: seen.append(keywords))
    find_tokenizer(str(saved_pair), **given)
    assert seen == [{"trust_remote_code": passed}]


@pytest.mark.parametrize("command", ["inspect", "export", "push"])
def test_no_command_asks_whether_to_run_the_code_of_a_tokenizer(pair_copy, command, tmp_path, monkeypatch, capsys):
    path = pair_copy / "tokenizer_config.json"
    fields = json.loads(path.read_text(encoding="utf-8"))
    rows = {"AutoTokenizer": ["evil.Tokenizer", "evil.Tokenizer"]}
    path.write_text(json.dumps({**fields, "tokenizer_class": "Tokenizer", "auto_map": rows}), encoding="utf-8")
    marker = tmp_path / "marker"
    (pair_copy / "evil.py").write_text(f"open({str(marker)!r}, 'w')\nclass Tokenizer: ...\n", encoding="utf-8")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it asked"))
    arguments = {
        "inspect": ["--checkpoint", pair_copy, "text"],
        "export": ["--checkpoint", pair_copy, "--output_dir", tmp_path / "out"],
        "push": [pair_copy, REPO, "--tokenizer", pair_copy, "--dry-run"],
    }
    cli.main([command, *map(str, arguments[command])])
    assert not marker.exists()


def test_an_export_holds_stock_fields_only(pair_copy, tmp_path):
    hostile = {
        "tokenizer_config.json": {
            "auto_map": {"AutoTokenizer": ["evil/repo--x.T", None]},
            "trust_remote_code": True,
            "tokenizer_file": "/etc/passwd",
            "_name_or_path": "/home/somebody",
            "attn_implementation": "evil/kernel",
            "quantization_config": {},
            "chat_template": "{{ evil }}",
        },
        "config.json": {},
    }
    for name, fields in hostile.items():
        content = json.loads((pair_copy / name).read_text(encoding="utf-8"))
        content.update(fields)
        if name == "config.json":
            content["discriminator_config"] |= {
                "auto_map": {"AutoModel": "x.Y"},
                "evil": 1,
                "id2label": {"0": {"auto_map": 1}},
            }
        (pair_copy / name).write_text(json.dumps(content), encoding="utf-8")
    export_discriminator(pair_copy, tmp_path / "out")
    clean = verify_checkpoint(pair_copy)  # what is wrong here ...
    assert {"tokenizer-code", "nested-auto-map", "trust-remote-code"} <= {code for code, _ in codes(clean)}
    written = {path.name: path.read_text("utf-8") for path in (tmp_path / "out").iterdir() if path.suffix == ".json"}
    for word in ("auto_map", "evil", "passwd", "trust", "quantization", "/home/"):  # ... is not there
        assert not [name for name, text in written.items() if word in text], word
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"model.safetensors", *written}


# ------------------------------------------------------------------------------------------------ errors end in words


class PanicException(BaseException):
    """As the tokenizers' Rust raises it: no `Exception`."""


PanicException.__module__ = "pyo3_runtime"


@pytest.mark.parametrize(
    "error",
    [PanicException("gone"), EOFError(), RecursionError("deep"), MemoryError(), KeyError("x"), OverflowError("big")],
)
def test_every_error_ends_in_a_message_and_status_2(error, monkeypatch, capsys):
    def fail(*_):
        raise error

    monkeypatch.setitem(cli.RUN, "diff", fail)
    assert cli.main(["diff"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"electra-rtd diff: error: {type(error).__name__}") and "Traceback" not in shown


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit()])
def test_what_is_no_error_goes_on(error, monkeypatch):
    def fail(*_):
        raise error

    monkeypatch.setitem(cli.RUN, "diff", fail)
    with pytest.raises(type(error)):
        cli.main(["diff"])


STRANGE = [
    None,
    True,
    -1,
    10**400,
    1e308,
    math.nan,
    math.inf,
    "",
    "x" * 5000,
    "\ud800",
    [],
    {},
    [[]],
    {"a": {"b": []}},
]


def places(value, place=()):
    """Every place in a JSON value, as the keys that lead there."""
    yield place
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*place, key))


def with_value(document, place, value):
    copy = json.loads(json.dumps(document))
    *way, last = place
    target = copy
    for key in way:
        target = target[key]
    target[last] = value
    return copy


@pytest.mark.parametrize("name", ["trainer_state.json", "adapt_results.json", "held_out.json", "config.json"])
def test_a_report_of_hostile_files_is_one_or_a_message(tmp_path, name, monkeypatch):
    monkeypatch.setattr(figures, "draw_svg", lambda chart: str(chart))
    folder = made_up_run.write_run(tmp_path / "run", held_out=made_up_run.held_out())
    (folder / "config.json").write_text(json.dumps({"mask_prob": 0.15, "transformers_version": "5"}), encoding="utf-8")
    document = json.loads((folder / name).read_text(encoding="utf-8"))
    all_places = [place for place in places(document) if place]
    draw = random.Random(name)
    for place in draw.sample(all_places, min(40, len(all_places))):
        value = draw.choice(STRANGE)
        (folder / name).write_text(json.dumps(with_value(document, place, value)), encoding="utf-8")
        try:
            assert report_run(folder, lang="en")
        except ValueError as error:
            assert str(folder / name) in str(error), (place, value, error)


@pytest.mark.parametrize("content", ["", "[]", "nul", '{"log_history": 5}', "[" * 100_000, "\ufeff{}"])
def test_a_log_that_is_none_is_refused_by_name(tmp_path, content):
    folder = made_up_run.write_run(tmp_path / "run")
    (folder / "trainer_state.json").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"trainer_state\.json"):
        read_run(folder)


def test_a_hostile_configuration_is_a_finding_or_a_message_in_every_command(pair_copy, saved_pair, tmp_path, capsys):
    original = json.loads((pair_copy / "config.json").read_text(encoding="utf-8"))
    draw = random.Random(7)
    spots = [place for place in places(original) if place]
    for number, place in enumerate(draw.sample(spots, 12)):
        value = draw.choice(STRANGE)
        (pair_copy / "config.json").write_text(json.dumps(with_value(original, place, value)), encoding="utf-8")
        for command in (
            ["verify", pair_copy],
            ["diff", pair_copy, saved_pair],
            ["export", "--checkpoint", pair_copy, "--output_dir", tmp_path / f"out-{number}"],
        ):
            assert cli.main(list(map(str, command))) in (0, 1, 2), (place, value)
    assert "Traceback" not in "".join(capsys.readouterr())


def test_the_bounds_hold_what_people_have():
    """A vocabulary of 250,000 entries, our code files, a card with many results."""
    assert layout.largest("tokenizer.json") >= 40 * 250_000 and layout.largest("a/modeling.py") > 200_000
    assert layout.largest("README.md") > 10 * card.MOST_METADATA
    assert all((ROOT / name).stat().st_size * 4 < layout.LARGEST_CODE for name in layout.CODE)
    assert [layout.largest(name) for name in ("model.safetensors", "corpus.txt")] == [None, None]
    assert not list(check_sizes(dict.fromkeys(layout.CODE, 1)))
