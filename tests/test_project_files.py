"""What stands beside the code says what is there: verbs, versions, files."""

import re
from pathlib import Path

import pytest
import yaml

from electra_rtd import __version__


ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))


def test_the_citation_names_this_release():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == __version__


def test_the_workflow_calls_verbs_of_the_makefile_on_every_python_that_is_allowed():
    verbs = set(re.findall(r"^([a-z-]+):", MAKEFILE, flags=re.MULTILINE))
    called = set()
    for job in WORKFLOW["jobs"].values():
        for step in filter(None, (step.get("run") for step in job["steps"])):
            name = step.split()[-1]
            called.update(job["strategy"]["matrix"]["verb"] if "matrix.verb" in step else [name])
    assert {"style", "test", "test-rest", "lowest", "compat", "common", "clients", "build"} == called
    assert called <= verbs
    tested = [row["python"] for row in WORKFLOW["jobs"]["test"]["strategy"]["matrix"]["include"]]
    assert tested == ["3.10", "3.11", "3.12", "3.13", "3.14"]  # text: 3.10 as a number is 3.1


@pytest.mark.parametrize(
    "file", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda file: file.stem
)
def test_an_issue_template_asks_for_something(file):
    form = yaml.safe_load(file.read_text(encoding="utf-8"))
    if file.stem == "config":
        assert form == {"blank_issues_enabled": True}
    else:
        assert form["name"] and form["description"]
        assert all({"id", "type", "attributes"} <= set(part) for part in form["body"])


def test_what_is_said_of_security_names_files_that_are_there():
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)\)", text)
    assert links and all((ROOT / link).is_file() for link in links)
    assert f"v{__version__}:modeling_electra_rtd.py" in text
