"""The report in a real browser: nothing asked for, nothing cut off, all of it readable, light and dark, on a phone.

`ELECTRA_RTD_WRITE_SCREENSHOTS=1` (about three minutes) makes a sample run and writes the pictures of `docs/images`;
`ELECTRA_RTD_WRITE_SCREENSHOTS=FOLDER` takes the run in that folder instead.
"""

import base64
import os
import re
from pathlib import Path

import made_up_run
import pytest
from made_up_evaluation import evaluation
from PIL import Image

from electra_rtd import cli
from electra_rtd.train_tools.arguments import SAMPLE_FILE
from electra_rtd.train_tools.report import report_run


pytestmark = pytest.mark.browser

IMAGES = Path(__file__).parents[2] / "docs" / "images"
WRITE_SCREENSHOTS = os.environ.get("ELECTRA_RTD_WRITE_SCREENSHOTS")
WIDE, PHONE = {"width": 1180, "height": 900}, {"width": 360, "height": 760}
LEAST_CONTRAST = 4.5  # WCAG 2, level AA, for text of normal size

# Every element that holds text itself: its text, its colour, and the first background under it that is not clear.
TEXT_COLOURS = """() => {
  const clear = (colour) => colour === 'transparent' || /, 0\\)$/.test(colour);
  const found = [];
  for (const element of document.querySelectorAll('body *')) {
    const text = [...element.childNodes].filter((node) => node.nodeType === 3 && node.data.trim());
    if (!text.length || element.matches('style, title, desc')) continue;
    const style = getComputedStyle(element);
    let below = element;
    while (below && clear(getComputedStyle(below).backgroundColor)) below = below.parentElement;
    found.push({
      text: text[0].data.trim(),
      colour: element.closest('svg') ? style.fill : style.color,
      background: getComputedStyle(below || document.documentElement).backgroundColor,
      size: parseFloat(style.fontSize),
    });
  }
  return found;
}"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The reports of a made-up run in both languages, with a long name and a finding."""
    rows = made_up_run.log()
    rows.insert(5, {"step": 40, "health": "no_recall", "message": "Recall is 0.0000 of 120 replaced tokens. " * 3})
    folder = tmp_path_factory.mktemp("runs") / ("a_long_name_without_any_space_" * 4)
    made_up_run.write_run(folder, rows, held_out=made_up_run.held_out())
    evaluation(counts=(50, 200, 1000), floor=0.8).write(folder)
    return {lang: report_run(folder, html=folder / f"{lang}.html", lang=lang)[0] for lang in ("en", "ko")}


@pytest.fixture
def open_page(browser):
    """Opens a file; the messages of its console and its requests are noted in `page.messages` and `page.requests`."""
    opened = []

    def open_file(path, viewport=WIDE, scheme="light", scale=1):
        page = browser.new_page(viewport=viewport, color_scheme=scheme, device_scale_factor=scale)
        page.messages, page.requests = [], []
        page.on("console", lambda message: page.messages.append(message.text))
        page.on("pageerror", lambda error: page.messages.append(str(error)))
        page.on("request", lambda request: page.requests.append(request.url))
        page.goto(path.as_uri())
        opened.append(page)
        return page

    yield open_file
    for page in opened:
        page.close()


def luminance(colour):
    """Relative luminance after WCAG of a colour as `getComputedStyle` gives it: `rgb(1, 2, 3)`."""
    assert colour.startswith("rgb("), colour
    parts = [int(part) / 255 for part in colour[4:-1].split(",")]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_contrast_formula_is_that_of_wcag():
    assert contrast("rgb(0, 0, 0)", "rgb(255, 255, 255)") == pytest.approx(21)
    assert contrast("rgb(118, 118, 118)", "rgb(255, 255, 255)") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_the_page_asks_for_nothing_and_complains_of_nothing(pages, open_page, lang):
    page = open_page(pages[lang])
    assert page.requests == [pages[lang].as_uri()]
    assert page.messages == []


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_a_phone_scrolls_down_only(pages, open_page, lang):
    page = open_page(pages[lang], PHONE)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    # Wide tables scroll in boxes of their own, which a keyboard reaches.
    wide = page.evaluate(
        "[...document.querySelectorAll('.scroll')].filter((one) => one.scrollWidth > one.clientWidth)"
        ".map((one) => one.tabIndex)"
    )
    assert wide and set(wide) == {0}


PICTURES = """() => [...document.querySelectorAll('img')].map((one) => {
  const box = one.getBoundingClientRect(), strip = one.closest('.figures').getBoundingClientRect();
  return {width: box.width, height: box.height, strip: strip.width, source: one.src, loaded: one.naturalWidth > 0};
})"""


def test_figures_are_as_wide_as_a_phone_and_their_text_can_be_read(pages, open_page):
    """On a phone the figures of a section are a strip that scrolls sideways, and the next one peeps out."""
    page = open_page(pages["ko"], PHONE)
    drawn = page.evaluate(PICTURES)
    assert len(drawn) == 15 and all(one["loaded"] for one in drawn)
    for one in drawn:
        assert 0.8 * one["strip"] < one["width"] < one["strip"] <= PHONE["width"]
        svg = base64.b64decode(one["source"].partition(",")[2]).decode()
        scale = one["width"] / float(re.search(r'viewBox="0 0 ([\d.]+) ', svg)[1])
        sizes = {float(size) for size in re.findall(r"font(?:-size)?: (?:[\d]+ )?([\d.]+)px", svg)}
        assert sizes and min(sizes) * scale >= 9  # pixels
    first, second = (figure.bounding_box() for figure in page.locator(".figures").nth(1).locator("figure").all()[:2])
    assert first["y"] + first["height"] == second["y"] + second["height"] and second["x"] < PHONE["width"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_figures_have_the_colours_of_the_page(pages, open_page, tmp_path, scheme):
    page = open_page(pages["en"], scheme=scheme)
    picture = page.locator("img").first
    picture.screenshot(path=tmp_path / "figure.png")
    with Image.open(tmp_path / "figure.png") as image:
        shades = sorted({sum(colour) / 3 for _, colour in image.convert("RGB").getcolors(1 << 24)})
        paper = sum(image.convert("RGB").getpixel((1, 1))) / 3
    assert (paper > 250, shades[0] < 60) == ((True, True) if scheme == "light" else (False, True))
    assert shades[-1] - shades[0] > 170  # ink on paper, either way round


def test_no_table_is_cut_off_on_a_phone_and_the_main_one_fits(pages, open_page):
    page = open_page(pages["ko"], {"width": 390, "height": 844})
    fits = "one => [one.scrollWidth <= one.clientWidth, getComputedStyle(one).overflowX]"
    boxes = page.locator(".held_out .scroll, .confusion .scroll")
    assert boxes.evaluate_all(f"all => all.map({fits})") == [[True, "auto"]] * 2
    assert page.evaluate("document.documentElement.scrollWidth") == 390


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_what_is_under_it(pages, open_page, scheme):
    page = open_page(pages["en"], scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    texts = page.evaluate(TEXT_COLOURS)
    assert len(texts) > 300
    pale = {one["text"]: one for one in texts if contrast(one["colour"], one["background"]) < LEAST_CONTRAST}
    assert pale == {}
    is_dark = luminance(page.evaluate("getComputedStyle(document.body).backgroundColor")) < 0.1
    assert is_dark == (scheme == "dark")


def test_every_figure_speaks_to_those_who_do_not_see_it(pages, open_page):
    page = open_page(pages["en"])
    images = page.get_by_role("img")
    assert images.count() == page.locator("figure").count() == 15
    loss = page.get_by_role("img", name="Loss. training: 40 at step 10")
    assert loss.count() == 1


# ---- Pictures for the documentation ----


@pytest.mark.skipif(WRITE_SCREENSHOTS is None, reason="writes docs/images, when asked to")
def test_screenshots_of_the_sample_run(open_page, tmp_path, monkeypatch):
    run = Path(WRITE_SCREENSHOTS).absolute()
    monkeypatch.chdir(tmp_path)
    if not run.is_dir():
        run = Path("electra-rtd-sample")
        assert cli.main([*SAMPLE_RUN, "--output_dir", str(run)]) == 0
    pages = {lang: report_run(run, html=f"{lang}.html", lang=lang)[0].absolute() for lang in ("en", "ko")}
    views = {
        "light": (pages["en"], WIDE, "light", 1),
        "dark": (pages["en"], WIDE, "dark", 1),
        "phone": (pages["ko"], PHONE, "light", 2),
    }
    for name, view in views.items():
        page = open_page(*view)
        if name != "light":  # further down, so that the three show more than one part
            page.locator("main h2").nth(2).scroll_into_view_if_needed()
            page.evaluate("scrollBy(0, document.querySelectorAll('main h2')[2].getBoundingClientRect().top - 16)")
        path = IMAGES / f"report-{name}.png"
        path.parent.mkdir(exist_ok=True)
        page.screenshot(path=path)
        with Image.open(path) as image:
            image.convert("RGB").save(path, optimize=True)
        assert path.stat().st_size < 250_000


SAMPLE_RUN = [
    *("pretrain", "--preset", "tiny", "--packing", "no", "--train_file", str(SAMPLE_FILE)),
    *("--vocab_size", "2000", "--max_seq_length", "64", "--learning_rate", "5e-4", "--num_train_epochs", "30"),
    *("--per_device_train_batch_size", "16", "--gradient_accumulation_steps", "1"),
    *("--warmup_steps", "75", "--validation_split", "0.1"),
    *("--logging_steps", "10", "--eval_strategy", "steps", "--eval_steps", "75", "--save_strategy", "no"),
    *("--report_to", "none", "--disable_tqdm", "true", "--use_cpu"),
]
