"""HTML that cannot forget to escape: text becomes markup only through `element`."""

from __future__ import annotations

import html
import re
import unicodedata

# Written without an end tag; the stroke closes SVG's, which would hold what follows otherwise.
VOID = frozenset({"br", "img", "meta", "rect", "line"})


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def element(name: str, /, *children: str, **attributes: object) -> Html:
    """`<name attribute="...">children</name>`; children that are not Html are escaped, as are attributes.

    In attribute names `_` stands for `-`, and a trailing one is dropped (`class_`). None leaves one out.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Html(f"<{name}{written}/>")
    return Html(f"<{name}{written}>{join(*children)}</{name}>")


def join(*children: str) -> Html:
    """The children one after the other, escaped where they are not Html."""
    return Html("".join(child if isinstance(child, Html) else escape(child) for child in children))


def escape(text: str) -> Html:
    """Text as HTML shows it."""
    return Html(html.escape(printable(text)))


def escape_markdown(text: str) -> str:
    """Text as Markdown shows it, in one line, inside a table as well."""
    plain = re.sub(r"([\\`*_{}\[\]|#~])", r"\\\1", printable(text))
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def printable(text: str) -> str:
    """The text without line ends, controls and halves of characters, which file names may hold."""
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") else c
        for c in text
    )
