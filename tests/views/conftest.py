"""What the tests of the views share: a browser, and `made_up_run.py` beside them."""

import shutil
import sys
from pathlib import Path

import pytest


sys.path.append(str(Path(__file__).parent))  # pytest's importlib mode leaves it out: `import made_up_run`

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")  # while it runs, nobody else of this process can use asyncio: not for a whole session
def browser():
    """A Chromium of this machine; where there is none, the test is skipped."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: it is in [dev]")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser is installed: one of {', '.join(BROWSERS)} is needed")
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield running
        running.close()
