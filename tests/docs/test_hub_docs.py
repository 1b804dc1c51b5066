"""The round trip of `docs/hub.md`, run as it stands against the Hub on loopback: it prints what the page shows.

`ELECTRA_RTD_WRITE_DOCS=1` (`make docs`) writes the output into the page instead of comparing.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


PAGE = Path(__file__).parents[2] / "docs" / "hub.md"
# A snippet, and the block of its output where there is one.
BLOCK = re.compile(r"```(?P<language>bash|python)\n(?P<code>.*?)```\n(\n```text\n(?P<output>.*?)```\n)?", re.DOTALL)
SUBJECTS, OBJECTS, VERBS = ("나는", "우리는", "학생은"), ("책을", "글을", "시를"), ("읽는다", "쓴다", "고른다")
MASKED = ((r"[0-9a-f]{40}", "<commit>"), (r"http://127\.0\.0\.1:\d+", "https://huggingface.co"))


@pytest.fixture
def machine(hub, tmp_path):
    """A function that runs a snippet in one folder, logged in as alice, with a cache of a given name."""
    sentences = [f"{one} {two} {three}" for one in SUBJECTS for two in OBJECTS for three in VERBS]
    (tmp_path / "sentences.csv").write_text("text\n" + "\n".join(sentences * 8), encoding="utf-8")
    rows = [f"{sentence},{number % 2}" for number, sentence in enumerate(sentences)]
    (tmp_path / "reviews.csv").write_text("text,label\n" + "\n".join(rows), encoding="utf-8")

    def run(language, code, home):
        command = (
            [sys.executable, "-c", code] if language == "python" else ["bash", "-e", "-o", "pipefail", "-c", code]
        )
        environment = {
            **os.environ,
            **hub.environment(hub.alice),
            "HF_HOME": str(tmp_path / home),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
        }
        process = subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert process.returncode == 0, f"{code}\n{process.stdout[-2000:]}\n{process.stderr[-3000:]}"
        return process.stdout

    return run


def masked(text):
    """Without what is another at each run: commits and addresses."""
    for pattern, name in MASKED:
        text = re.sub(pattern, name, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def shape(text):
    """Without what is another on each machine, too: figures and hashes."""
    text = re.sub(r"\b[0-9a-f]{12,}\b", "<hash>", text)
    return re.sub(r" +", " ", re.sub(r"[\d,.]*\d(e-\d+)?", "<n>", text))


@pytest.mark.docs
def test_the_round_trip_prints_what_the_page_shows(machine):
    page = PAGE.read_text(encoding="utf-8")
    blocks = list(BLOCK.finditer(page))
    assert len(blocks) >= 8
    written = page
    for block in blocks:
        is_second_machine = block.start() > page.index("On another machine")
        output = masked(machine(block["language"], block["code"], "second" if is_second_machine else "first"))
        if os.environ.get("ELECTRA_RTD_WRITE_DOCS"):
            shown = f"\n```text\n{output}\n```\n" if output else ""
            written = written.replace(block[0], f"```{block['language']}\n{block['code']}```\n{shown}")
        else:
            assert shape(output) == shape(masked(block["output"] or "")), block["code"]
    if written != page:
        PAGE.write_text(written, encoding="utf-8")
