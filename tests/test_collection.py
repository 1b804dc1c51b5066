"""pytest finds the tests in a clone whose folder has any name, and imports the package once, under its own name."""

import sys
from pathlib import Path

import pytest


ROOT = Path(__file__).parent.parent


def test_the_repository_root_is_a_folder_to_pytest_and_not_a_package_to_import(request):
    folders = {node.path: node for node in request.node.listchain() if isinstance(node, pytest.Directory)}
    assert not isinstance(folders[ROOT], pytest.Package) and Path(__file__).parent in folders


def test_there_is_one_copy_of_the_package():
    loaded = {name: getattr(module, "__file__", None) for name, module in list(sys.modules.items())}
    assert [name for name, file in loaded.items() if file == str(ROOT / "__init__.py")] == ["electra_rtd"]
