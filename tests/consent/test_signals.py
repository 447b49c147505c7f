"""Signals against use: response headers and tags."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdf.consent.signals import FORBIDDING, opted_out_by_tags, robots_signal

AGENT = "fdf/0.1 (+mailto:contact@example.org)"


@pytest.mark.parametrize(
    ("value", "directive"),
    [
        ("noai", "noai"),
        ("noimageai", "noimageai"),
        ("noindex", "noindex"),
        ("none", "none"),
        ("NoAI", "noai"),
        ("NOINDEX, NOFOLLOW", "noindex"),
        ("nofollow , noimageai", "noimageai"),
        ("max-image-preview:large, noai", "noai"),
        ("noindex, unavailable_after: 25 Jun 2030 15:00:00 PST", "noindex"),
        ("unavailable_after: Wed, 25 Jun 2030 15:00:00 GMT, noai", "noai"),
        ("otherbot: nofollow, fdf: noai", "fdf: noai"),
        ("otherbot: noindex\nnoai", "noai"),
        ("FDF: none", "fdf: none"),
        ("fdf/2: noindex", "fdf/2: noindex"),
        ("*: noai", "*: noai"),
        ("otherbot: nofollow, noai", "noai"),  # may be two headers joined on the way: taken as said to all
        ("fdf: nofollow, noai", "noai"),
        ("noarchive; noai", "noai"),
        ('"noai"', "noai"),
        ("", None),
        ("all", None),
        ("index, follow", None),
        ("nofollow, noarchive, nosnippet, notranslate", None),
        ("max-image-preview: none", None),
        ("max-image-preview:large, max-snippet:-1", None),
        ("unavailable_after: Wed, 25 Jun 2030 15:00:00 GMT", None),
        ("otherbot: noai", None),
        ("otherbot: noindex, nofollow", None),
        ("fdfbot: noai", None),
        ("fdf: max-image-preview:none", None),
        ("noaid, nonesuch, noindexing", None),
    ],
)
@pytest.mark.parametrize("header", ["X-Robots-Tag", "x-robots-tag"])
def test_x_robots_tag(header: str, value: str, directive: str | None) -> None:
    expected = None if directive is None else f"X-Robots-Tag: {directive}"
    for agent in (AGENT, "fdf", "FDF"):
        assert robots_signal({"Content-Type": "image/jpeg", header: value}, agent) == expected


@pytest.mark.parametrize(
    ("value", "forbids"), [("1", True), (" 1 ", True), ("1, 1", True), ("0", False), ("", False), ("11", False)]
)
def test_tdm_reservation(value: str, forbids: bool) -> None:
    assert robots_signal({"tdm-reservation": value}, AGENT) == ("TDM-Reservation: 1" if forbids else None)


def test_other_headers_say_nothing() -> None:
    assert robots_signal({}, AGENT) is None
    assert robots_signal({"Robots": "noai", "X-Robots": "noindex"}, AGENT) is None


@given(st.text(), st.sampled_from(sorted(FORBIDDING)), st.sampled_from([",", ", ", "\n"]))
def test_a_bare_refusal_is_seen_behind_anything(before: str, word: str, comma: str) -> None:
    assert robots_signal({"X-Robots-Tag": before + comma + word}, AGENT) is not None


@pytest.mark.parametrize(
    ("tags", "machine_tags", "tag"),
    [
        (["cat", "no_cv"], None, "no_cv"),
        (["nocv"], [], "nocv"),
        (["No CV"], [], "No CV"),
        (["#no-cv"], [], "#no-cv"),
        (["ＮＯ＿ＣＶ"], [], "ＮＯ＿ＣＶ"),
        ([], ["fdf:no_cv=1"], "fdf:no_cv=1"),
        ([], ["ns:nocv="], "ns:nocv="),
        ([], ["ns:NO_CV=yes"], "ns:NO_CV=yes"),
        ([], ["consent:fdf=no_cv"], "consent:fdf=no_cv"),
        ([], ["no_cv"], "no_cv"),
        ([], ["fdf:no_cv=0"], None),
        ([], ["fdf:no_cv=false"], None),
        (["cv", "no", "no_cvs", "casino_cv"], ["geo:lat=1", "a:b=no"], None),
        (None, None, None),
    ],
)
def test_opt_out_by_tags(tags: list[str] | None, machine_tags: list[str] | None, tag: str | None) -> None:
    assert opted_out_by_tags(tags, machine_tags) == tag
