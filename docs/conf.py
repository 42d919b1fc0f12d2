"""The documentation as a site: `make docs`. The pages are read on their own too, so links are those between files."""

import os
import re
from pathlib import Path

from sphinx.application import Sphinx

DOCS = Path(__file__).parent
ROOT = DOCS.parent
# pages of the site that are files elsewhere
ELSEWHERE = {
    "index": "README.md",
    "contributing": "CONTRIBUTING.md",
    "changelog": "CHANGELOG.md",
    "containers": "docker/README.md",
}

project = "tunebench"
author = "The tunebench authors"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["README.md"]
myst_heading_anchors = 4
nitpick_ignore_regex = [("py:.*", ".*")]  # types in signatures, many of other projects, lead nowhere
autodoc_member_order = "bysource"
autodoc_class_signature = "separated"
autodoc_inherit_docstrings = False  # those of others are in another markup
default_role = "code"  # docstrings have `names` in single quotes
html_theme = "furo"
html_title = "tunebench"
html_copy_source = False


def page(app: Sphinx, name: str, content: list[str]) -> None:
    """Put in a file from elsewhere, and have links lead to pages of the site or, to files that are none, nowhere."""
    file = ROOT / ELSEWHERE[name] if name in ELSEWHERE else DOCS / f"{name}.md"
    text = content[0] if file.is_relative_to(DOCS) else f"{file.read_text()}\n{content[0]}"
    home = (DOCS / name).parent

    def linked(found: re.Match[str]) -> str:
        mark, label, target, anchor = found.groups(default="")
        goal = Path(os.path.normpath(file.parent / target))
        names = {ROOT / path: DOCS / f"{site}.md" for site, path in ELSEWHERE.items()}
        goal = names.get(goal, goal)
        if not goal.is_relative_to(DOCS):
            return label if label.startswith("`") else f"{label} (`{goal.relative_to(ROOT)}`)"
        return f"{mark}[{label}]({os.path.relpath(goal, home)}{anchor})"

    if name == "decisions/README":
        text += "\n```{toctree}\n:hidden:\n:glob:\n\n[0-9]*\n```\n"
    parts = re.split(r"(^```.*?^```)", text, flags=re.DOTALL | re.MULTILINE)
    link = r"(!?)\[([^]]*)\]\((?!\w+:)([^)#]+)(#[^)]*)?\)"
    parts[::2] = [re.sub(link, linked, part) for part in parts[::2]]
    content[0] = "".join(parts)


def plain(app: Sphinx, what: str, name: str, of: object, options: object, lines: list[str]) -> None:
    """Docstrings are plain text with `names`: nothing else in them is markup, and indented lines are code."""
    for i, line in enumerate(lines):
        parts = re.split(r"(`[^`]+`)", line)
        parts[::2] = [re.sub(r"(?<!^)([*|_])", r"\\\1", part) for part in parts[::2]]
        lines[i] = "".join(parts)


def setup(app: Sphinx) -> None:
    app.connect("source-read", page)
    app.connect("autodoc-process-docstring", plain)
