"""What the site does beside its plugins: links that leave docs/ become names of files, formulae become MathML, which needs no script."""

import posixpath
import re
from html import unescape

from latex2mathml.converter import convert
from mkdocs.structure.pages import Page

LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^):#]+)\)")
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', flags=re.DOTALL)


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Return a page whose links stay within docs/: there are no pages for the repository's other files."""
    here = posixpath.join("docs", posixpath.dirname(page.file.src_uri))

    def replaced(link: re.Match[str]) -> str:
        text, place = link[1], posixpath.normpath(posixpath.join(here, link[2]))
        if place.startswith("docs/"):
            return link[0]
        return f"`{place}`" if text == place else f"{text} (`{place}`)"

    return LINK.sub(replaced, markdown)


def on_page_content(html: str, **_: object) -> str:
    """Return a page's HTML with its formulae, as arithmatex marks them, written as MathML."""

    def written(formula: re.Match[str]) -> str:
        return convert(unescape(formula[2]), display="block" if formula[1] == "div" else "inline")

    return FORMULA.sub(written, html)
