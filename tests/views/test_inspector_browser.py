"""The page of the inspector in a real Chromium: what a reader sees, hears and can do with a keyboard.

With ELECTRA_RTD_WRITE_SCREENSHOTS=1 and ELECTRA_RTD_SCREENSHOT_CHECKPOINT=FOLDER (a trained pair of Korean) the last
tests write the pictures of docs/images.
"""

import os
import unicodedata
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from electra_rtd import ElectraRTDForPreTraining
from electra_rtd.train_tools.inspector import inspector_page as page
from electra_rtd.train_tools.inspector.pieces import pieces_of_text
from electra_rtd.train_tools.inspector.reading import (
    Candidate,
    Reading,
    Token,
    at_temperature,
    find_suspicious,
    join,
    read_pieces,
)


pytestmark = pytest.mark.browser

IMAGES = Path(__file__).parents[2] / "docs" / "images"
DESKTOP, PHONE = {"width": 1200, "height": 1060}, {"width": 360, "height": 740}


@pytest.fixture
def open_page(browser, tmp_path):
    """Open documents in the browser; the test fails where the page complains, or asks for anything but itself."""
    complaints, requests, contexts = [], [], []

    def open_(documents, *, lang="en", at=None, viewport=DESKTOP, title="Report", model_name="tiny", **context):
        file = tmp_path / "report.html"
        html = page.render(documents, title=title, model_name=model_name, at=at, lang=lang)
        file.write_text(html, encoding="utf-8", newline="")
        contexts.append(browser.new_context(viewport=viewport, **context))
        view = contexts[-1].new_page()
        view.on("console", lambda message: complaints.append(message.text))
        view.on("pageerror", lambda error: complaints.append(str(error)))
        view.on("request", lambda request: requests.append(request.url))
        view.route(lambda url: not url.startswith("file:"), lambda route: route.abort())
        view.goto(file.as_uri())
        assert requests.pop() == file.as_uri()
        return view

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []
    assert requests == []


def token(text, start, name=None, *, put=None, masked=False, probability=0.02, candidates=()):
    name = name or text
    masked = masked or put is not None
    return Token(
        token=name,
        start=start,
        end=start + len(text),
        masked=masked,
        generator_read="[MASK]" if masked else name,
        discriminator_read=put or name,
        replaced=put is not None,
        probability=probability,
        candidates=tuple(Candidate(*one) for one in candidates),
    )


SCHOOL = [("학교", 0.61), ("병원", 0.252), ("집", 0.04)]


def school(temperature=1.0, put="병원", probability=0.93):
    """A caught replacement (학교), a missed one (에), a false alarm (간다), lucky hits (는, and . with an alarm)."""
    tokens = (
        token("나", 0),
        token("는", 1, "##는", masked=True, probability=0.1),
        token("학교", 3, put=put, probability=probability, candidates=SCHOOL),
        token("에", 5, "##에", put="##도", probability=0.3),
        token("간다", 7, probability=0.75),
        token(".", 9, masked=True, probability=0.6),
    )
    return Reading("나는 학교에 간다.", tokens, temperature)


def odd():
    tokens = (token("나는", 0), token("학", 3), token("굥", 4, "##굥", probability=0.875, candidates=[("##교", 0.8)]))
    return Reading("나는 학굥", tokens)


TEXTS = {
    "korean": "  우리 학교에서는\t오늘  밥을 먹는다.\n\n\n어제는 산에 간다 ,  내일은 강에 간다 . \n",
    "english": "It isn't  so:\tan honest <b>tag</b> & an &amp; entity.\r\nThe end\r",
    "mixed": "나는 school에서 Python 3.12를 본다.",
    "emoji": "나는 👩‍👩‍👧 좋다 🏳️‍🌈 👍🏽.",
    "decomposed": unicodedata.normalize("NFD", "우리 학교는 크다."),
    "one long word": "가나다라마바사" * 40,
    "right to left": "나는 שלום 본다",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_text_stays_what_it_was_character_by_character(open_page, make_model, tokenizer, text):
    model = make_model(mask_prob=0.5)
    pieces = pieces_of_text(text, tokenizer, 12)
    reading = join(text, read_pieces(model, tokenizer, pieces), 1.0)
    documents = [{1.0: reading, 2.0: reading}]
    view = open_page(documents, viewport=PHONE)
    assert view.locator(".text").evaluate("e => e.textContent") == text
    view.locator("#temperature").press("End")
    assert view.locator(".text").evaluate("e => e.textContent") == text
    assert view.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


def test_what_is_copied_is_the_original_text_with_its_spaces_and_line_breaks(open_page):
    text = "나는  학교에\n\n\n  간다."
    tokens = (token("나는", 0, put="너는"), token("학교에", 4, probability=0.9), token("간다", 12), token(".", 14))
    view = open_page([{1.0: Reading(text, tokens, 1.0)}])
    view.locator(".text").evaluate("e => getSelection().selectAllChildren(e)")
    assert view.evaluate("getSelection().toString()") == text


def test_a_word_is_broken_only_where_it_is_wider_than_the_line(open_page):
    text = "한국어낱말 " * 12 + "가" * 100
    halves = [
        token(text[start:end], start, put="x")
        for word in range(0, 72, 6)
        for start, end in ((word, word + 2), (word + 2, word + 5))
    ]
    view = open_page([{1.0: Reading(text, (*halves, token("가" * 100, 72)), 1.0)}], viewport=PHONE)
    tops = view.locator(".w").evaluate_all(
        "words => words.map(w => [...w.children].map(t => t.getBoundingClientRect().top))"
    )
    assert all(len(set(places)) == 1 for places in tops)
    assert len({places[0] for places in tops}) >= 4  # the words fill several lines, also in a narrow font
    heights = view.locator(".w").evaluate_all("words => words.map(w => w.getBoundingClientRect().height)")
    assert heights[-1] > 3 * heights[0] / 2 and len(set(heights[:-1])) == 1
    assert view.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


def note(view, text):
    """What stands below the token `text`."""
    return view.locator(".text .t", has_text=text).first.evaluate(
        "e => getComputedStyle(e, '::after').content.slice(1, -1)"
    )


def test_replacements_and_signs_stand_below_the_original(open_page):
    view = open_page([{1.0: school()}])
    notes = {text: note(view, text) for text in ("학교", "에", "간다", "는", ".")}
    assert notes == {"학교": "병원 ✓", "에": "도 ✗", "간다": "!", "는": "=", ".": "= !"}
    assert view.locator(".text .t", has_text="나").get_attribute("data-note") is None


def test_the_slider_chooses_the_temperature(open_page):
    documents = [{0.5: school(0.5), 1.0: school(1.0), 2.0: school(2.0, put="산", probability=0.2)}]
    view = open_page(documents, at=1.0)
    slider, closing = view.get_by_role("slider", name="Temperature of the generator"), view.locator("article .closing")
    assert slider.get_attribute("aria-valuetext") == "temperature 1"
    assert closing.inner_text() == "3 of 6 tokens wrong; 1 of 2 replaced tokens caught"
    slider.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "temperature 2"
    assert view.locator("output").inner_text() == "2"
    assert note(view, "학교") == "산 ✗"
    assert closing.inner_text() == "4 of 6 tokens wrong; 0 of 2 replaced tokens caught"
    assert (
        view.locator(".text .t", has_text="학교")
        .get_attribute("aria-label")
        .startswith("학교, 20.0 %. Missed: replaced by “산”")
    )
    slider.press("Home")
    assert note(view, "학교") == "병원 ✓"


def test_the_total_follows_the_slider(open_page):
    documents = [{1.0: school(1.0), 2.0: school(2.0, probability=0.1)}] * 2
    view = open_page(documents)
    view.locator("#temperature").press("End")
    assert view.locator("#total").inner_text() == ("All 2 texts: 8 of 12 tokens wrong; 0 of 4 replaced tokens caught")


def facts(view):
    """The details as shown: the word, the verdict, the facts and the candidates with their numbers and bars."""
    return view.locator("#facts").evaluate(
        """e => ({
            paragraphs: [...e.querySelectorAll("p")].map(p => p.textContent),
            facts: Object.fromEntries(
                [...e.querySelectorAll("dt")].map(t => [t.textContent, t.nextSibling.textContent])
            ),
            candidates: [...e.querySelectorAll("li")].map(li => [
                ...[...li.querySelectorAll("b, em, span:last-child")].map(x => x.textContent),
                Math.round(1000 * parseFloat(getComputedStyle(li.querySelector("i"), "::before").width)
                    / li.querySelector("i").clientWidth),
            ]),
        })"""
    )


def test_pointing_at_a_token_shows_what_happened_and_the_candidates(open_page):
    view = open_page([{1.0: school()}])
    view.locator(".text .t", has_text="학교").hover()
    shown = facts(view)
    assert shown["paragraphs"] == ["학교", "Caught: replaced by “병원”, and the discriminator says so."]
    assert shown["facts"] == {"The generator read": "[MASK]", "It put there": "병원", "P(replaced)": "93.0 %"}
    assert [one[:3] for one in shown["candidates"]] == [
        ["학교", "original", "61.0 %"],
        ["병원", "It put there", "25.2 %"],
        ["집", "", "4.0 %"],
    ]
    assert [one[3] for one in shown["candidates"]] == pytest.approx([610, 252, 40], abs=15)
    view.locator(".text .t", has_text="나").hover()
    assert facts(view)["paragraphs"] == ["나", "Right: the original, and the discriminator says so."]
    view.locator(".text .t", has_text="에").hover()
    assert facts(view)["facts"]["Token"] == "##에"


def test_the_details_follow_the_slider(open_page):
    view = open_page([{1.0: school(1.0), 2.0: school(2.0, put="집", probability=0.11)}])
    view.locator(".text .t", has_text="학교").hover()
    view.locator("#temperature").focus()
    view.keyboard.press("End")
    assert facts(view)["facts"]["It put there"] == "집"
    assert facts(view)["facts"]["P(replaced)"] == "11.0 %"


def focused(view):
    return view.evaluate("document.activeElement.textContent")


def test_arrow_keys_walk_over_what_has_something_to_say_and_tab_leaves(open_page):
    view = open_page([{1.0: school()}, {1.0: school()}])
    view.locator("summary").focus()
    visited = []
    for key in ["Tab", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft", "Home", "End"]:
        view.keyboard.press(key)
        visited.append(focused(view))
    assert visited == ["는", "학교", "에", "간다", ".", "간다", "는", "."]
    assert facts(view)["paragraphs"][0] == "."
    view.keyboard.press("ArrowRight")  # into the next text
    assert view.evaluate("document.activeElement.closest('article').querySelector('h2').textContent") == "Text 2"
    view.keyboard.press("Shift+Tab")
    assert focused(view) == "."  # of the first text, where we left it
    view.keyboard.press("Tab")
    view.keyboard.press("Tab")
    assert view.evaluate("document.activeElement.id") == "close"


def test_one_token_of_a_text_is_in_the_tab_order_the_one_last_visited(open_page):
    view = open_page([{1.0: school()}])
    in_order = view.locator(".text [tabindex='0']")
    assert in_order.all_inner_texts() == ["는"]
    in_order.press("ArrowRight")
    assert in_order.all_inner_texts() == ["학교"]
    view.locator(".text .t", has_text="간다").click()
    assert in_order.all_inner_texts() == ["간다"]


def test_focus_is_visible(open_page):
    view = open_page([{1.0: school()}])
    view.locator("summary").focus()
    view.keyboard.press("Tab")
    style, width = view.evaluate(
        "() => { const s = getComputedStyle(document.activeElement); return [s.outlineStyle, s.outlineWidth] }"
    )
    assert style == "solid" and float(width.removesuffix("px")) >= 2


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_escape_closes_the_details_and_enter_opens_them_again(open_page, viewport):
    view = open_page([{1.0: school()}], viewport=viewport)
    view.locator("summary").focus()
    view.keyboard.press("Tab")
    assert view.locator("#facts .word").is_visible()
    view.keyboard.press("Escape")
    assert view.locator("#facts .word").count() == 0
    assert focused(view) == "는"
    view.keyboard.press("Enter")
    assert view.locator("#facts .word").inner_text() == "는"


def test_a_tap_opens_the_details_and_the_button_closes_them(open_page):
    view = open_page([{1.0: school()}], viewport=PHONE, has_touch=True, is_mobile=True)
    assert not view.locator("#details").is_visible()
    view.locator(".text .t", has_text="학교").tap()
    assert facts(view)["paragraphs"][0] == "학교"
    assert view.locator(".text .t", has_text="학교").bounding_box()["y"] < view.locator("aside").bounding_box()["y"]
    view.get_by_role("button", name="Close the details").tap()
    assert not view.locator("#details").is_visible()


@pytest.mark.parametrize(
    ("lang", "labels"),
    [
        (
            "en",
            [
                "는, 10.0 %. Lucky hit: it was masked, and the generator put the original back.",
                "학교, 93.0 %. Caught: replaced by “병원”, and the discriminator says so.",
                "에, 30.0 %. Missed: replaced by “도”, but the discriminator takes it for the original.",
                "간다, 75.0 %. False alarm: the original, but the discriminator says it was replaced.",
                "., 60.0 %. False alarm on a lucky hit: the generator put the original back.",
            ],
        ),
        (
            "ko",
            [
                "는, 10.0%. 우연히 맞힘: 가린 자리에 생성기가 원래 말을 그대로 넣었습니다.",
                "학교, 93.0%. 잡아냄: 넣은 말은 “병원”이고, 판별기도 바뀌었다고 보았습니다.",
                "에, 30.0%. 놓침: 넣은 말은 “도”인데, 판별기는 원본으로 보았습니다.",
                "간다, 75.0%. 헛짚음: 원본인데 판별기는 바뀌었다고 보았습니다.",
                "., 60.0%. 우연히 맞힌 자리를 헛짚음: 생성기가 원래 말을 그대로 넣었습니다.",
            ],
        ),
    ],
)
def test_a_screen_reader_hears_in_words_what_happened(open_page, lang, labels):
    view = open_page([{1.0: school()}], lang=lang)
    buttons = view.get_by_role("group").get_by_role("button")
    assert buttons.evaluate_all("all => all.map(e => e.ariaLabel)") == labels
    assert view.locator("#facts").get_attribute("aria-live") == "polite"
    assert view.get_by_role("main").count() == view.get_by_role("complementary").count() == 1
    assert view.locator("html").get_attribute("lang") == lang and view.locator(".text").get_attribute("lang") == "ko"


CONTRASTS = """() => {
    const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const light = (color) => {
        context.clearRect(0, 0, 1, 1);
        context.fillStyle = color;
        context.fillRect(0, 0, 1, 1);
        const [r, g, b] = [...context.getImageData(0, 0, 1, 1).data].map((v) => v / 255)
            .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const contrast = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    return [...document.querySelectorAll(".text .t")].map((token) => {
        const style = getComputedStyle(token);
        const paper = light(style.backgroundColor);
        const line = light(getComputedStyle(token, "::after").borderTopColor);
        return [contrast(light(style.color), paper), contrast(line, paper), paper];
    });
}"""


def coloured():
    probabilities = [0.0, 0.25, 0.5, 0.75, 1.0]
    tokens = [token("학교", 3 * n, put="집", probability=one) for n, one in enumerate(probabilities)]
    return Reading("학교 " * 5, tuple(tokens), 1.0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible_at_every_probability(open_page, scheme):
    view = open_page([{1.0: coloured()}], color_scheme=scheme, reduced_motion="reduce")
    text, line, paper = zip(*view.evaluate(CONTRASTS), strict=True)
    assert min(text) >= 4.5
    assert min(line) >= 3.0  # the lines below tokens are graphics
    assert list(paper) == sorted(paper, reverse=scheme == "light") and len(set(paper)) == 5


@pytest.mark.parametrize(
    ("scheme", "says"), [("light", ["Dark", "Light", "Dark"]), ("dark", ["Light", "Dark", "Light"])]
)
def test_the_button_says_what_it_does_and_does_it(open_page, scheme, says):
    view = open_page([{1.0: school()}], color_scheme=scheme)
    button, seen = view.locator("#dark"), []
    for said in says:
        assert button.inner_text() == said
        seen.append(view.evaluate("getComputedStyle(document.body).backgroundColor"))
        button.click()
    white = "rgb(255, 255, 255)"
    assert [one == white for one in seen] == [said == "Dark" for said in says] and seen[0] == seen[2]


def test_verdicts_differ_without_colour(open_page):
    view = open_page([{1.0: school()}], forced_colors="active")
    marks = view.locator(".text .t[data-note]").evaluate_all(
        """all => all.map(e => {
            const s = getComputedStyle(e, "::after");
            return [e.className.slice(2), s.borderTopStyle, s.borderTopWidth, s.content.slice(1, -1).split(" ").pop()];
        })"""
    )
    assert marks == [
        ["lucky", "dotted", "2px", "="],
        ["caught", "solid", "2px", "✓"],
        ["missed", "double", "4px", "✗"],
        ["false_alarm", "dashed", "2px", "!"],
        ["lucky_alarm", "dashed", "3px", "!"],
    ]


def test_the_legend_explains_every_mark(open_page):
    view = open_page([{1.0: school()}])
    explained = view.locator(".legend li .t").evaluate_all("all => all.map(e => e.className)")
    assert sorted(explained) == sorted(
        view.locator(".text .t[data-note]").evaluate_all("all => all.map(e => e.className)")
    )


def test_reduced_motion_moves_nothing(open_page):
    duration = "e => getComputedStyle(e).transitionDuration"
    still = open_page([{1.0: school()}], reduced_motion="reduce")
    assert still.locator(".text .t").first.evaluate(duration) == "0s"


def test_without_javascript_the_page_shows_its_temperature_and_offers_nothing_that_fails(open_page):
    documents = [{0.5: school(0.5, put="집"), 1.0: school(1.0)}]
    view = open_page(documents, at=1.0, java_script_enabled=False)
    assert view.locator(".text .caught").get_attribute("data-note") == "병원 ✓"
    assert view.locator("article .closing").inner_text() == "3 of 6 tokens wrong; 1 of 2 replaced tokens caught"
    assert view.locator("noscript").inner_text() == "Temperature of the generator: 1"
    assert not any(view.locator(name).is_visible() for name in ("#temperature", "#dark", "#details"))


def test_texts_stay_texts(open_page):
    hostile = "</script><script>document.title='taken'</script>"
    reading = Reading(hostile, (token(hostile, 0, put=hostile, candidates=[(hostile, 0.5)]),), 1.0)
    view = open_page([{1.0: reading}], title="Ours")
    view.locator(".text .t").hover()
    assert facts(view)["candidates"][0][0] == hostile
    assert view.title() == "Ours"


def test_odd_words_lead_to_their_place_in_the_text(open_page):
    view = open_page([{None: odd()}])
    assert view.locator("#temperature").count() == 0
    view.get_by_role("link", name="학굥").click()
    assert focused(view) == "굥"
    shown = facts(view)
    assert shown["paragraphs"] == ["굥", "Odd: the discriminator says it does not belong here."]
    assert shown["facts"] == {"Token": "##굥", "P(does not belong here)": "87.5 %"}
    assert shown["candidates"][0][:3] == ["##교", "", "80.0 %"]
    assert view.locator(".text [aria-label]").get_attribute("aria-label") == (
        "굥, 87.5 %. Odd: the discriminator says it does not belong here."
    )


def test_printed_it_is_the_texts_alone(open_page):
    view = open_page([{1.0: school(), 2.0: school(2.0)}], color_scheme="dark")
    view.emulate_media(media="print")
    assert not any(view.locator(name).is_visible() for name in ("#temperature", "#dark", "#details"))
    assert view.locator(".text").is_visible()
    assert view.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


needs_checkpoint = pytest.mark.skipif(
    os.environ.get("ELECTRA_RTD_WRITE_SCREENSHOTS") != "1"
    or not Path(os.environ.get("ELECTRA_RTD_SCREENSHOT_CHECKPOINT", "")).joinpath("config.json").is_file(),
    reason="pictures are written with ELECTRA_RTD_WRITE_SCREENSHOTS=1 and ELECTRA_RTD_SCREENSHOT_CHECKPOINT=FOLDER",
)
SENTENCES = [  # of the package's own sample text, on which the pair of the pictures was trained
    "실행 취소 기능을 직접 만들어 보면 스택이라는 자료구조가 왜 필요한지 몸으로 알게 된다.",
    "선형대수를 화살표와 격자의 움직임으로 설명하니 고윳값이 더는 외워야 할 기호가 아니게 되었다.",
    "k-평균 군집화는 초기 중심을 어디에 두느냐에 따라 결과가 달라질 수 있어 여러 번 되풀이해 가장 나은 것을 고른다.",
]
TYPOS = [  # the same with slips of the pen
    "실행 취소 기능을 직접 만들어 보면 스택이라는 냉장고가 왜 필요한지 몸으로 알개 된다.",
    "선형대수를 화살표와 격자의 움직임으로 설명하니 고윳값이 더는 외워야 할 기호가 안이게 돼었다.",
]


@pytest.fixture(scope="module")
def trained():
    folder = os.environ["ELECTRA_RTD_SCREENSHOT_CHECKPOINT"]
    return ElectraRTDForPreTraining.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def read_sentences(model, tokenizer, temperatures=(0.5, 1.0, 1.5, 2.0)):
    documents = []
    for sentence in SENTENCES:
        pieces, document = pieces_of_text(sentence, tokenizer, 64), {}
        for temperature in temperatures:
            with at_temperature(model, temperature):
                document[temperature] = join(sentence, read_pieces(model, tokenizer, pieces), temperature)
        documents.append(document)
    return documents


@needs_checkpoint
@pytest.mark.parametrize(
    ("name", "lang", "scheme", "viewport"),
    [("light", "en", "light", DESKTOP), ("dark", "ko", "dark", DESKTOP), ("phone", "ko", "light", PHONE)],
)
def test_pictures_of_readings(open_page, trained, name, lang, scheme, viewport):
    look = {"color_scheme": scheme, "device_scale_factor": 2 if viewport is PHONE else 1}
    names = {"title": None, "model_name": "electra-rtd-sample"}
    view = open_page(read_sentences(*trained), lang=lang, at=1.0, viewport=viewport, **names, **look)
    view.locator(".text .caught, .text .missed").first.hover()
    take_picture(view, name)


@needs_checkpoint
def test_picture_of_suspicious_words(open_page, trained):
    model, tokenizer = trained
    documents = [
        {None: join(text, find_suspicious(model, tokenizer, pieces_of_text(text, tokenizer, 64)))} for text in TYPOS
    ]
    names = {"title": None, "model_name": "electra-rtd-sample"}
    view = open_page(documents, lang="ko", color_scheme="light", **names)
    view.locator(".text .odd").first.hover()
    take_picture(view, "suspicious")


def take_picture(view, name):
    IMAGES.mkdir(parents=True, exist_ok=True)
    file = IMAGES / f"inspect-{name}.png"
    view.screenshot(path=file)
    assert file.stat().st_size < 250_000
