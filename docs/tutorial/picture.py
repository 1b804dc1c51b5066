"""Draws the picture of replaced token detection: `python docs/tutorial/picture.py` writes docs/images/rtd.*.png.

The Korean one needs a Hangul font (Noto Sans CJK).
"""

from pathlib import Path

import matplotlib
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch


IMAGES = Path(__file__).parent.parent / "images"
HANGUL_FONTS = ("Noto Sans CJK KR", "Noto Sans CJK JP", "NanumGothic", "Malgun Gothic", "AppleGothic")

INK, FAINT, MASK, LUCKY, REPLACED = "#1f2933", "#8a94a0", "#cfe3f7", "#d9efd8", "#f9d5c9"
GENERATOR, DISCRIMINATOR = "#2f6fab", "#a8482a"
ROWS = {"original": 5.4, "masked": 4.4, "sampled": 2.2, "labels": 0.0}  # heights of the rows of tokens
BOXES = {"generator": 3.3, "discriminator": 1.1}  # of the two networks

TEXTS = {
    "en": {
        "tokens": ["the", "author", "wrote", "a", "short", "book"],
        "samples": {1: "author", 4: "long"},
        "rows": {
            "original": "original",
            "masked": "generator reads",
            "sampled": "discriminator reads",
            "labels": "discriminator says",
        },
        "generator": "generator: small, predicts the masked tokens",
        "discriminator": "discriminator: judges every token",
        "verdicts": ("original", "replaced"),
        "mlm_loss": "mlm_loss:\nmasked tokens\nonly",
        "disc_loss": "disc_loss:\nevery token",
        "lucky": "lucky hit",
    },
    "ko": {
        "tokens": ["이", "책", "##은", "정말", "쉽", "##다"],
        "samples": {1: "책", 4: "어렵"},
        "rows": {
            "original": "원문",
            "masked": "생성기 입력",
            "sampled": "판별기 입력",
            "labels": "판별기의 답",
        },
        "generator": "생성기: 작은 모델, 가려진 토큰을 예측",
        "discriminator": "판별기: 모든 토큰을 판정",
        "verdicts": ("원본", "바뀜"),
        "mlm_loss": "mlm_loss:\n가려진 자리만",
        "disc_loss": "disc_loss:\n모든 토큰",
        "lucky": "우연한 적중",
    },
}


def draw(texts):
    """One picture. Args: texts (`dict`), of a language. Returns: `Figure`."""
    figure = Figure(figsize=(9.4, 4.6), dpi=100, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-2.5, 6.9), ylim=(-0.6, 6.0))
    axes.axis("off")
    for name, label in texts["rows"].items():
        axes.text(-0.7, ROWS[name], label, ha="right", va="center", color=FAINT, fontsize=11)
    for place, token in enumerate(texts["tokens"]):
        _column(axes, place, token, texts)
    _network(axes, texts, "generator", GENERATOR, "mlm_loss")
    _network(axes, texts, "discriminator", DISCRIMINATOR, "disc_loss")
    return figure


def _column(axes, place, token, texts):
    """What becomes of one token, from above."""
    sample = texts["samples"].get(place)
    replaced = sample not in (None, token)
    sample_colour = None if sample is None else REPLACED if replaced else LUCKY
    _cell(axes, place, ROWS["original"], token)
    _cell(axes, place, ROWS["masked"], token if sample is None else "[MASK]", None if sample is None else MASK)
    _cell(axes, place, ROWS["sampled"], token if sample is None else sample, sample_colour)
    _cell(axes, place, ROWS["labels"], texts["verdicts"][replaced], sample_colour if replaced else None)
    if sample == token:
        axes.text(place, ROWS["sampled"] - 0.5, texts["lucky"], ha="center", va="center", color=FAINT, fontsize=9)
    _arrow(axes, place, ROWS["original"], ROWS["masked"])
    if sample is None:  # untouched, it passes the generator by
        axes.plot([place] * 2, [ROWS["masked"] - 0.3, ROWS["sampled"] + 0.3], color=FAINT, lw=0.8, ls=":", zorder=0)
    else:
        _arrow(axes, place, ROWS["masked"], BOXES["generator"])
        _arrow(axes, place, BOXES["generator"], ROWS["sampled"])
    if sample != token:
        _arrow(axes, place, ROWS["sampled"], BOXES["discriminator"])
    _arrow(axes, place, BOXES["discriminator"], ROWS["labels"])


def _cell(axes, place, height, text, colour=None):
    if colour is not None:
        box = {"boxstyle": "round,pad=0.06", "facecolor": colour, "edgecolor": "none"}
        axes.add_patch(FancyBboxPatch((place - 0.36, height - 0.19), 0.72, 0.38, **box))
    axes.text(place, height, text, ha="center", va="center", color=INK, fontsize=12)


def _arrow(axes, place, start, end):
    style = {"arrowstyle": "-|>", "color": FAINT, "lw": 0.9}
    axes.annotate("", (place, end + 0.28), (place, start - 0.28), arrowprops=style, zorder=0)


def _network(axes, texts, name, colour, loss):
    low, high = -0.45, len(texts["tokens"]) - 0.55
    box = {"boxstyle": "round,pad=0.05", "facecolor": colour, "edgecolor": "none"}
    axes.add_patch(FancyBboxPatch((low, BOXES[name] - 0.22), high - low, 0.44, **box, zorder=2))
    middle = (low + high) / 2
    axes.text(middle, BOXES[name], texts[name], ha="center", va="center", color="white", fontsize=12, zorder=3)
    axes.text(high + 0.2, BOXES[name], texts[loss], ha="left", va="center", color=colour, fontsize=10)


def main():
    """Write both pictures."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    hangul = next((name for name in HANGUL_FONTS if name in installed), None)
    if hangul is None:
        raise SystemExit(f"The Korean picture needs a Hangul font, one of {', '.join(HANGUL_FONTS)}: install one.")
    IMAGES.mkdir(exist_ok=True)
    for lang, family in {"en": "DejaVu Sans", "ko": hangul}.items():
        with matplotlib.rc_context({"font.family": family}):
            draw(TEXTS[lang]).savefig(IMAGES / f"rtd.{lang}.png", metadata={"Software": None})


if __name__ == "__main__":
    main()
