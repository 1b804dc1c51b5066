"""Every snippet of the README runs, in the order in which it stands, in a folder with small stand-ins.

Hub ids are found as local folders of the same names, so the snippets run unchanged and without network.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[2]
SNIPPET = re.compile(r"```(python|bash)\n(.*?)```", flags=re.DOTALL)
PAIR = "koelectra-small-v3"


@pytest.fixture
def folder(tmp_path, pair_folders):
    for name, source in zip(("generator", "discriminator"), pair_folders, strict=True):
        shutil.copytree(source, tmp_path / "monologg" / f"{PAIR}-{name}")
    rows = [
        f"{who} {what} {how}" for who in ("나는", "우리는") for what in ("책을", "글을") for how in ("읽는다", "쓴다")
    ]
    (tmp_path / "sentences.csv").write_text("text\n" + "".join(f"{row}\n" for row in rows * 3), encoding="utf-8")
    return tmp_path


@pytest.mark.docs
def test_every_snippet_runs(folder):
    snippets = SNIPPET.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(snippets) >= 5
    environment = {
        **os.environ,
        "HF_HOME": str(folder / "home"),
        "HF_HUB_OFFLINE": "1",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }
    for language, code in snippets:
        command = [sys.executable, "-c", code] if language == "python" else ["bash", "-ec", code]
        process = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300
        )
        assert process.returncode == 0, f"{code}\n{process.stdout[-2000:]}\n{process.stderr[-3000:]}"
    assert (folder / "adapted" / "discriminator" / "model.safetensors").is_file()
    assert (folder / "adapted-by-hand" / "modeling_electra_rtd.py").is_file()
    assert (folder / "encoder" / "config.json").is_file()


def test_the_korean_readme_holds_the_same_code():
    english, korean = (
        SNIPPET.findall((ROOT / name).read_text(encoding="utf-8")) for name in ("README.md", "README.ko.md")
    )
    without_comments = [[re.sub(r"  #.*", "", code) for _, code in snippets] for snippets in (english, korean)]
    assert without_comments[0] == without_comments[1]


@pytest.mark.parametrize("name", ["README.md", "README.ko.md"])
def test_the_environment_is_activated_before_the_first_command(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert text.index("`. .venv/bin/activate`") < text.index("```bash\nelectra-rtd ")


def test_no_page_and_no_message_installs_from_an_index_which_has_no_such_package():
    files = [path for kind in ("*.md", "*.py", "*.j2", "*.ipynb") for path in ROOT.glob(f"[!.]*/**/{kind}")]
    files += [*ROOT.glob("*.md"), *ROOT.glob("*.py")]
    assert len(files) > 100
    advice = re.compile(r"pip install [^`\n]*electra[-_]rtd" + r"\[")
    assert [path for path in files if advice.search(path.read_text(encoding="utf-8"))] == []


def test_the_readme_names_the_test_command():
    assert "make test" in (ROOT / "README.md").read_text(encoding="utf-8")
