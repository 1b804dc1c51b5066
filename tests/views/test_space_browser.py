"""The page for a static Space of the Hub: built as `make space` builds it, and opened in a real browser."""

import re

import pytest
import yaml

from website.space.__main__ import HERE, build_space


SENTENCES = (HERE / "sentences.txt").read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    folder = tmp_path_factory.mktemp("space") / "new"
    build_space(folder)
    return folder


@pytest.mark.browser
def test_the_page_shows_the_sentences_and_what_both_networks_made_of_them(space, browser):
    assert sorted(path.name for path in space.iterdir()) == ["README.md", "index.html"]
    asked, complaints = [], []
    view = browser.new_page(viewport={"width": 360, "height": 740})
    view.on("request", lambda request: asked.append(request.url))
    view.on("pageerror", lambda error: complaints.append(str(error)))
    view.on("console", lambda message: complaints.append(message.text))
    view.goto((space / "index.html").as_uri())
    assert view.evaluate("document.documentElement.lang") == "ko"
    assert view.locator(".text").all_text_contents() == SENTENCES
    assert view.locator("#temperature").count() == 1
    assert view.evaluate("document.documentElement.scrollWidth") == 360
    assert asked == [(space / "index.html").as_uri()]  # nothing of it is elsewhere
    assert complaints == []
    view.close()


def test_the_readme_says_what_the_hub_wants_to_know():
    text = (HERE / "README.md").read_text(encoding="utf-8")
    metadata = yaml.safe_load(re.match(r"---\n(.*?)\n---\n", text, flags=re.DOTALL)[1])
    assert (metadata["sdk"], metadata["app_file"]) == ("static", "index.html")
    assert metadata["title"] and metadata["emoji"] and metadata["license"]
    assert len(metadata["short_description"]) <= 60  # the Hub takes no more
