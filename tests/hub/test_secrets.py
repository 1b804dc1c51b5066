"""No file that is checked or published holds an access token, and no message shows one."""

import gzip
import io
import json
import logging
import struct
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from transformers import TrainingArguments

from electra_rtd import cli
from electra_rtd.hub_tools import CheckpointError, push_checkpoint, verify_checkpoint
from electra_rtd.hub_tools.checks import leaks as check
from electra_rtd.hub_tools.findings import ERROR, Finding
from electra_rtd.hub_tools.secrets import find_secret, without_tokens


TOKEN = "hf_" + "aB3dE6gH9j" * 3 + "kLmN"
ODD_TOKEN = "of-no-known-shape-17"


def found(folder):
    """Files of a folder in which a secret was found; the report shows none."""
    report = verify_checkpoint(folder)
    assert TOKEN not in str(report) and ODD_TOKEN not in str(report)
    return [finding.path for finding in report.errors if finding.code == "secret"]


# ------------------------------------------------------------------------------------------------------- in bytes


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (TOKEN, "Hugging Face"),
        ("hf_abcdefghijklmnopqrstuvwxyz", "Hugging Face"),
        ("hf_oauth_eyJhbGciOi.eyJz_-x.c2ln", "Hugging Face"),
        ("api_org_" + "aB3" * 11, "Hugging Face"),
        ("ghp_" + "aB3" * 12, "GitHub"),
        ("AKIA" + "Z7" * 8, "AWS"),
        ("sk-proj-" + "aB3" * 16, "sk-"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "private key"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-16"])
def test_a_secret_is_found_in_every_encoding_and_not_shown(text, kind, encoding):
    said = find_secret(f"login(token='{text}')\n".encode(encoding))
    assert kind in said and text[8:] not in said


@pytest.mark.parametrize(
    "text",
    [
        "hf_hub_download and hf_xet",
        "token = hf_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "half_abcdefghijklmnopqrstuvwxyz",
        "task-abcdefghijklmnopqrstuvwxyzabcdefghijklmnop",
        "AKIA, 한국어 AKIAABC",
        "0123456789abcdef0123456789abcdef01234567",
    ],
)
def test_what_only_looks_like_a_secret_is_none(text):
    assert find_secret(text.encode()) == ""


def test_a_token_behind_a_letter_that_is_its_length_is_found():
    assert find_secret(b"\n\x08a" + TOKEN.encode())


# ------------------------------------------------------------------------------------------------------- in files


def torch_bytes(value, deflated=False):
    written = io.BytesIO()
    torch.save(value, written)
    if not deflated:
        return written.getvalue()
    packed = io.BytesIO()
    with zipfile.ZipFile(written) as stored, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in stored.infolist():
            archive.writestr(entry.filename, stored.read(entry))
    return packed.getvalue()


def event(text):
    """A record of TensorBoard: length, its check, an event with the text, its check."""
    body = b"\x12" + bytes([len(text) + 2]) + b"\x0a" + bytes([len(text)]) + text.encode()
    return struct.pack("<QI", len(body), 0) + body + struct.pack("<I", 0)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("README.md", f"---\nlicense: mit\n---\nLoad it with {TOKEN}.\n".encode()),
        ("notes/login.py", f'login("{TOKEN}")\n'.encode()),
        (".env", f"HF_TOKEN={TOKEN}\n".encode()),
        ("adapt_results.json", json.dumps({"settings": {"hub_token": TOKEN}}).encode()),
        ("runs/events.out.tfevents.1.host.1.0", event(f"hub_token: {TOKEN}")),
        ("notes.txt", f"{TOKEN}\n".encode("utf-16")),
        ("log.txt", b"x" * (check.PART - 20) + b" " + TOKEN.encode()),
        ("log.txt.gz", gzip.compress(b"x" * 3 * check.PART + b" " + TOKEN.encode())),
        ("code.zip", torch_bytes({"a": TOKEN}, deflated=True)),
        ("weights.txt", torch_bytes({"a": TOKEN})[:-30]),
    ],
)
def test_a_token_in_any_file_is_an_error(pair_copy, name, content):
    (pair_copy / name).parent.mkdir(exist_ok=True)
    (pair_copy / name).write_bytes(content)
    assert found(pair_copy) == [name]


@pytest.mark.parametrize("deflated", [False, True])
def test_the_token_that_a_trainer_saves_is_found(pair_copy, deflated):
    arguments = TrainingArguments("out", hub_token=TOKEN, use_cpu=True, report_to=[])
    (pair_copy / "training_args.bin").write_bytes(torch_bytes(arguments, deflated))
    assert found(pair_copy) == ["training_args.bin"]
    (finding,) = (one for one in verify_checkpoint(pair_copy).errors if one.code == "secret")
    assert "Delete the file" in finding.message and "revoke the token" in finding.message
    arguments.hub_token = None
    (pair_copy / "training_args.bin").write_bytes(torch_bytes(arguments, deflated))
    assert found(pair_copy) == []


def test_a_token_in_the_head_of_weights_is_found(pair_copy):
    save_file({"a": torch.zeros(1)}, pair_copy / "other.safetensors", {"format": "pt", "made_with": TOKEN})
    assert found(pair_copy) == ["other.safetensors"]


def test_the_saved_token_is_found_whatever_it_looks_like(pair_copy, monkeypatch):
    (pair_copy / "notes.txt").write_text(f"{ODD_TOKEN}\n", encoding="utf-8")
    monkeypatch.setenv("HF_TOKEN", "another-token")
    assert found(pair_copy) == []
    monkeypatch.setenv("HF_TOKEN", ODD_TOKEN)
    assert found(pair_copy) == ["notes.txt"]


def test_numbers_of_a_state_are_not_searched_and_much_else_is_said(pair_copy, monkeypatch):
    monkeypatch.setattr(check, "MOST_SEARCHED", 200_000)
    (pair_copy / "zz.pt.zip").write_bytes(torch_bytes({"a": torch.zeros(100_000)}))
    codes = [finding.code for finding in verify_checkpoint(pair_copy).findings]
    assert "not-searched" not in codes
    (pair_copy / "zz.zip").write_bytes(torch_bytes({"a": "x" * 300_000}, deflated=True))
    (finding,) = (one for one in verify_checkpoint(pair_copy).findings if one.code == "not-searched")
    assert (finding.level, finding.path) == ("warning", "zz.zip")


# ------------------------------------------------------------------------------------------------------------ push


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("training_args.bin", torch_bytes({"hub_token": TOKEN})),
        ("README.md", TOKEN.encode()),
        ("adapt_results.json", json.dumps({"settings": {"hub_token": TOKEN}}).encode()),
        ("tokenizer_config.json", None),
    ],
)
def test_nothing_is_pushed_from_a_folder_with_a_token(pair_copy, hub, name, content):
    if content is None:
        fields = json.loads((pair_copy / name).read_text(encoding="utf-8"))
        content = json.dumps({**fields, "token": TOKEN}).encode()
    (pair_copy / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=name) as error:
        push_checkpoint(pair_copy, "alice/pair", token=hub.alice)
    assert [finding.code for finding in error.value.report.errors] == ["secret"] and TOKEN not in str(error.value)
    assert not hub.requests


def test_the_token_that_is_given_is_not_published_as_a_tag_or_a_message(saved_pair, hub):
    with pytest.raises(CheckpointError, match=r"README.md: holds .* given here"):
        push_checkpoint(saved_pair, "alice/pair", token=hub.alice, tags=[f"by-{hub.alice}"], dry_run=True)
    with pytest.raises(ValueError, match="`commit_message` holds an access token"):
        push_checkpoint(saved_pair, "alice/pair", token=hub.alice, commit_message=f"by {hub.alice}")
    assert "alice/pair" not in hub.repos


# -------------------------------------------------------------------------------------------------------- messages


def test_tokens_are_blotted_out_of_texts(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", ODD_TOKEN)
    text = f"{TOKEN}, Bearer x.y-z {ODD_TOKEN} and given-here; not hf_hub_url"
    assert without_tokens(text, "given-here") == "<token>, Bearer <token> <token> and <token>; not hf_hub_url"


def test_a_finding_is_short_and_shows_no_token():
    message = Finding(ERROR, "x", "y", f"https://u:{TOKEN}@host " + "z" * 10_000).message
    assert TOKEN not in message and len(message) < 1100


@pytest.mark.parametrize("status", [401, 403, 500])
@pytest.mark.parametrize("command", ["inspect", "export"])
def test_no_command_prints_the_token_that_a_server_repeats(command, status, hub, tmp_path, monkeypatch, capfd):
    hub.create_repo("alice/pair")
    hub.tokens[ODD_TOKEN] = hub.tokens[hub.alice]
    hub.echo_token_in_errors = True
    hub.fault("alice/pair", status=status, times=None)
    monkeypatch.setenv("HF_TOKEN", ODD_TOKEN)
    arguments = {
        "inspect": ["--checkpoint", "alice/pair", "text", "--token", ODD_TOKEN],
        "export": ["--checkpoint", "alice/pair", "--output_dir", str(tmp_path / "out")],
    }
    assert cli.main([command, *arguments[command]]) == 2
    shown = "".join(capfd.readouterr())
    assert f"electra-rtd {command}: error: alice/pair" in shown and ODD_TOKEN not in shown


@pytest.mark.parametrize("spelling", [["--hub-token", "given-here"], ["--push_to_hub_token=given-here"]])
def test_no_error_prints_the_token_of_the_command_line(spelling, monkeypatch, capsys):
    def fail(*_, **__):
        raise RuntimeError("the server says: Authorization: given-here")

    monkeypatch.setitem(cli.RUN, "adapt", fail)
    assert cli.main(["adapt", *spelling]) == 2
    shown = capsys.readouterr().err
    assert "Authorization: <token>" in shown and "given-here" not in shown


def test_a_traceback_that_was_wished_for_shows_no_token(monkeypatch, capsys):
    def fail(*_, **__):
        raise RuntimeError(f"Authorization: {TOKEN}") from ValueError("given-here")

    monkeypatch.setitem(cli.RUN, "adapt", fail)
    monkeypatch.setenv("ELECTRA_RTD_TRACEBACK", "1")
    assert cli.main(["adapt", "--hub-token", "given-here"]) == 2
    shown = capsys.readouterr().err
    assert "RuntimeError: Authorization: <token>" in shown and "in fail" in shown
    assert TOKEN not in shown and "given-here" not in shown.replace("argv", "")


def test_no_log_of_ours_shows_a_token(monkeypatch, caplog):
    def warn(*_):
        logging.getLogger("electra_rtd.x").warning("%s %d", TOKEN, 7)
        logging.getLogger("electra_rtd.x").warning("does not fit", 1)

    monkeypatch.setitem(cli.RUN, "diff", warn)
    monkeypatch.setattr(logging, "raiseExceptions", False)
    assert cli.main(["diff"]) == 0
    assert [record.msg for record in caplog.records] == ["<token> 7", "does not fit"]
