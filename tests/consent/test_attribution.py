"""Credit lines: complete, in one line, harmless wherever they end up."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdf.consent.attribution import attribution, missing_parts, plain, plain_url
from fdf.consent.licenses import LICENSES

BY = LICENSES["CC-BY-2.0"]
PAGE = "https://www.flickr.com/photos/1@N00/2/"


def test_title_author_source_licence_and_changes() -> None:
    assert attribution("Dawn", "Ada", PAGE, BY, "cropped and resized") == (
        f"“Dawn” by Ada, {PAGE}, licensed under CC BY 2.0 (https://creativecommons.org/licenses/by/2.0/); "
        "changes: cropped and resized"
    )
    assert attribution(None, "Ada", PAGE, LICENSES["CC0-1.0"], "") == (
        f"Untitled by Ada, {PAGE}, marked CC0 1.0 (https://creativecommons.org/publicdomain/zero/1.0/)"
    )
    assert attribution(" ", None, None, None, "cropped") == (
        "Untitled by unknown author, no source page, no licence; changes: cropped"
    )


@pytest.mark.parametrize(
    ("hostile", "harmless"),
    [
        ("two\r\nlines\u2028three\tfour", "two lines three four"),
        ("\x1b[31mred\x07", "[31mred"),
        ("a\u202egpj.exe\u2066\u200f", "agpj.exe"),
        ("<script>alert(1)</script>", "‹script›alert(1)‹/script›"),
        ("e\u0301", "é"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("می\u200cخواهم 👩\u200d🚀", "می\u200cخواهم 👩\u200d🚀"),
        ("\u200d", ""),
        ("x" * 300, "x" * 199 + "…"),
        ("\x00\ud800", "\ufffd"),
    ],
)
def test_hostile_titles(hostile: str, harmless: str) -> None:
    assert plain(hostile) == harmless


@given(st.text(), st.text(), st.text(), st.text())
def test_any_text_makes_one_harmless_line(title: str, author: str, page: str, changes: str) -> None:
    line = attribution(title, author, f"https://example.org/{page}", BY, changes)
    assert "CC BY 2.0" in line
    assert not set(line) & set("<>\n\r\t\x00")
    assert not {unicodedata.category(char) for char in line} & {"Cc", "Zl", "Zp", "Cs"}
    assert not set(line) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    assert plain(plain(title)) == plain(title)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        (PAGE, PAGE),
        ('https://example.org/é?q=<b>"', "https://example.org/%C3%A9?q=%3Cb%3E%22"),
        ("https://example.org/a%20b", "https://example.org/a%20b"),
        ("javascript:alert(1)", ""),
        ("https://", ""),
        ("https://[bad", ""),
        ("https://example.org/a b", ""),
        ("/relative", ""),
        (None, ""),
    ],
)
def test_only_web_pages_are_sources(url: str | None, kept: str) -> None:
    assert plain_url(url) == kept


def test_missing_parts() -> None:
    assert missing_parts("Ada", PAGE, BY) == ()
    assert missing_parts(" \u200b", "ftp://x/", BY) == ("author", "source")
    assert missing_parts(None, None, None) == ("author", "source", "licence")
    assert missing_parts(None, None, LICENSES["CC0-1.0"]) == ()
