# Copyright 2026 the electra-rtd authors. Licensed under the Apache License, Version 2.0.
"""`pytest tests/common` runs `transformers`' own common model tests; a run that does not name them passes them by."""

from collections import Counter
from pathlib import Path

import pytest


HERE = Path(__file__).resolve().parent


def is_asked_for(config):
    """Whether the command line names this folder or something in it."""
    named = [Path(argument.split("::")[0]).resolve() for argument in config.args]
    return any(path.is_relative_to(HERE) for path in named)


def pytest_ignore_collect(collection_path, config):
    """Leave these tests out of other runs: they need PyPI once."""
    return None if is_asked_for(config) else True


def pytest_configure(config):
    """Register the markers of tests that are not ours: `--strict-markers` refuses unknown ones."""
    if is_asked_for(config):
        from .harness import common_markers  # here, because it imports what other runs do not need

        try:
            names = common_markers()
        except RuntimeError as error:  # no PyPI
            raise pytest.UsageError(str(error)) from error
        for name in names:
            config.addinivalue_line("markers", f"{name}: a marker of transformers' own tests")


def pytest_terminal_summary(terminalreporter, config):
    """Count each class by itself: ours has to pass what stock passes."""
    if not is_asked_for(config):
        return
    worst = {}  # of each test: a subtest that fails beside a test that passes counts, one that is skipped does not
    for outcome in ("skipped", "passed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            if "::" in report.nodeid and (outcome != "skipped" or not is_subtest(report)):
                worst[report.nodeid] = outcome
    counts = Counter((nodeid.split("::")[1], outcome) for nodeid, outcome in worst.items())
    for (name, outcome), count in sorted(counts.items()):
        terminalreporter.line(f"{name}: {count} {outcome}")


def is_subtest(report):
    """Whether a report is about a part of a test: from pytest 9 on, these come beside the test's own."""
    return hasattr(report, "context")
