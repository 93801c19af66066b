"""HTML that is safe by its making: whatever text is not HTML already is escaped."""

from __future__ import annotations

import html

VOID = {"img", "meta"}
"""Elements without an end tag."""


class Html(str):
    """Text that is HTML already."""


def escaped(text: str) -> Html:
    """Return `text` as HTML that shows it; what is HTML already stays as it is.

    >>> escaped("a < b"), escaped(Html("<b>"))
    ('a &lt; b', '<b>')
    """
    return text if isinstance(text, Html) else Html(html.escape(text))


def joined(*parts: str) -> Html:
    """Return the parts one after another, those that are not HTML escaped."""
    return Html("".join(map(escaped, parts)))


def tag(name: str, /, *children: str, **attributes: str | int) -> Html:
    """Return an element; an underscore at the end of an attribute's name is dropped, one within it stands for a hyphen.

    >>> tag("p", "1 < 2", tag("b", "!"), class_="note")
    '<p class="note">1 &lt; 2<b>!</b></p>'
    """
    given = "".join(f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"' for key, value in attributes.items())
    start = f"<{name}{given}>"
    return Html(start if name in VOID else f"{start}{joined(*children)}</{name}>")
