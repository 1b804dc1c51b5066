"""`make space`: a folder for a static Space of the Hub, which shows the inspector on the pair in the package."""

import argparse
import shutil
from pathlib import Path

from electra_rtd.train_tools.arguments import MINI_PAIR
from electra_rtd.train_tools.inspector import PAGE_TEMPERATURES, collect_texts, inspect_texts, write_page


HERE = Path(__file__).parent


def build_space(folder):
    """Write the folder: `index.html`, and `README.md` with what the Hub wants to know.

    Args:
        folder (`str` or path): made if need be; a Space that is there already is replaced.

    Returns:
        `Path`: the page
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    texts, _ = collect_texts([], [HERE / "sentences.txt"])
    inspection = inspect_texts(MINI_PAIR, texts, more_temperatures=PAGE_TEMPERATURES)
    shutil.copyfile(HERE / "README.md", folder / "README.md")
    return write_page(inspection, folder / "index.html", model_name="mini_pair (electra-rtd)", lang="ko")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m website.space", description=__doc__)
    parser.add_argument("folder", nargs="?", default=".site/space")
    page = build_space(parser.parse_args().folder)
    print(f"{page}\nTo publish it: hf upload USER/NAME {page.parent} --repo-type space")
