"""The credit line of a photo: title, author, source, licence (TASL) and the changes made.

The text comes from strangers, and ends in files, terminals and pages. It is made one line of plain text: no control or
bidirectional-override characters, no `<` or `>` that a careless page could take for markup, no endless titles.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final
from urllib.parse import quote, urlsplit

from fdf.consent.licenses import License

MAX_CHARACTERS: Final = 200
"""Longest title or author in a credit line; what is longer ends in "…"."""

UNTITLED, UNKNOWN_AUTHOR, NO_SOURCE, NO_LICENSE = "Untitled", "unknown author", "no source page", "no licence"

_JOINERS: Final = "\u200c\u200d"  # format characters that Persian, Indic scripts and emoji can't be written without
_BRACKETS: Final = str.maketrans({"<": "‹", ">": "›"})


def plain(text: str | None, limit: int = MAX_CHARACTERS) -> str:
    """`text` as one harmless line: NFC, invisible and control characters out, white space single, `<>` as `‹›`."""
    kept = []
    for char in unicodedata.normalize("NFC", text or ""):
        category = unicodedata.category(char)
        if category in ("Cc", "Zl", "Zp", "Zs"):
            kept.append(" ")
        elif category in ("Cs", "Cn", "Co"):
            kept.append("\ufffd")
        elif category != "Cf" or char in _JOINERS:
            kept.append(char)
    line = " ".join("".join(kept).translate(_BRACKETS).split()).strip(_JOINERS)
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def plain_url(url: str | None) -> str:
    """`url` with all that may not stand in a URL percent-encoded; empty unless it is http(s) with a host."""
    text = (url or "").strip()
    try:
        parts = urlsplit(text)
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"[\s\x00-\x1f\x7f]", text):
        return ""
    return quote(text.encode("utf-8", "replace"), safe="%/:=&?~#+!$,;@()*[]-._'")


def attribution(
    title: str | None, author: str | None, page_url: str | None, license: License | None, changes: str
) -> str:
    """The credit line of one photo, plain text in one line; what is missing is said.

    >>> from fdf.consent.licenses import LICENSES
    >>> attribution("Dawn", "Ada", "https://a.org/1", LICENSES["CC-BY-2.0"], "cropped")
    '“Dawn” by Ada, https://a.org/1, licensed under CC BY 2.0 (https://creativecommons.org/licenses/by/2.0/); changes: cropped'
    """
    name = plain(title)
    credit = f"“{name}”" if name else UNTITLED
    terms = NO_LICENSE
    if license is not None:
        verb = "licensed under" if license.attribution else "marked"
        terms = f"{verb} {license.name}" + (f" ({license.url})" if license.url else "")
    line = f"{credit} by {plain(author) or UNKNOWN_AUTHOR}, {plain_url(page_url) or NO_SOURCE}, {terms}"
    made = plain(changes, limit=1000)
    return f"{line}; changes: {made}" if made else line


def missing_parts(author: str | None, page_url: str | None, license: License | None) -> tuple[str, ...]:
    """Which of `author`, `source`, `licence` a complete attribution lacks; empty when it is complete.

    The title is not asked for: the licences want it "if supplied". Where the licence asks for no attribution (public domain),
    only the licence itself can be missing.
    """
    asked = license is None or license.attribution
    parts = (
        ("author", asked and not plain(author)),
        ("source", asked and not plain_url(page_url)),
        ("licence", license is None),
    )
    return tuple(name for name, missing in parts if missing)
