"""The site has no pages for the repository's other files: a link to one becomes the file's name."""

import posixpath
import re

from mkdocs.structure.pages import Page

LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^):#]+)\)")


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Return a page whose links stay within docs/."""
    here = posixpath.join("docs", posixpath.dirname(page.file.src_uri))

    def replaced(link: re.Match[str]) -> str:
        text, place = link[1], posixpath.normpath(posixpath.join(here, link[2]))
        if place.startswith("docs/"):
            return link[0]
        return f"`{place}`" if text == place else f"{text} (`{place}`)"

    return LINK.sub(replaced, markdown)
