"""Measurements of speed and memory, one command each (`make bench-step`, ...); docs/performance.md shows the results.

Not part of the wheel. Run from the root of a checkout: `python -m benchmarks.step --help`. What is measured is the
checkout itself, whether or not it, or another release, is installed: its root is the package `electra_rtd`.
"""

import importlib.util
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path


ROOT = Path(__file__).parent.parent


class CheckoutIsThePackage(MetaPathFinder):
    """Finds `electra_rtd` in this checkout, whatever the name of its folder."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        """As of any finder. Returns: the specification of the package, or `None` for every other name."""
        if name != "electra_rtd":
            return None
        folders = [str(ROOT)]
        return importlib.util.spec_from_file_location(name, ROOT / "__init__.py", submodule_search_locations=folders)


sys.meta_path.insert(0, CheckoutIsThePackage())
