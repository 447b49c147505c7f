"""The licence registry: every spelling that is met in the wild, and nothing that was not said."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdf.consent.licenses import (
    LICENSES,
    RIGHTS,
    VERSIONS,
    License,
    combined_rights,
    find_flickr_license,
    find_license,
    refusal,
)
from fdf.vocabulary import Reason

SOUP = (
    "cc",
    "by",
    "nc",
    "sa",
    "nd",
    "-",
    "_",
    "/",
    "(",
    "2.0",
    "4.0",
    "de",
    "license",
    "noderivs",
    "all",
    "rights",
    "reserved",
    "attribution",
)
CODES = ("by", "by-sa", "by-nd", "by-nc", "by-nc-sa", "by-nc-nd")
WORDS = {"by": "Attribution", "nc": "NonCommercial", "sa": "ShareAlike", "nd": "NoDerivs"}
ALL = list(itertools.product(CODES, VERSIONS))


def found(name: str | None = None, url: str | None = None) -> str | None:
    licence = find_license(name, url)
    return licence.id if licence else None


def test_registry_rows_say_what_their_ids_say() -> None:
    assert {f"CC-{code.upper()}-{version}" for code, version in ALL} <= set(LICENSES)
    for spdx, row in LICENSES.items():
        assert row.id == spdx
        assert row.rights_class in RIGHTS
        if spdx.startswith("CC-BY"):
            parts = spdx.split("-")
            assert row.attribution
            assert (row.noncommercial, row.share_alike, row.no_derivatives) == (
                "NC" in parts,
                "SA" in parts,
                "ND" in parts,
            )
            asks = "-".join(part.lower() for part in parts if part in ("BY", "NC", "SA"))
            assert row.rights_class == ("nd" if row.no_derivatives else asks)
            assert found(url=row.url) == found(name=row.name) == found(name=spdx) == found(name=spdx.lower()) == spdx
        else:
            assert not row.attribution
            assert row.rights_class == ("pd" if row.usable else "none")
            assert found(name=spdx) == found(name=row.name) == spdx
            assert not row.url or found(url=row.url) == spdx


@pytest.mark.parametrize(("code", "version"), ALL)
def test_every_variant_of_a_creative_commons_url(code: str, version: str) -> None:
    expected = f"CC-{code.upper()}-{version}"
    base = f"creativecommons.org/licenses/{code}/{version}"
    for start, end in itertools.product(
        ("http://", "https://", "//", "", "https://www.", "HTTP://WWW."),
        (
            "",
            "/",
            "/deed",
            "/deed.en",
            "/deed.zh_TW",
            "/legalcode",
            "/legalcode.txt",
            "/legalcode.de",
            "/?ref=ccchooser",
            "/#deed",
        ),
    ):
        assert found(url=start + base + end) == expected, start + base + end
        assert found(name=start + base + end) == expected
    assert found(url=f"  {base.upper()}/ ") == expected
    assert find_license(None, base).url == LICENSES[expected].url  # type: ignore[union-attr]


@pytest.mark.parametrize(("code", "version"), ALL)
def test_every_spelling_of_a_creative_commons_name(code: str, version: str) -> None:
    expected = f"CC-{code.upper()}-{version}"
    words = [WORDS[part] for part in code.split("-")]
    spaced = " ".join(words).replace("ShareAlike", "Share Alike").replace("NonCommercial", "Non-Commercial")
    for name in (
        f"CC {code.upper()} {version}",
        f"cc-{code}-{version}",
        f"cc_{code.replace('-', '_')}_{version}",
        f"CC {code} v{version}",
        f"{code} {version}",
        f"CC{code.upper()} {version}",
        f"Creative Commons {'-'.join(words)} {version} Generic",
        f"Creative Commons {'-'.join(words)} {version} International License",
        f"{'-'.join(words)} {version} International (CC {code.upper()} {version})",
        f"Creative Commons {spaced} {version}",
        f"{'-'.join(words).replace('NoDerivs', 'NoDerivatives')} {version} Unported",
    ):
        assert found(name) == expected, name


def test_unversioned_names_are_flickrs_and_mean_two_point_zero() -> None:
    for code in CODES:
        name = "-".join(WORDS[part] for part in code.split("-")) + " License"
        assert found(name) == found(name.replace(" ", "+")) == f"CC-{code.upper()}-2.0"
        assert found(name, f"http://creativecommons.org/licenses/{code}/2.0/") == f"CC-{code.upper()}-2.0"
        assert found(f"CC {code.upper()}") is None
        assert found(f"Creative Commons {name}") is None


OTHERS = {
    "CC0-1.0": [
        "CC0", "CC0 1.0", "CC0 1.0 Universal", "CC0 1.0 Universal (CC0 1.0) Public Domain Dedication",
        "Public Domain Dedication (CC0)",
        "http://creativecommons.org/publicdomain/zero/1.0/", "https://creativecommons.org/publicdomain/zero/1.0/deed.en",
        "https://creativecommons.org/publicdomain/zero/1.0/legalcode",
    ],
    "CC-PDM-1.0": ["Public Domain Mark", "Public Domain Mark 1.0", "PDM 1.0", "https://creativecommons.org/publicdomain/mark/1.0/"],
    "CC-PDDC": ["http://creativecommons.org/licenses/publicdomain/"],
    "LicenseRef-US-Government-Work": ["United States Government Work", "http://www.usa.gov/copyright.shtml"],
    "LicenseRef-No-Known-Copyright-Restrictions": [
        "No known copyright restrictions", "https://www.flickr.com/commons/usage/", "http://flickr.com/commons/usage/",
    ],
    "LicenseRef-All-Rights-Reserved": ["All Rights Reserved", "© All rights reserved", "ALL RIGHTS RESERVED."],
    "CC-BY-NC-ND-1.0": ["http://creativecommons.org/licenses/by-nd-nc/1.0/"],
    "CC-BY-SA-2.1-JP": ["https://creativecommons.org/licenses/by-sa/2.1/jp/"],
    "LicenseRef-CC-BY-2.1-ES": ["https://creativecommons.org/licenses/by/2.1/es/"],
    "CC-BY-SA-3.0-DE": [
        "CC BY-SA 3.0 DE", "CC-BY-SA-3.0-DE", "Creative Commons Attribution-Share Alike 3.0 Germany",
        "https://creativecommons.org/licenses/by-sa/3.0/de/legalcode",
    ],
    "CC-BY-NC-SA-2.0-UK": ["Creative Commons Attribution-NonCommercial-ShareAlike 2.0 England and Wales"],
    "CC-BY-3.0-IGO": ["https://creativecommons.org/licenses/by/3.0/igo/"],
    None: [
        "", "   ", "?", "Public domain", "free", "MIT", "GFDL", "CC", "CC BY", "by", "4", "7", "2.0", "Attribution",
        "CC BY 9.9",
        "CC BY-SA-ND 4.0", "CC SA 1.0", "CC NC 4.0", "CC BY 2.0 CC BY 3.0", "CC BY 4.0 or MIT", "CC BY 4.0 FR", "not CC BY 4.0",
        "https://creativecommons.org/", "https://creativecommons.org/licenses/by/9.9/",
        "https://creativecommons.org/licenses/by/4.0/fr/",
        "https://creativecommons.org/licenses/by/3.0/zz/", "https://creativecommons.org/licenses/sampling+/1.0/",
        "https://creativecommons.org/licenses/nc/1.0/", "https://creativecommons.org/publicdomain/zero/4.0/",
        "https://creativecommons.org.example.com/licenses/by/4.0/", "https://example.com/?u=https://creativecommons.org/licenses/by/4.0/",
        "https://example.com/creativecommons.org/licenses/by/4.0/", "https://creativecommons.org/licenses/by/4.0/../by-nd/4.0/",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("expected", "text"), [(key, text) for key, texts in OTHERS.items() for text in texts])
def test_other_spellings(expected: str | None, text: str) -> None:
    assert found(name=text) == expected
    assert found(url=text) == expected


def test_port_without_an_spdx_id_keeps_its_own_text() -> None:
    french = find_license(None, "http://creativecommons.org/licenses/by-sa/2.0/fr/deed.fr")
    assert french is not None
    assert (french.id, french.jurisdiction, french.name) == ("CC-BY-SA-2.0", "fr", "CC BY-SA 2.0 FR")
    assert french.url == "https://creativecommons.org/licenses/by-sa/2.0/fr/"
    assert french.asks == LICENSES["CC-BY-SA-2.0"].asks


def url_of(spdx: str) -> str:
    return LICENSES[spdx].url


@pytest.mark.parametrize(
    ("name", "url", "expected"),
    [
        ("CC BY 2.0", url_of("CC-BY-2.0"), "CC-BY-2.0"),
        ("Photo by Ada", url_of("CC-BY-2.0"), "CC-BY-2.0"),  # a name that says nothing
        ("Attribution License", url_of("CC-BY-4.0"), "CC-BY-4.0"),  # without a version
        ("CC BY-SA 3.0", url_of("CC-BY-SA-3.0-DE"), "CC-BY-SA-3.0-DE"),
        ("CC BY-SA 3.0 AT", url_of("CC-BY-SA-3.0-DE"), None),
        ("CC BY 3.0", url_of("CC-BY-2.0"), None),
        ("CC BY-NC 2.0", url_of("CC-BY-2.0"), None),
        ("CC BY 2.0", url_of("CC-BY-NC-2.0"), None),
        ("CC0", url_of("CC-PDM-1.0"), None),
        ("CC BY 2.0", "https://example.com/terms", None),  # a URL that is not understood
        ("CC BY 2.0", "https://creativecommons.org/licenses/sampling+/1.0/", None),
        ("CC BY 2.0", url_of("CC-BY-ND-2.0"), "CC-BY-ND-2.0"),  # a refusal stands, wherever it is
        ("CC BY-ND 2.0", url_of("CC-BY-2.0"), "CC-BY-ND-2.0"),
        ("All rights reserved", url_of("CC-BY-2.0"), "LicenseRef-All-Rights-Reserved"),
        ("Attribution-NoDerivs License", "https://example.com/terms", "CC-BY-ND-2.0"),
        ("CC BY-ND, see site", url_of("CC-BY-2.0"), None),
        ("Ada, all rights reserved", url_of("CC-BY-2.0"), None),
    ],
)
def test_name_and_url_together(name: str, url: str, expected: str | None) -> None:
    assert found(name, url) == expected


def test_no_derivatives_is_never_usable() -> None:
    for row in LICENSES.values():
        reason = refusal(row)
        assert (reason is Reason.LICENSE_NO_DERIVATIVES) == ("-ND" in row.id)
        assert (reason is None) == (row.rights_class in ("pd", "by", "by-sa", "by-nc", "by-nc-sa"))
    assert refusal(LICENSES["LicenseRef-All-Rights-Reserved"]) is Reason.LICENSE_EXCLUDED
    assert refusal(LICENSES["LicenseRef-No-Known-Copyright-Restrictions"]) is Reason.LICENSE_EXCLUDED
    assert refusal(None) is Reason.LICENSE_UNKNOWN


@given(
    st.lists(st.sampled_from(SOUP)),
    st.sampled_from([None, *(row.url for row in LICENSES.values())]),
)
def test_whoever_says_no_derivatives_is_not_used(words: list[str], url: str | None) -> None:
    licence = find_license(" ".join(words), url)
    assert licence is None or isinstance(licence, License)
    if "nd" in words or "noderivs" in words or (url and "-nd" in url):
        assert refusal(licence) is not None


@given(st.text(), st.text())
def test_any_text_is_answered(name: str, url: str) -> None:
    assert find_license(name, url) is None or find_license(name, url).id in LICENSES  # type: ignore[union-attr]


def test_flickr_numbers_only_when_asked() -> None:
    ids = [find_flickr_license(number).id for number in range(17)]  # type: ignore[union-attr]
    assert ids[1] == "CC-BY-NC-SA-2.0"
    assert ids[4] == "CC-BY-2.0"
    assert ids[9:12] == ["CC0-1.0", "CC-PDM-1.0", "CC-BY-4.0"]
    assert ids[16] == "CC-BY-NC-ND-4.0"
    assert find_flickr_license("3") is LICENSES["CC-BY-NC-ND-2.0"]
    assert find_flickr_license(17) is None


@pytest.mark.parametrize(
    ("classes", "name", "asks", "conflict"),
    [
        ([], "pd", "", ""),
        (["pd"], "pd", "", ""),
        (["pd", "by"], "by", "a", ""),
        (["by", "by-sa"], "by-sa", "as", ""),
        (["by", "by-nc"], "by-nc", "an", ""),
        (["by", "by-nc", "by-nc-sa"], "by-nc-sa", "ans", ""),
        (["by-sa", "by-nc"], None, "ans", "by-sa asks that the result may be used commercially, by-nc forbids it"),
        (
            ["by-sa", "by-nc-sa"],
            None,
            "ans",
            "by-sa asks that the result may be used commercially, by-nc-sa forbids it",
        ),
        (["by", "nd"], None, "a", "nd allows no derivative at all"),
    ],
)
def test_combined_rights(classes: list[str], name: str | None, asks: str, conflict: str) -> None:
    whole = combined_rights(classes)
    assert (whole.rights_class, whole.conflict) == (name, conflict)
    assert (whole.attribution, whole.noncommercial, whole.share_alike) == ("a" in asks, "n" in asks, "s" in asks)
    with pytest.raises(ValueError, match="no rights class 'gpl'"):
        combined_rights([*classes, "gpl"])


def test_docs_list_every_row() -> None:
    text = (Path(__file__).parents[2] / "docs/licences.md").read_text(encoding="utf-8")
    listed = [line for line in text.splitlines() if line.startswith("| `")]
    mark = {True: "yes", False: ""}
    assert listed[: len(LICENSES)] == [
        f"| `{row.id}` | {row.name} | {row.rights_class} | {mark[row.attribution]} | {mark[row.noncommercial]} | "
        f"{mark[row.share_alike]} | {getattr(refusal(row), 'value', '')} | {row.url} |"
        for row in LICENSES.values()
    ]
