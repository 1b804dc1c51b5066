# Copyright 2026 the electra-rtd authors. Licensed under the Apache License, Version 2.0.
"""`pytest tests/common` runs `transformers`' own common model tests; without that path they are left alone."""

from pathlib import Path

from .harness import common_markers


HERE = Path(__file__).resolve().parent


def pytest_ignore_collect(collection_path, config):
    """Leave these tests out of the default run: they need PyPI once, and minutes."""
    asked = [Path(argument.split("::")[0]).resolve() for argument in config.args]
    return None if any(path.is_relative_to(HERE) for path in asked) else True


def pytest_configure(config):
    """Register the markers of tests that are not ours."""
    for name in common_markers():
        config.addinivalue_line("markers", f"{name}: a marker of transformers' own tests")
