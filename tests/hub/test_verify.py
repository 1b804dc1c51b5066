"""Verification as a whole: what is sound passes, in a folder and in a repository, and nothing is run unless asked."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch

from electra_rtd.hub_tools import layout, verify_checkpoint
from electra_rtd.hub_tools.findings import CheckpointError, Finding, VerificationReport
from electra_rtd.hub_tools.remote import HubError
from electra_rtd.hub_tools.verify import require_ok


CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
MODELING = "modeling_electra_rtd.py"
NO_CARD = ("no-card", "README.md")


@pytest.mark.parametrize("kind", ["untied", "tied", "gdes", "bfloat16", "sharded"])
def test_a_sound_checkpoint_lacks_nothing_but_a_card(make_model, tokenizer, tmp_path, kind, found):
    model = make_model(embedding_sharing=kind if kind in ("tied", "gdes") else "none")
    model = model.to(torch.bfloat16) if kind == "bfloat16" else model
    model.save_pretrained(tmp_path / "pair", **({"max_shard_size": "20KB"} if kind == "sharded" else {}))
    tokenizer.save_pretrained(tmp_path / "pair")
    assert (tmp_path / "pair" / INDEX).exists() == (kind == "sharded")
    report = verify_checkpoint(tmp_path / "pair")
    assert report.ok and report.errors == []
    assert found(report, "warning") == [NO_CARD]
    code = [("code", name) for name in layout.CODE]
    assert found(report, "info") == code
    assert (report.source, report.commit) == (str(tmp_path / "pair"), None)


def test_a_string_is_a_folder_too_and_what_is_neither_is_refused(saved_pair, tmp_path):
    assert verify_checkpoint(str(saved_pair)).ok
    for nothing in (tmp_path / "nowhere", "./nowhere", "/nowhere", "~/nowhere", "a/b/c", str(saved_pair / CONFIG)):
        with pytest.raises(ValueError, match=r"is no folder\. Give a folder that exists, or a Hub id"):
            verify_checkpoint(nothing)


def test_a_report_counts_its_findings_and_shows_errors_first():
    findings = [
        Finding("info", "i", "b", "third"),
        Finding("warning", "w", "", "second"),
        Finding("error", "z", "b", "first"),
    ]
    report = VerificationReport("pair", findings, "0" * 40)
    lines = str(report).splitlines()
    assert lines[0] == f"pair at {'0' * 40}: not ok (1 errors, 1 warnings, 1 notes)"
    assert [line.split()[0] for line in lines[1:]] == ["error", "warning", "info"]
    assert lines[1].endswith("b: first") and lines[2].endswith("w                       second")
    assert str(VerificationReport("pair", [])) == "pair: ok (0 errors, 0 warnings, 0 notes)"


def test_what_a_checkpoint_says_cannot_draw_on_the_terminal():
    hostile = Finding("error", "weights-unexpected", "a\x1b[2K", "holds \x1b[2J\n  ok \u202etxet")
    assert "\x1b" not in str(hostile) and "\n" not in str(hostile) and "\u202e" not in str(hostile)
    assert r"holds \x1b[2J\n  ok \u202etxet" in str(hostile)
    assert "\x1b" not in str(VerificationReport("\x1b[2J", [hostile]))
    assert "나" in str(Finding("info", "code", "나.py", ""))


def test_an_error_carries_the_report_and_names_the_errors_only(pair_copy):
    report = verify_checkpoint(pair_copy)
    require_ok(report, "not pushed")
    (pair_copy / CONFIG).unlink()
    report = verify_checkpoint(pair_copy)
    with pytest.raises(ValueError) as caught:
        require_ok(report, "This is not pushed:")
    assert isinstance(caught.value, CheckpointError) and caught.value.report is report
    assert str(caught.value).startswith("This is not pushed:\n  error   no-config")
    assert "no-card" not in str(caught.value)


# ----------------------------------------------------------------------------------------------------------- execution


@pytest.fixture
def marker(tmp_path):
    """A file that hostile code makes; it must not be there after a verification."""
    return tmp_path / "executed"


def add_code(folder, line):
    path = folder / MODELING
    text = path.read_text()
    path.write_text(text + f"\n{line}\n")


def test_code_runs_only_where_it_is_asked_for_and_sees_no_token(pair_copy, marker, monkeypatch, found):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("My_Token_2", "hf_secret")
    monkeypatch.setenv("SEEN", "yes")
    add_code(pair_copy, f"import json, os; open({str(marker)!r}, 'w').write(json.dumps(dict(os.environ)))")
    assert verify_checkpoint(pair_copy).ok
    assert not marker.exists()
    report = verify_checkpoint(pair_copy, execute=True)
    assert found(report) == [] and ("execution", "") in found(report, "info")
    environment = json.loads(marker.read_text())
    assert environment["SEEN"] == "yes" and environment["HF_HUB_OFFLINE"] == "1"
    assert "hf_secret" not in environment.values()
    assert [name for name in environment if "TOKEN" in name.upper()] == []
    assert not os.path.exists(environment["HF_HOME"])


def test_code_of_a_checkpoint_with_errors_is_not_run(pair_copy, marker, found, write):
    add_code(pair_copy, f"open({str(marker)!r}, 'w')")
    write(pair_copy / "pytorch_model.bin")
    report = verify_checkpoint(pair_copy, execute=True)
    assert found(report) == [("pickle", "pytorch_model.bin")] and ("not-executed", "") in found(report, "info")
    assert not marker.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
        ("import os; os._exit(0)", "exit status 0"),
        (
            "def eval(self):\n    torch.nn.init.zeros_(self.generator.generator_lm_head.bias)\n"
            "    return self.train(False)\n\nElectraRTDForPreTraining.eval = eval",
            "generator.generator_lm_head.bias is not loaded as it is stored",
        ),
        (
            "ElectraRTDForPreTraining.forward = lambda self, **inputs: ElectraRTDOutput(loss=torch.tensor(torch.nan), "
            "logits=torch.zeros(2, 16))",
            "the loss is nan",
        ),
    ],
)
def test_code_that_fails_or_gives_no_numbers_is_an_error(pair_copy, line, says, found):
    add_code(pair_copy, line)
    report = verify_checkpoint(pair_copy, execute=True)
    assert found(report) == [("execution", "")]
    assert says in report.errors[0].message


def test_code_that_does_not_end_is_an_error(pair_copy, monkeypatch, found):
    monkeypatch.setattr("electra_rtd.hub_tools.checks.execution.SECONDS", 0.1)
    report = verify_checkpoint(pair_copy, execute=True)
    assert found(report) == [("execution", "")] and "within 0.1 seconds" in report.errors[0].message


def test_links_are_executed_as_files(pair_copy, tmp_path, monkeypatch, write):
    """transformers 5.10.1 to 5.12.1 find no second code file beside a link."""
    linked = tmp_path / "linked"
    (linked / "sub").mkdir(parents=True)
    for file in pair_copy.iterdir():
        (linked / file.name).symlink_to(file)
    write(linked / "sub" / "notes.md")
    seen = {}

    def run(command, **options):
        folder = Path(command[-1])
        seen.update({path.relative_to(folder).as_posix(): path.is_symlink() for path in folder.rglob("*.*")})
        raise subprocess.TimeoutExpired(command, 1)

    monkeypatch.setattr(subprocess, "run", run)
    verify_checkpoint(linked, execute=True)
    assert seen[MODELING] is False and "sub/notes.md" in seen and not any(seen.values())


# -------------------------------------------------------------------------------------------------------- repositories


def test_a_sound_repository_is_reported_with_its_commit(hub, repo, found):
    report = verify_checkpoint(repo)
    assert (report.source, report.commit) == (repo, hub.head(repo))
    assert found(report) == [] and found(report, "warning") == [NO_CARD]
    assert str(report).startswith(f"alice/pair at {hub.head(repo)}: ok (0 errors, 1 warnings,")


@pytest.mark.parametrize("kind", ["tree", "resolve", "lfs-download"])
def test_everything_is_of_one_commit_even_if_the_branch_moves_meanwhile(hub, repo, kind, found):
    before = hub.head(repo)
    hub.before(kind, lambda: hub.commit(repo, {CONFIG: b"{}", "pytorch_model.bin": b"x", MODELING: b"import os"}))
    report = verify_checkpoint(repo)
    assert hub.head(repo) != before and report.commit == before
    assert found(report) == [] and found(report, "warning") == [NO_CARD]


def test_a_revision_is_a_branch_or_a_commit(hub, repo, errors):
    sound = hub.head(repo)
    hub.commit(repo, {CONFIG: None})
    assert errors(repo) == [("no-config", CONFIG)]
    assert verify_checkpoint(repo, revision=sound).commit == sound


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("pytorch_model.bin", "pickle"),
        ("optimizer.pt", "pickled-trainer-state"),
        ("tf_model.h5", "other-weights"),
        ("../../escaped", "unsafe-path"),
        ("/tmp/escaped", "unsafe-path"),
        (".git/hooks/post-checkout", "unsafe-path"),
        ("CONFIG.json", "unsafe-path"),
        ("a/./b", "unsafe-path"),
    ],
)
def test_a_pickle_or_an_unsafe_name_is_refused_before_it_is_downloaded(hub, repo, name, code, found):
    hub.commit(repo, {name: b"x"})
    report = verify_checkpoint(repo)
    assert [finding_code for finding_code, _ in found(report)] == [code]
    assert report.commit == hub.head(repo)
    assert hub.downloads() == []


def test_code_of_this_very_repository_by_its_name_is_a_warning_there(
    hub, repo, pair_copy, errors, warnings, edit_json
):
    edit_json(
        pair_copy,
        lambda content: content.update(
            auto_map={name: f"{repo}--{path}" for name, path in content["auto_map"].items()}
        ),
    )
    hub.commit(repo, {CONFIG: (pair_copy / CONFIG).read_bytes()})
    assert warnings(repo) == [NO_CARD, *[("unpinned-auto-map", CONFIG)] * 3]
    assert errors(pair_copy) == [("foreign-auto-map", CONFIG)] * 3


def test_code_in_a_cache_is_not_called_linked(hub, repo, warnings):
    assert "linked-code" not in [code for code, _ in warnings(repo)]


@pytest.mark.parametrize("echo", [False, True])
@pytest.mark.parametrize(
    ("spoil", "mend"),
    [
        (lambda hub: setattr(hub.repos["alice/pair"], "private", True), "check the name, log in with `hf auth login`"),
        (lambda hub: hub.tokens.clear(), "hf auth login"),
    ],
)
def test_a_repository_that_may_not_be_read_is_an_error_that_keeps_the_token(hub, repo, echo, spoil, mend):
    hub.echo_token_in_errors = echo
    bob = hub.add_user("bob")
    spoil(hub)
    with pytest.raises(HubError) as caught:
        verify_checkpoint(repo, token=bob)
    assert isinstance(caught.value, OSError)
    assert mend in str(caught.value) and "alice/pair" in str(caught.value)
    assert bob not in str(caught.value) and caught.value.__cause__ is None and caught.value.__suppress_context__


def test_a_private_repository_is_read_by_its_owner_only(hub, repo):
    hub.repos[repo].private = True
    with pytest.raises(HubError, match="log in with `hf auth login`, or give a token"):
        verify_checkpoint(repo)
    assert verify_checkpoint(repo, token=hub.alice).ok


def test_a_missing_revision_is_an_error(hub, repo):
    with pytest.raises(HubError, match="has no such revision: give a branch, a tag or a full commit hash"):
        verify_checkpoint(repo, revision="nowhere")


@pytest.mark.parametrize("kind", ["lfs-download", "resolve"])
def test_a_flipped_bit_is_noticed_and_downloaded_again(hub, repo, kind, found):
    fault = hub.fault(kind, flip_bit=True)
    report = verify_checkpoint(repo)
    assert fault.hits == 1
    assert found(report) == [] and found(report, "warning") == [NO_CARD]


def test_bits_that_flip_for_ever_are_an_error(hub, repo):
    hub.fault("lfs-download", flip_bit=True, times=None)
    with pytest.raises(HubError, match=r"model.safetensors of alice/pair came damaged twice .* Try again later"):
        verify_checkpoint(repo)
    hub.clear_faults()
    assert verify_checkpoint(repo).ok
