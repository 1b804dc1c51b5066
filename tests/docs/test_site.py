"""The documentation site: it builds, a link that leads nowhere stops it, and what it has to show is there.

One build, of a copy in which three links are broken: those, and no others, are named.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from electra_rtd import hub_tools, train_tools
from electra_rtd.parsers import PARSERS


ROOT = Path(__file__).parents[2]
NEEDED = ("website", "docs", "examples", "hub_tools", "train_tools", "launcher", "benchmarks")
BROKEN = "\n\n[one](no-such-page.md), [two](pairs.md#no-such-place), [three](../README.md#no-such-section)\n"
OUTSIDE = re.compile(r'<(?:script|img|iframe)[^>]* src="(?:https?:)?//|<link[^>]* href="(?:https?:)?//')


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A build: its folder, and what was printed."""
    for module in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(module, reason=f"{module} is not installed: `pip install -e '.[docs]'`")
    copy = tmp_path_factory.mktemp("site") / "copy"
    for name in NEEDED:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (*ROOT.glob("*.py"), *ROOT.glob("*.md"), *ROOT.glob("*.toml"), ROOT / "LICENSE"):
        shutil.copyfile(path, copy / path.name)
    with open(copy / "docs" / "text.md", "a", encoding="utf-8") as file:
        file.write(BROKEN)
    process = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--config-file", "website/mkdocs.yml"],
        cwd=copy,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    return process, copy / ".site" / "pages"


@pytest.fixture
def website(monkeypatch):
    """The folder whose modules mkdocs imports by their bare names."""
    for module in ("mkdocs", "griffe"):
        pytest.importorskip(module, reason=f"{module} is not installed: `pip install -e '.[docs]'`")
    monkeypatch.syspath_prepend(ROOT / "website")


@pytest.mark.slow
def test_a_broken_link_stops_the_build_and_there_is_none_but_those_of_this_test(site):
    process, _ = site
    warnings = [line for line in process.stderr.splitlines() if "no-such" in line or line.startswith("WARNING")]
    assert process.returncode == 1, process.stderr[-3000:]
    assert len(warnings) == 3, process.stderr
    for broken, place in zip(warnings, ("docs/no-such-page.md", "no-such-place", "no-such-section"), strict=True):
        assert "docs/text.md" in broken and place in broken


@pytest.mark.slow
def test_every_public_name_and_every_command_has_its_place_in_the_reference(site):
    _, folder = site
    for package in (hub_tools, train_tools):
        page = (folder / "reference" / package.__name__ / "index.html").read_text(encoding="utf-8")
        assert [name for name in package.__all__ if f'id="{package.__name__}.{name}"' not in page] == []
        assert "<p><strong>Args</strong></p>" in page
    page = (folder / "reference" / "commands" / "index.html").read_text(encoding="utf-8")
    assert [name for name in PARSERS if f'id="electra-rtd-{name}"' not in page] == []


@pytest.mark.slow
def test_pages_in_korean_say_so_and_lead_to_the_other_language(site):
    _, folder = site
    for page in folder.glob("**/index.html"):
        text = page.read_text(encoding="utf-8")
        korean = ".ko" in page.parent.name
        assert f'<html lang="{"ko" if korean else "en"}"' in text, page
        links = dict(re.findall(r'<a href="([^"]*)" hreflang="(\w+)"', text))
        assert sorted(links.values()) == ["en", "ko"], page
        for link in links:
            assert (page.parent / link / "index.html").is_file(), (page, link)
    tutorial = (folder / "tutorial.ko.ipynb" / "index.html").read_text(encoding="utf-8")
    assert re.search(r'<a href="\.\./tutorial\.en\.ipynb/" hreflang="en"', tutorial)


@pytest.mark.slow
def test_a_page_asks_for_nothing_elsewhere_and_its_lists_and_tables_are_such(site):
    _, folder = site
    pages = sorted(folder.glob("**/index.html"))
    assert len(pages) > 25
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not OUTSIDE.search(text), (page, OUTSIDE.search(text))
        prose = re.sub(r"<(pre|code|script)\b.*?</\1>", "", text, flags=re.DOTALL)
        # A list or a table right after a line of text is one for GitHub, and text for Python-Markdown.
        assert not re.search(r"^(- |\d\. |\| )", prose, flags=re.MULTILINE), page


def test_entries_of_a_list_keep_what_belongs_to_them(website):
    import pages

    text = "1. one\n\n   more\n2. two\n\n   ```\n     code\n   ```\n- - -\n  x\n- y"
    assert pages.indented(text) == ("1. one\n\n    more\n\n2. two\n\n    ```\n      code\n    ```\n- - -\n    x\n- y")


def test_a_docstring_becomes_lists_and_loses_no_word(website):
    from docstrings import as_markdown

    text = """Adapt a pair.

    code(1)

Args:
    a, b (`str`): what was
        compared.
    report ([`VerificationReport`])

Returns:
    `Path`, and more:
    a number

Raises:
    ValueError: it is
        wrong.
Args: x (`int`). Returns: [`Unknown`]."""
    assert as_markdown(text).split("\n") == [
        "Adapt a pair.", "", "    code(1)", "",
        "", "**Args**", "",
        "- `a`, `b` (`str`): what was", "    compared.",
        "- `report` ([`VerificationReport`][electra_rtd.hub_tools.VerificationReport])", "",
        "", "**Returns**", "", "`Path`, and more:", "a number", "",
        "", "**Raises**", "", "- `ValueError`: it is", "    wrong.",
        "", "**Args**: x (`int`). Returns: `Unknown`.", "",
    ]  # fmt: skip
