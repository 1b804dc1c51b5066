"""`electra-rtd verify`, `push`, `pull` and `diff` as typed: exit statuses, what is printed, and no token in it."""

import inspect
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from huggingface_hub import constants

from electra_rtd import cli
from electra_rtd.hub_tools import layout, pinned_line, push_checkpoint


COMMANDS = ("verify", "push", "pull", "diff")


@pytest.fixture
def run(hub, capsys, caplog):
    """A command line in this process: exit status, standard output, everything on standard error and in the log."""

    def run(*arguments, token=None):
        caplog.clear()
        given = [*map(str, arguments), *(["--token", token] if token else [])]
        status = cli.main(given)
        captured = capsys.readouterr()
        shown = captured.err + caplog.text
        assert not any(secret in captured.out + shown for secret in hub.tokens)
        assert "Traceback" not in shown
        return status, captured.out, shown

    return run


@pytest.fixture
def broken(pair_copy):
    """A folder with an error."""
    (pair_copy / "model.bin").write_bytes(b"a pickle")
    return pair_copy


def where_and_how(hub, repo_id):
    """What a push prints: the address of its commit, and the line that loads it."""
    commit = hub.head(repo_id)
    return f"{hub.url}/{repo_id}/commit/{commit}\n{pinned_line(repo_id, commit)}\n"


def strictly(text):
    """JSON as other programs read it, which know no NaN."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


# ---- verify ----


def test_verify_prints_the_report_and_says_by_its_status_whether_it_is_ok(run, saved_pair, broken):
    status, out, _ = run("verify", saved_pair)
    assert status == 0 and out.startswith(f"{saved_pair}: ok (0 errors, ")
    status, out, _ = run("verify", broken)
    assert status == 1 and out.startswith(f"{broken}: not ok (1 errors, ")
    assert re.search(r"^  error +pickle +model\.bin: ", out, flags=re.MULTILINE)


@pytest.mark.parametrize("is_broken", [False, True])
def test_verify_as_json(is_broken, run, saved_pair, broken):
    folder = broken if is_broken else saved_pair
    status, out, _ = run("verify", folder, "--json")
    report = strictly(out)
    assert (status, report["ok"]) == ((1, False) if is_broken else (0, True))
    assert report["source"] == str(folder) and report["commit"] is None
    codes = [finding["code"] for finding in report["findings"] if finding["level"] == "error"]
    assert codes == (["pickle"] if is_broken else [])
    assert set(report["findings"][0]) == {"level", "code", "path", "message"}


def test_verify_of_a_repository_names_its_commit_and_takes_a_revision(run, hub, planted):
    hub.commit("alice/pair", {"model.bin": b"a pickle"})
    status, out, _ = run("verify", "alice/pair", "--json", token=hub.alice)
    assert status == 1 and strictly(out)["commit"] == hub.head("alice/pair")
    status, out, _ = run("verify", "alice/pair", "--revision", planted, "--json")
    assert status == 0 and strictly(out)["commit"] == planted


@pytest.mark.parametrize("option", ["--allow_code_from", "--allow-code-from"])
def test_code_from_elsewhere_is_allowed_by_name(option, run, pair_copy):
    config = json.loads((pair_copy / layout.CONFIG).read_text(encoding="utf-8"))
    config["auto_map"] = {name: f"koe/code--{row}" for name, row in config["auto_map"].items()}
    (pair_copy / layout.CONFIG).write_text(json.dumps(config), encoding="utf-8")
    assert run("verify", pair_copy)[0] == 1
    assert run("verify", pair_copy, option, "bob/x", "koe/code")[0] == 0


# ---- push ----


@pytest.mark.parametrize("option", ["--dry_run", "--dry-run"])
def test_a_dry_run_prints_the_plan_and_sends_nothing(option, run, hub, saved_pair):
    status, out, _ = run("push", saved_pair, "alice/pair", option, token=hub.alice)
    lines = out.splitlines()
    visibility = r"public, unless its owner's default is private"
    pattern = (
        rf"alice/pair \({visibility}\), main, after a new repository|alice/pair \({visibility}\), main, a new rep"
    )
    assert status == 0 and re.match(pattern, lines[0]) and lines[0].endswith(" bytes to send")
    plan = {line.split()[2]: line.split()[0] for line in lines[1:]}
    assert set(plan.values()) == {"new"}
    assert {layout.CARD, layout.CONFIG, *layout.CODE, "discriminator/model.safetensors"} <= plan.keys()
    assert {request.method for request in hub.requests} <= {"GET", "HEAD"} and "alice/pair" not in hub.repos


def test_a_push_prints_where_it_is(run, hub, saved_pair):
    status, out, _ = run("push", saved_pair, "alice/pair", "--commit-message", "Hello", token=hub.alice)
    assert (status, out) == (0, where_and_how(hub, "alice/pair"))
    assert hub.commits("alice/pair")[0].message == "Hello"
    again = run("push", saved_pair, "alice/pair", token=hub.alice)
    assert again[:2] == (0, out) and "nothing was sent" in again[2]
    tagged = ("push", saved_pair, "alice/pair", "--create-pr", "--tags", "ko", "small")
    assert run(*tagged, token=hub.alice)[:2] == (0, f"{hub.url}/alice/pair/discussions/1\n")
    assert b"- ko\n- small\n" in hub.files("alice/pair", "refs/pr/1")[layout.CARD]


@pytest.mark.parametrize(
    ("options", "given"),
    [
        ([], {}),
        (["--private"], {"private": True}),
        (["--public"], {"private": False}),
        (["--export"], {"export": []}),
        (["--export", "generator", "discriminator"], {"export": ["generator", "discriminator"]}),
        (["--revision", "next", "--create-pr"], {"revision": "next", "create_pr": True}),
        (["--commit_message", "Hello", "--tags", "ko", "small"], {"commit_message": "Hello", "tags": ["ko", "small"]}),
        (["--tokenizer", "there"], {"tokenizer": "there"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_options_of_a_push_are_the_librarys(options, given, run, monkeypatch):
    asked = []
    monkeypatch.setattr(cli, "push_checkpoint", lambda *source, **keywords: asked.append((source, keywords)))
    assert run("push", "folder", "alice/pair", *options)[0] == 0
    [(source, keywords)] = asked
    assert source == ("folder", "alice/pair")
    usual = {name: parameter.default for name, parameter in inspect.signature(push_checkpoint).parameters.items()}
    assert keywords == {**{name: usual[name] for name in keywords}, "export": ["discriminator"], **given}


# ---- pull ----


def test_a_pull_prints_the_folder_and_the_pinned_line(run, hub, planted, tmp_path):
    status, out, _ = run("pull", "alice/pair", "--local-dir", tmp_path / "here", token=hub.alice)
    assert (status, out) == (0, f"{tmp_path / 'here'}\n{pinned_line('alice/pair', planted)}\n")
    assert pinned_line("alice/pair", planted) == (
        f'AutoModel.from_pretrained("alice/pair", revision="{planted}", code_revision="{planted}", '
        "trust_remote_code=True)"
    )
    assert json.loads((tmp_path / "here" / layout.LOCK).read_text())["commit"] == planted


def test_a_pull_takes_a_revision(run, hub, planted, tmp_path):
    hub.commit("alice/pair", {"more.txt": b"later"})
    status, out, _ = run("pull", "alice/pair", "--revision", planted, "--local_dir", tmp_path / "here")
    assert status == 0 and planted in out and not (tmp_path / "here" / "more.txt").exists()


@pytest.mark.parametrize("form", ["local_dir", "lock_file", "lock_file and local_dir", "repo", "repo and local_dir"])
def test_locked_takes_the_commit_of_the_lock_in_every_form(form, run, hub, planted, tmp_path):
    here = tmp_path / "here"
    without_folder = form == "repo"
    first = run("pull", "alice/pair", *([] if without_folder else ["--local_dir", here]))[1]
    hub.commit("alice/pair", {"more.txt": b"later"})
    lock = os.path.join(constants.HF_HOME, "electra_rtd", "alice--pair") if without_folder else here
    shutil.copy(os.path.join(lock, layout.LOCK), tmp_path / "kept.json")
    options = {
        "local_dir": ["--local-dir", here],
        "lock_file": ["--lock-file", tmp_path / "kept.json"],
        "lock_file and local_dir": ["--lock_file", tmp_path / "kept.json", "--local_dir", tmp_path / "there"],
        "repo": ["alice/pair"],
        "repo and local_dir": ["alice/pair", "--local_dir", here],
    }
    status, out, _ = run("pull", "--locked", *options[form])
    folder, line = out.splitlines()
    assert status == 0 and line == pinned_line("alice/pair", planted)
    assert os.path.isfile(f"{folder}/{layout.CONFIG}") and not os.path.exists(f"{folder}/more.txt")
    if "local_dir" in form:
        assert folder == str(tmp_path / ("there" if "lock_file" in form else "here"))
    if form == "repo":
        assert out == first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bob/other", "--locked", "--local_dir", "here"], r"here is about alice/pair, not about bob/other"),
        (["alice/never", "--locked"], r"is not there: `electra-rtd pull` without --locked writes it"),
        (["--locked"], r"--locked needs --lock_file, --local_dir, or the repository"),
        (["--locked", "--local_dir", "here", "--revision", "main"], r"leave --revision out"),
        (["--lock_file", "here"], r"Give a repository, user/name; or --locked"),
        (["alice/pair", "--lock_file", "here"], r"Give a repository, user/name; or --locked"),
        ([], r"Give a repository, user/name; or --locked"),
        (["bob/absent"], r"is not there, or is private"),
    ],
)
def test_a_pull_that_cannot_be_has_status_2(arguments, message, run, planted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    lock = {"repo": "alice/pair", "commit": planted, "files": {}}
    (tmp_path / "here" / layout.LOCK).write_text(json.dumps(lock), encoding="utf-8")
    status, out, shown = run("pull", *arguments)
    assert (status, out) == (2, "")
    assert re.search(rf"^electra-rtd pull: error: .*{message}", shown, flags=re.MULTILINE)


@pytest.mark.parametrize("option", ["--no_verify", "--no-verify"])
def test_a_checkpoint_with_errors_has_status_1_unless_nobody_looks(option, run, hub, planted, tmp_path):
    hub.commit("alice/pair", {layout.CONFIG: b"{}"})
    status, out, shown = run("pull", "alice/pair", "--local_dir", tmp_path / "here")
    assert (status, out) == (1, "") and "is not taken:" in shown and "not-a-pair" in shown
    assert not (tmp_path / "here").exists()
    assert run("pull", "alice/pair", "--local_dir", tmp_path / "here", option)[0] == 0


# ---- diff ----


def test_diff_says_by_its_status_whether_something_differs(run, hub, planted, saved_pair, pair_copy):
    status, out, _ = run("diff", saved_pair, f"alice/pair@{planted}", token=hub.alice)
    assert status == 0 and f"b: alice/pair@{planted}\nconfig: the same\n" in out
    (pair_copy / layout.CODE[0]).write_bytes(b"")
    status, out, _ = run("diff", saved_pair, pair_copy)
    assert status == 1 and f"\ncode:\n  {layout.CODE[0]}: " in out


def test_diff_of_what_cannot_be_compared_is_no_difference(run, saved_pair, pair_copy):
    (pair_copy / "model.safetensors").write_bytes(b"garbage")
    status, out, err = run("diff", saved_pair, pair_copy)
    assert status == 2 and out == "" and "weights-unreadable" in err


def test_diff_as_json(run, make_model, saved_pair, pair_copy, hub):
    assert strictly(run("diff", saved_pair, pair_copy, "--json")[1])["config"] == {}
    (pair_copy / layout.CODE[0]).write_bytes(b"")
    config = json.loads((pair_copy / layout.CONFIG).read_text(encoding="utf-8"))
    (pair_copy / layout.CONFIG).write_text(json.dumps({**config, "mask_prob": 0.3}), encoding="utf-8")
    status, out, _ = run("diff", saved_pair, pair_copy, "--json")
    found = strictly(out)
    assert status == 1 and set(found) == {"a", "b", "config", "tokenizer", "code", "weights"}
    assert found["config"] == {"mask_prob": [0.15, 0.3]} and list(found["code"]) == [layout.CODE[0]]
    assert {tuple(module) for module in found["weights"]} == {("module", "changed", "relative_norm", "note")}


# ---- All of them ----


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_every_option_means(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    entries = re.split(r"\n(?=  \S)", shown.split("positional arguments:\n")[1].replace("\noptions:\n", "\n"))
    assert len(entries) > 2
    for entry in entries:
        names, _, meaning = entry.strip().replace("\n", "  ").partition("  ")
        assert re.search(r"[a-z]{2}", meaning), names
    assert "(default: [])" not in shown and "default: True" not in shown
    assert f"electra-rtd {command}" in shown.split("positional")[0]
    for option in re.findall(r"--\w+_\w+(?=,| [A-Z])", shown):
        assert option.replace("_", "-") in shown


@pytest.mark.parametrize(
    "arguments",
    [
        ["verify"],
        ["verify", "x", "--jsn"],
        ["push", "folder"],
        ["push", "folder", "a/b", "--private", "--public"],
        ["push", "folder", "a/b", "--export", "optimizer"],
        ["pull", "a/b", "--bogus"],
        ["diff", "one"],
    ],
)
def test_a_wrong_command_line_has_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2 and f"usage: electra-rtd {arguments[0]}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["verify", "./nowhere"],
        ["push", "./nowhere", "alice/new"],
        ["pull", "not a name"],
        ["diff", "./nowhere", "./nowhere"],
    ],
)
def test_wrong_input_has_status_2_and_one_message_on_stderr(arguments, run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    status, out, shown = run(*arguments)
    assert (status, out) == (2, "") and shown.startswith(f"electra-rtd {arguments[0]}: error: ")


def test_what_is_refused_for_its_content_has_status_1(run, hub, broken, saved_pair):
    assert run("push", broken, "alice/new", token=hub.alice)[0] == 0  # the pickle stays behind
    assert "model.bin" not in hub.files("alice/new")
    (broken / layout.WEIGHTS).write_bytes(b"cut off")
    # As with the older command of this name, 1 is a difference.
    for expected, arguments in ((1, ["push", broken, "alice/newer"]), (2, ["diff", broken, saved_pair])):
        status, out, shown = run(*arguments, token=hub.alice)
        assert (status, out) == (expected, ""), shown
        assert shown.splitlines()[0].startswith(f"electra-rtd {arguments[0]}: ")
    assert "alice/newer" not in hub.repos


@pytest.mark.parametrize("status", [401, 500])
@pytest.mark.parametrize("command", ["verify", "push", "pull", "diff"])
def test_no_error_of_the_hub_shows_the_token_that_it_repeats(command, status, run, hub, saved_pair, tmp_path):
    hub.echo_token_in_errors = True
    hub.create_repo("alice/pair")
    hub.fault("/api/models/alice/pair", status=status, times=None)
    arguments = {
        "verify": ["alice/pair"],
        "push": [saved_pair, "alice/pair"],
        "pull": ["alice/pair", "--local_dir", tmp_path / "here"],
        "diff": [saved_pair, "alice/pair"],
    }
    exit_status, out, shown = run(command, *arguments[command], token=hub.alice)
    assert (exit_status, out) == (2, "") and f"electra-rtd {command}: error: alice/pair " in shown


def test_a_wish_for_the_traceback_is_granted(run, monkeypatch, capsys):
    assert run("verify", "./nowhere")[0] == 2  # and `run` has seen no traceback
    monkeypatch.setenv("ELECTRA_RTD_TRACEBACK", "1")
    assert cli.main(["verify", "./nowhere"]) == 2
    shown = capsys.readouterr().err
    assert "in is_folder" in shown and shown.count("Traceback") == 1


@pytest.mark.parametrize(
    ("error", "status", "shown"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (RuntimeError("odd"), 2, "error: odd\nELECTRA_RTD_TRACEBACK=1 shows where it came from."),
        (OSError("full"), 2, "error: full\n"),
    ],
)
def test_what_else_can_happen(error, status, shown, monkeypatch, capsys):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(cli, "verify_checkpoint", fail)
    assert cli.main(["verify", "x"]) == status
    captured = capsys.readouterr()
    assert captured.out == "" and f"electra-rtd verify: {shown}" in captured.err
    assert ("TRACEBACK" in captured.err) == isinstance(error, RuntimeError)


@pytest.mark.slow
def test_push_and_pull_in_processes_of_their_own(hub, saved_pair, tmp_path):
    environment = {
        **os.environ,
        **hub.environment(hub.alice),
        "HF_HOME": str(tmp_path / "home"),
        "OMP_NUM_THREADS": "1",
    }
    shown = []
    for arguments in (
        ["push", str(saved_pair), "alice/pair"],
        ["pull", "alice/pair", "--local-dir", str(tmp_path / "here")],
    ):
        command = [sys.executable, "-m", "electra_rtd.cli", *arguments]
        process = subprocess.run(command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert process.returncode == 0, process.stderr
        assert hub.alice not in process.stdout + process.stderr
        shown.append(process.stdout)
    commit = hub.head("alice/pair")
    assert shown[0] == where_and_how(hub, "alice/pair")
    assert shown[1] == f"{tmp_path / 'here'}\n{pinned_line('alice/pair', commit)}\n"
    assert {name: (tmp_path / "here" / name).read_bytes() for name in layout.CODE} == {
        name: (saved_pair / name).read_bytes() for name in layout.CODE
    }
