"""A recipe for a person: every number with its source, and what of it is not the preset's."""

import textwrap

from .presets import GROUPS, PRESETS, SOURCES


WIDTH = 100  # columns of a terminal
NAME, VALUE = 30, 14  # of them


def recipe_text(recipe):
    """All of a recipe.

    Args: recipe ([`RecipeInEffect`]). Returns: `str`, lines of at most 100 columns.
    """
    preset = PRESETS[recipe.preset]
    rows = [f"{recipe.preset}: {preset.about}"]
    settings = {one.name: one for one in recipe.settings}
    for group, names in GROUPS.items():
        rows += ["", group, *(line for name in names if name in settings for line in _row(settings[name]))]
    rows += ["", *_closing(recipe, settings)]
    for note in preset.notes:
        rows += ["", *textwrap.wrap(note, WIDTH)]
    used = {number.source.removeprefix("as the paper, says ").partition(",")[0] for number in preset.numbers.values()}
    rows += ["", *(f"{name}: {url}" for name, url in SOURCES.items() if name in used)]
    return "\n".join(rows)


def recipe_line(recipe):
    """A recipe in a few words, for the log of a run. Args: recipe ([`RecipeInEffect`]). Returns: `str`."""
    others = ", ".join(
        f"{one.name} {shown(one.value)} (preset: {shown(one.published)})" for one in recipe.overridden()
    )
    return (
        f"Recipe {recipe.preset}: a step has {recipe.step}. Not the preset's: {others or 'nothing'}. "
        "`print_recipe` shows all of it."
    )


def shown(value):
    """A number as a person writes it: `str`."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def _row(one):
    source = one.source if one.published is None else f"{one.source} (preset: {shown(one.published)})"
    lines = textwrap.wrap(source, WIDTH - NAME - VALUE - 2)
    indent = " " * (NAME + VALUE + 2)
    return [f"  {one.name:<{NAME}}{shown(one.value):<{VALUE}}{lines[0]}", *(f"{indent}{line}" for line in lines[1:])]


def _closing(recipe, settings):
    rows = [f"A step has {recipe.step} here; on an accelerator, as many rows at once as fit."]
    steps = settings["max_steps"].value
    if isinstance(steps, int):
        tokens = settings["batch"].value * steps * recipe.max_seq_length
        rows.append(f"The run reads up to {tokens / 1e9:,.3g} billion tokens.")
    return rows
