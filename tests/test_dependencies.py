"""Every lower bound in pyproject.toml is one that `make lowest` runs with."""

import importlib.metadata
import importlib.util
import os
import re
from pathlib import Path

import pytest
from packaging.version import Version


HERE = Path(__file__).parent
PROJECT = (HERE.parent / "pyproject.toml").read_text(encoding="utf-8")

specification = importlib.util.spec_from_file_location("compat_run", HERE / "compat" / "run.py")
run = importlib.util.module_from_spec(specification)
specification.loader.exec_module(run)


def test_every_dependency_has_a_lower_bound_and_the_lowest_set_holds_it():
    block = re.search(r"\ndependencies = \[\n(.*?)\n\]\n", PROJECT, flags=re.DOTALL)[1]
    declared = re.findall(r'^ *"(.*?)"', block, flags=re.MULTILINE)
    assert len(declared) > 8
    assert declared == [f"{name}>={version}" for name, version in run.lower_bounds().items()]
    installed = [*run.requirements(run.LOWEST), *run.installed_alone(run.LOWEST)]
    all_but_torch = [row for row in declared if not row.startswith("torch>=")]
    assert sorted(row.replace("==", ">=") for row in installed) == sorted(all_but_torch)


@pytest.mark.skipif("ELECTRA_RTD_LOWEST" not in os.environ, reason="`make lowest` runs it")
def test_what_runs_is_the_lowest_set():
    for name, bound in run.lower_bounds().items():
        if name != "torch":
            assert Version(importlib.metadata.version(name)) == Version(bound), name
