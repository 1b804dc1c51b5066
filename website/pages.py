"""The pages of the documentation site, gathered from where they stand: hooks of mkdocs (`make site`).

Every file keeps the path that it has in the repository, so that links between files work here as they do on GitHub.
Notebooks and Python files that are linked become pages; Korean pages get a Korean interface.
"""

import json
import os
import re
import shutil
from pathlib import Path

from docstrings import PACKAGES, public_names  # beside this file
from mkdocs.structure.files import File, Files


ROOT = Path(__file__).parents[1]
START = ("README.md", "README.ko.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "examples/README.md")
LINK = re.compile(r"(\]\()(?![a-z]+:|/)([^)#\s]+)")
ENTRY = re.compile(r"(?:\d+\.|[-*]) ")  # of a list
FENCED = re.compile(r"^( *)(```|~~~).*?^\1\2", re.MULTILINE | re.DOTALL)
MADE_PAGES = (".ipynb", ".py")
FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


def on_config(config):
    """Put the package, and nothing else of the repository, where its docstrings are read; fill in the navigation."""
    package = ROOT / ".site" / "reference" / "electra_rtd"
    shutil.rmtree(package.parent, ignore_errors=True)
    package.mkdir(parents=True)
    for source in (*ROOT.glob("*.py"), ROOT / "hub_tools", ROOT / "train_tools"):
        (package / source.name).symlink_to(source)
    guides = sorted((ROOT / "docs").glob("*.md"))
    korean = [{"시작하기": "README.ko.md"}, "docs/tutorial.ko.ipynb.md"]
    korean += [f"docs/{path.name}" for path in guides if is_korean(path)]
    filled = {
        "docs/*": [f"docs/{path.name}" for path in guides if not is_korean(path)],
        "reference/*": ["reference/commands.md", *(f"reference/{name}.md" for name in PACKAGES)],
        "*.ko": korean,
    }
    for row in config.nav:
        for title, pages in row.items():
            if isinstance(pages, list):
                row[title] = [page for entry in pages for page in filled.get(entry, [entry])]
    return config


def is_korean(path):
    """Whether a page is in Korean. Args: path (`Path` or `str`). Returns: `bool`."""
    return ".ko." in Path(path).name


def on_files(files, config):
    """All files of the site: those of `START`, and whatever is linked from one that is there.

    Args:
        files (`Files`): those of docs/, by their paths in it. config (`MkDocsConfig`)

    Returns:
        `Files`: by their paths in the repository.
    """
    kept = [
        file for file in files if file.src_uri.startswith(("assets/", "website.css")) or file.inclusion.is_excluded()
    ]
    wanted = [*START, *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
    wanted += [f"docs/{path.name}" for path in (ROOT / "docs").glob("*.ipynb")]
    found = {}
    while wanted:
        name = wanted.pop()
        if name in found or not (ROOT / name).is_file():  # mkdocs itself says which link is broken
            continue
        found[name] = make_file(name, config)
        if found[name].is_documentation_page():
            links = LINK.findall(FENCED.sub("", found[name].content_string))
            folder = Path(name).parent
            wanted += [
                resolved(folder / link.removesuffix(".md") if made(link) else folder / link) for _, link in links
            ]
    for name in PACKAGES:
        found[name] = File.generated(config, f"reference/{name}.md", content=reference(name))
    found["commands"] = File.generated(config, "reference/commands.md", content=commands())
    style = File.generated(config, "website.css", abs_src_path=str(ROOT / "website" / "website.css"))
    return Files([*kept, style, *found.values()])


def made(link):
    """Whether a link is to a page made here of another file. Args: link (`str`). Returns: `bool`."""
    return link.endswith(tuple(f"{ending}.md" for ending in MADE_PAGES))


def resolved(path):
    """A path from the root without `..`. Args: path (`Path`). Returns: `str`: one that leaves the root is no file."""
    parts = []
    for part in path.parts:
        if part != "..":
            parts.append(part)
        elif parts:
            parts.pop()
    return "/".join(parts)


def make_file(name, config):
    """A file of the site.

    Args:
        name (`str`): its path in the repository. config (`MkDocsConfig`)

    Returns:
        `File`: of a notebook and of Python, a page; its address has no `docs/`.
    """
    path = ROOT / name
    if path.suffix == ".ipynb":
        file = File.generated(config, f"{name}.md", content=with_made_pages(notebook(path)))
    elif path.suffix == ".py":
        file = File.generated(config, f"{name}.md", content=f"# {path.name}\n\n```python\n{path.read_text()}```\n")
    elif path.suffix == ".md":
        text = FRONT_MATTER.sub("", path.read_text(encoding="utf-8"))  # a card's: not for mkdocs
        file = File.generated(config, name, content=indented(with_made_pages(text)))
    else:
        file = File.generated(config, name, abs_src_path=str(path))
    file.dest_uri = file.dest_uri.removeprefix("docs/")
    return file


def with_made_pages(text):
    """Markdown whose links to notebooks and Python files lead to the pages made of them.

    Args: text (`str`). Returns: `str`.
    """
    return LINK.sub(lambda link: link[0] + ".md" if link[2].endswith(MADE_PAGES) else link[0], text)


def indented(text):
    """Markdown whose lists Python-Markdown reads as GitHub does: what belongs to an entry is indented by four.

    Args: text (`str`). Returns: `str`.
    """
    lines, fence = [], None  # in a fence, all lines move as its first one did
    second = False  # in a later paragraph of an entry: the next entry needs an empty line before it
    for line in text.split("\n"):
        indent = len(line) - len(line.lstrip(" "))
        more = fence[1] if fence else 4 - indent if indent in (2, 3) else 0
        if line.lstrip().startswith(("```", "~~~")):
            fence = None if fence and line.strip() == fence[0] else fence or (line.lstrip()[:3], more)
        elif line and not indent and not fence:
            if second and ENTRY.match(line):
                lines.append("")
            second = False
        elif line and not fence:
            second = second or not lines[-1]
        lines.append(" " * more + line if line else line)
    return "\n".join(lines)


def notebook(path):
    """A notebook as Markdown: its texts, its code, and what the code printed, with pictures.

    Args: path (`Path`). Returns: `str`.
    """
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
        elif cell["cell_type"] == "code":
            parts.append(f"```python\n{source}\n```")
            parts += filter(None, map(output, cell["outputs"]))
    return "\n\n".join(parts)


def output(one):
    """What a cell of a notebook printed, as Markdown. Args: one (`dict`). Returns: `str`."""
    data = one.get("data", {})
    for kind in ("image/png", "image/jpeg"):
        if kind in data:
            return f'<img alt="" src="data:{kind};base64,{"".join(data[kind]).strip()}">'
    if "text/html" in data:
        return f'<div class="notebook-html">{"".join(data["text/html"])}</div>'
    text = "".join(one.get("text", data.get("text/plain", "")))
    return f"```text\n{text.rstrip()}\n```" if text.strip() else ""


def reference(package):
    """The page of a package: its public names, in the order of its `__all__`.

    Args: package (`str`). Returns: `str`.
    """
    about, names = public_names(package)
    rows = [f"# {package}", about, f"What `from {package} import ...` gives."]
    return "\n\n".join([*rows, *(f"::: {package}.{name}" for name in names)])


def commands():
    """The page of the commands: what `--help` says of each. Returns: `str`."""
    os.environ["COLUMNS"] = "100"  # argparse breaks lines there
    from electra_rtd.parsers import PARSERS  # here, because it takes seconds

    rows = ["# Commands", "What `electra-rtd COMMAND --help` prints."]
    for name, parser in PARSERS.items():
        rows.append(f"## electra-rtd {name}\n\n```text\n{parser().format_help().strip()}\n```")
    return "\n\n".join(rows)


def on_page_context(context, page, config, nav):
    """The language of a page: its interface, and the way to the same page in the other language."""
    name = page.file.src_uri
    korean = is_korean(name)
    config.theme["language"] = "ko" if korean else "en"
    pages = {one.file.src_uri: one for one in nav.pages}
    other = re.sub(r"\.(ko|en)\.", ".en." if korean else ".ko.", name) if re.search(r"\.(ko|en)\.", name) else None
    other = other if other in pages else name.replace(".ko.", ".") if korean else name.replace(".md", ".ko.md")
    other = other if other in pages else "README.md" if korean else "README.ko.md"
    here, there = page.url, pages[other].url
    relative = {"en": there if korean else here, "ko": here if korean else there}
    config.extra["alternate"] = [
        {"name": "English", "lang": "en", "link": f"./{relative['en']}"},
        {"name": "한국어", "lang": "ko", "link": f"./{relative['ko']}"},
    ]
    return context


def on_post_page(output, page, config):
    """Without the list of languages that Material's script would look for a sitemap by: there is none."""
    return re.sub(r'<link rel="alternate"[^>]*hreflang[^>]*>', "", output)
