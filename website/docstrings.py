"""Docstrings as Markdown, for the reference pages: an extension of griffe, which mkdocstrings reads Python with."""

import ast
import re
from pathlib import Path

import griffe


ROOT = Path(__file__).parents[1]
PACKAGES = ("electra_rtd", "electra_rtd.hub_tools", "electra_rtd.train_tools")  # a page each
HEADING = re.compile(r"^(Args|Attributes|Returns|Yields|Raises):(.*)$")
NAMES = re.compile(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*)(?= \()")  # of an entry, before its types
OPENING = re.compile(r"^(\w+(?:, \w+)*):(?= )")  # of an error, before when it is raised
REFERENCE = re.compile(r"\[`([\w.]+)`\](?![\[(])")


def public_names(package):
    """What a package says of itself, without importing it. Args: package (`str`).

    Returns: its docstring (`str`), and `list[str]`: its `__all__`.
    """
    folder = ROOT.joinpath(*package.split(".")[1:])
    tree = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
    is_all = lambda node: isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"  # noqa: E731
    names = ast.literal_eval(next(filter(is_all, tree.body)).value)
    return ast.get_docstring(tree), [name for name in names if not name.startswith("__")]


HOMES = {name: f"{package}.{name}" for package in PACKAGES for name in public_names(package)[1]}


class Docstrings(griffe.Extension):
    """Rewrite what is read: lists under bold words for `Args:` and its like, and links between public names."""

    def on_instance(self, *, obj, **_):
        """Called with every module, class, function and attribute."""
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text):
    """A docstring as Markdown.

    Args:
        text (`str`): without common indentation.

    Returns:
        `str`: the same words.
    """
    lines, entry_at, kind = [], None, None
    for line in text.split("\n"):
        heading = HEADING.match(line)
        indent = len(line) - len(line.lstrip())
        if heading:
            kind, entry_at = heading[1], None
            lines += ["", f"**{kind}**{':' + heading[2] if heading[2] else ''}", ""]
        elif kind is None or not line.strip():
            lines.append(line)
        elif indent == 0:
            kind = None
            lines += ["", line]
        elif kind in ("Returns", "Yields"):
            lines.append(line.strip())
        elif entry_at is None or indent <= entry_at:
            entry_at = indent
            lines.append(f"- {with_names(line.strip())}")
        else:
            lines.append(f"    {line.strip()}")
    return REFERENCE.sub(
        lambda found: f"[`{found[1]}`][{HOMES[found[1]]}]" if found[1] in HOMES else f"`{found[1]}`", "\n".join(lines)
    )


def with_names(entry):
    """The names that an entry begins with, as code. Args: entry (`str`). Returns: `str`."""
    code = lambda found: ", ".join(f"`{name}`" for name in found[1].split(", "))  # noqa: E731
    return NAMES.sub(code, entry) if NAMES.match(entry) else OPENING.sub(lambda found: f"{code(found)}:", entry)
