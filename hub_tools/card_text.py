"""The text of a README: its metadata block, and the marked sections in it that belong to us."""

import yaml

from .checks.metadata import metadata_block


def section(text, start, end, at=0):
    """The first marked section.

    Args:
        text (`str`)
        start (`re.Pattern`), end (`str`): its marks.
        at (`int`): where to begin to look.

    Returns:
        `tuple`: the match of its start (`re.Match`) and where it ends (`int`); `None` where there is none
    """
    # Not one expression for both: for many starts without an end it takes hours.
    begin = start.search(text, at)
    stop = text.find(end, begin.end()) if begin else -1
    return (begin, stop + len(end)) if begin and stop >= 0 else None


def sections(text, start, end):
    """Every marked section, as [`section`] gives one: an iterator."""
    at = 0
    while found := section(text, start, end, at):
        yield found
        at = found[1]


def replaced(text, start, end, content):
    """A text with other content in place of its marked sections.

    Args:
        text (`str`), start (`re.Pattern`), end (`str`): as in [`section`].
        content (`str`, or a function): of all of them; a function makes it of the match of the start, and the section.

    Returns:
        `str`
    """
    parts, at = [], 0
    for begin, stop in sections(text, start, end):
        new = content(begin, text[begin.start() : stop]) if callable(content) else content
        parts += [text[at : begin.start()], new]
        at = stop
    return "".join([*parts, text[at:]])


def with_metadata(text, metadata):
    """A README with other metadata, in the line ends that it has.

    Args:
        text (`str`)
        metadata (`dict`)

    Returns:
        `str`
    """
    block = metadata_block(text)
    line_break = "\r\n" if "\r\n" in text else "\n"
    written = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True).replace("\n", line_break)
    return f"---{line_break}{written}---{line_break}{text[block[1] :] if block else text}"
