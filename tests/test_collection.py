"""pytest finds the tests in a clone whose folder has any name, imports the package once, and loses none in silence."""

import re
import sys
from pathlib import Path

import pytest
import torch


ROOT = Path(__file__).parent.parent


def test_the_repository_root_is_a_folder_to_pytest_and_not_a_package_to_import(request):
    folders = {node.path: node for node in request.node.listchain() if isinstance(node, pytest.Directory)}
    assert not isinstance(folders[ROOT], pytest.Package) and Path(__file__).parent in folders


def test_there_is_one_copy_of_the_package():
    loaded = {name: getattr(module, "__file__", None) for name, module in list(sys.modules.items())}
    assert [name for name, file in loaded.items() if file == str(ROOT / "__init__.py")] == ["electra_rtd"]


def test_what_make_test_leaves_out_is_what_make_test_rest_runs_and_nothing_else():
    marked = re.search(r"\nmarkers = \[\n(.*?)\n\]", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.DOTALL)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    names = re.findall(r'^ *"(\w+):', marked[1], flags=re.MULTILINE)
    assert len(names) >= 4 and f"\nREST := {' or '.join(names)}\n" in makefile
    assert re.search(r'\ntest: .*\n.*\n\t\$\(PYTEST\) -m "not \(\$\(REST\)\)" ', makefile)
    assert re.search(r'\ntest-rest: .*\n\t\$\(PYTEST\) -m "\$\(REST\)" ', makefile)


@pytest.mark.gpu
def test_a_test_that_is_marked_gpu_runs_only_where_cuda_is():
    assert torch.cuda.is_available()
