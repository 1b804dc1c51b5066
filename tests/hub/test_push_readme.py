"""What a push does to a README: a person's words stay, and figures stay with their weights."""

import hashlib
import json
import shutil

import pytest
import yaml

from electra_rtd.hub_tools import pull_checkpoint
from electra_rtd.hub_tools.remote import HubError


REPO = "alice/pair"
OURS = {"electra", "electra-rtd", "replaced-token-detection"}  # tags
EVALUATION = {"step": 4, "eval_loss": 1.25, "eval_mlm_loss": 0.5, "eval_disc_loss": 0.015, "eval_gen_acc": 0.875}
END_OF_RESULTS = "<!-- end of electra-rtd results -->"


def readme(hub, repo_id=REPO, revision="main"):
    return hub.files(repo_id, revision)["README.md"].decode("utf-8")


def metadata(text):
    return yaml.safe_load(text.split("---")[1])


def edit_readme(hub, *replacements, text=None):
    """A person edits the README on the Hub's page; returns it."""
    text = readme(hub) if text is None else text
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    hub.commit(REPO, {"README.md": text.encode("utf-8")})
    return text


def test_a_card_is_written_where_there_is_none(hub, push, saved_pair):
    push(saved_pair, tags=["korean", "electra"])
    text = readme(hub)
    assert metadata(text)["library_name"] == "transformers"
    assert metadata(text)["tags"] == ["electra", "electra-rtd", "replaced-token-detection", "korean"]
    digest = hashlib.sha256((saved_pair / "model.safetensors").read_bytes()).hexdigest()
    assert f"<!-- electra-rtd results of {digest[:16]} -->" in text and END_OF_RESULTS in text


def test_a_readme_in_the_folder_is_the_first_card(hub, push, pair_copy):
    (pair_copy / "README.md").write_bytes("---\nlicense: mit\n---\n# 나의 모델\n".encode())
    push(pair_copy)
    assert readme(hub).endswith("# 나의 모델\n") and metadata(readme(hub))["license"] == "mit"


@pytest.mark.parametrize("weights", ["same", "changed"])
def test_what_a_person_wrote_outside_the_markers_stays(hub, push, pushed, other_weights, weights):
    edited = edit_readme(hub, ("## Limits\n", "## 한계\n\nOnly wards of one hospital.  \n\n"))
    if weights == "changed":
        shutil.copy(other_weights, pushed)
    push(pushed)
    old, new = (hashlib.sha256(data).hexdigest()[:16] for data in (b"", (pushed / "model.safetensors").read_bytes()))
    start = edited.index("results of ") + len("results of ")
    assert readme(hub) == edited[:start] + new + edited[start + len(old) :]
    if weights == "same":
        assert hub.writes() == []


def test_metadata_of_a_person_win_and_ours_are_added(hub, push, pushed):
    text = (
        "---\n# mine\nlicense: cc-by-4.0\nlanguage: ko\ntags:\n- hospital\npipeline_tag: fill-mask\n"
        "widget:\n- text: 간다\n---\n\n# Mine\n\nBody.  \n"
    )
    edit_readme(hub, text=text)
    push(pushed, tags=["new"])
    data = metadata(readme(hub))
    assert (data["license"], data["language"], data["pipeline_tag"]) == ("cc-by-4.0", "ko", "fill-mask")
    assert (data["widget"], data["library_name"]) == ([{"text": "간다"}], "transformers")
    assert data["tags"][0] == "hospital" and set(data["tags"]) == {"hospital", "new", *OURS}
    assert readme(hub).partition("\n---\n")[2].lstrip("\n") == "# Mine\n\nBody.  \n"
    hub.clear_requests()
    push(pushed, tags=["new"])
    assert hub.writes() == []


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_readme_without_markers_is_left_byte_for_byte(hub, push, pushed, other_weights, ends):
    head, _, body = readme(hub).partition("\n---\n")
    body = "\n# Mine\n\nNo markers,\ttwo spaces  \nand 한글.\n\n\n"
    text = f"{head}\n---\n{body}".replace("\n", ends)
    edit_readme(hub, text=text)
    shutil.copy(other_weights, pushed)
    push(pushed)
    assert readme(hub) == text
    assert set(hub.operations()) == {"model.safetensors"}


def test_windows_line_ends_stay(hub, push, pushed, other_weights):
    edit_readme(hub, text=readme(hub).replace("\n", "\r\n"))
    shutil.copy(other_weights, pushed)
    push(pushed, tags=["new"])
    outside = readme(hub).partition(END_OF_RESULTS)[2]
    assert outside.count("\r\n") == outside.count("\n") > 3
    assert "new" in metadata(readme(hub))["tags"]


def test_a_readme_whose_metadata_are_broken_is_left_alone(hub, push, pushed, other_weights):
    text = "---\nlicense: [mit\ntags: {\n---\n# Mine\n"
    edit_readme(hub, text=text)
    shutil.copy(other_weights, pushed)
    push(pushed)
    assert readme(hub) == text
    assert hub.files(REPO)["model.safetensors"] == other_weights.read_bytes()


def test_a_readme_that_the_hub_refuses_is_named_and_nothing_is_changed(hub, push, pair_copy):
    (pair_copy / "README.md").write_text("---\nlicense: [mit\n---\n# Mine\n")
    with pytest.raises(HubError, match=r"README\.md.*Invalid YAML.*push again"):
        push(pair_copy)
    assert list(hub.files(REPO)) == [".gitattributes"]
    (pair_copy / "README.md").write_text("---\nlicense: mit\n---\n# Mine\n")
    push(pair_copy)
    assert len(hub.commits(REPO)) == 2


def test_a_readme_without_metadata_gets_them_before_its_text(hub, push, pushed):
    edit_readme(hub, text="# Mine\n\nJust text.\n")
    push(pushed)
    assert set(metadata(readme(hub))["tags"]) == OURS
    assert readme(hub).endswith("# Mine\n\nJust text.\n")


@pytest.mark.parametrize("where", ["branch", "folder"])
def test_a_readme_in_another_encoding_is_named(hub, push, pushed, where):
    data = "# 나의 모델".encode("cp949")
    if where == "branch":
        hub.commit(REPO, {"README.md": data})
    else:
        (pushed / "README.md").write_bytes(data)
    with pytest.raises(ValueError, match=r"README\.md.*UTF-8"):
        push(pushed)
    assert hub.writes() == []


def test_an_edit_of_the_readme_that_was_pulled_is_published(hub, push, pushed, tmp_path):
    folder = pull_checkpoint(REPO, local_dir=tmp_path / "pulled", token=hub.alice)
    text = (folder / "README.md").read_text(encoding="utf-8") + "\nEdited here.\n"
    (folder / "README.md").write_text(text, encoding="utf-8")
    push(folder)
    assert readme(hub) == text
    assert "electra_rtd.lock.json" not in hub.files(REPO)


@pytest.mark.parametrize("pulled", [False, True])
def test_another_readme_than_the_branchs_is_not_taken_silently(hub, push, pushed, tmp_path, caplog, pulled):
    folder = pull_checkpoint(REPO, local_dir=tmp_path / "pulled", token=hub.alice) if pulled else pushed
    theirs = edit_readme(hub, ("## Limits", "## 한계"))  # after the pull
    (folder / "README.md").write_text("# Another\n", encoding="utf-8")
    push(folder)
    assert readme(hub) == theirs
    assert f"hf upload {REPO} FOLDER/README.md README.md" in caplog.text


def log(folder, *rows):
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": [{"step": 0, "loss": 2.0}, *rows]}))


def test_figures_stay_with_their_weights(hub, push, pair_copy, other_weights):
    log(pair_copy, EVALUATION)
    push(pair_copy)
    text = readme(hub)
    assert "1.2500" in text and metadata(text)["model-index"][0]["results"][0]["metrics"][-1]["value"] == 1.25
    (pair_copy / "trainer_state.json").unlink()
    push(pair_copy)
    assert readme(hub) == text  # the same weights, and nothing new is known of them
    shutil.copy(other_weights, pair_copy)
    push(pair_copy)
    assert "No figures were recorded with this state." in readme(hub)
    assert "1.2500" not in readme(hub) and "model-index" not in metadata(readme(hub))


def test_new_figures_take_the_place_of_old_ones_and_leave_those_of_others(hub, push, pair_copy):
    log(pair_copy, EVALUATION)
    push(pair_copy)
    foreign = (
        "model-index:\n- name: pair\n  results:\n  - task:\n      type: ner\n    dataset:\n      type: x\n"
        "      name: x\n    metrics:\n    - type: f1\n      value: 0.5\n"
    )
    head, _, body = readme(hub).partition("model-index:")
    edit_readme(hub, text=head + foreign + "---\n" + body.partition("\n---\n")[2])
    log(pair_copy, {**EVALUATION, "eval_loss": 1.125})
    push(pair_copy)
    values = [
        (result["task"]["type"], metric["type"], metric["value"])
        for result in metadata(readme(hub))["model-index"][0]["results"]
        for metric in result["metrics"]
    ]
    assert ("ner", "f1", 0.5) in values and ("replaced-token-detection", "loss", 1.125) in values
    assert "1.1250" in readme(hub) and "1.2500" not in readme(hub)


def show_plot(hub):
    edit_readme(hub, (END_OF_RESULTS, f"![losses](losses.png)\n{END_OF_RESULTS}"))
    hub.commit(REPO, {"losses.png": b"a plot"})


@pytest.mark.parametrize("weights", ["same", "changed"])
def test_a_plot_stays_while_the_card_shows_it(hub, push, pushed, other_weights, weights):
    show_plot(hub)
    if weights == "changed":
        shutil.copy(other_weights, pushed)
    push(pushed, tags=["new"])
    assert hub.files(REPO).get("losses.png") == (b"a plot" if weights == "same" else None)
    assert ("(losses.png)" in readme(hub)) == (weights == "same")


@pytest.mark.parametrize("weights", ["same", "changed"])
def test_a_plot_that_was_pulled_goes_along_with_the_card_that_shows_it(
    hub, push, pushed, tmp_path, other_weights, weights
):
    show_plot(hub)
    folder = pull_checkpoint(REPO, local_dir=tmp_path / "pulled", token=hub.alice)
    if weights == "changed":
        shutil.copy(other_weights, folder)
    push(folder, "alice/copy")
    assert hub.files("alice/copy").get("losses.png") == (b"a plot" if weights == "same" else None)
    assert ("(losses.png)" in readme(hub, "alice/copy")) == (weights == "same")


def test_a_pair_pulled_from_elsewhere_loads_its_new_repository(hub, push, saved_pair, tmp_path):
    push(saved_pair)
    edit_readme(hub, ("## Limits", "Made from alice/pair.\n\n## Limits"))
    pulled = pull_checkpoint(REPO, local_dir=tmp_path / "pulled", token=hub.alice)
    push(pulled, "alice/other")
    text = readme(hub, "alice/other")
    assert 'from_pretrained("alice/other"' in text and "electra-rtd pull alice/other`" in text
    assert f'from_pretrained("{REPO}"' not in text and "Made from alice/pair." in text


def test_figures_are_of_the_checkpoint_whose_weights_are_pushed(hub, push, pair_copy, other_weights):
    for step, weights, loss in ((2, pair_copy, 1.5), (4, other_weights, 0.5)):  # the best one was not the last
        folder = pair_copy / f"checkpoint-{step}"
        folder.mkdir()
        source = weights / "model.safetensors" if weights.is_dir() else weights
        shutil.copy(source, folder / "model.safetensors")
        log(folder, {"step": step, "eval_loss": loss})
    push(pair_copy)
    [model] = metadata(readme(hub))["model-index"]
    assert [metric["value"] for result in model["results"] for metric in result["metrics"]] == [1.5]


def test_one_tag_that_a_person_wrote_stays_one(hub, push, pushed):
    text = readme(hub)
    tags = "tags:\n- electra\n- electra-rtd\n- replaced-token-detection\n"
    edit_readme(hub, (tags, "tags: books\n"), text=text)
    push(pushed, tags=["ko"])
    assert set(metadata(readme(hub))["tags"]) == {"books", "ko", *OURS}
