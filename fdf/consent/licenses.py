"""The one registry of licences: a name or a URL as found → SPDX id → what it asks.

Nothing is assumed. A text that is not recognised whole is no licence (`None` → `license_unknown`), two that contradict
each other are none either, and where one of them refuses, the refusal stands. "Attribution License" without a version is
Flickr's and YFCC100M's name of the 2.0 licences; no other unversioned name is accepted.

Terms: https://creativecommons.org/share-your-work/cclicenses/. Ids: https://spdx.org/licenses/ (list 3.26 has `CC-PDM-1.0`);
what SPDX does not list has an id that begins with `LicenseRef-`, as its specification asks.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final

from fdf.vocabulary import Reason

VERSIONS: Final = ("1.0", "2.0", "2.5", "3.0", "4.0")
RIGHTS: Final = ("pd", "by", "by-sa", "by-nc", "by-nc-sa", "nd", "none")
"""Rights classes, from what asks least to what allows nothing. `nd` and `none` never reach a release."""
RELEASABLE: Final = RIGHTS[:-2]
"""Rights classes that a release may hold."""

_CODES: Final = ("by", "by-sa", "by-nd", "by-nc", "by-nc-sa", "by-nc-nd")
_SUFFIX: Final = {"1.0": "Generic", "2.0": "Generic", "2.5": "Generic", "3.0": "Unported", "4.0": "International"}

# Ports (national versions) that have an SPDX id of their own.
_SPDX_PORTS: Final = (
    "CC-BY-2.5-AU", "CC-BY-3.0-AT", "CC-BY-3.0-AU", "CC-BY-3.0-DE", "CC-BY-3.0-IGO", "CC-BY-3.0-NL", "CC-BY-3.0-US",
    "CC-BY-NC-3.0-DE", "CC-BY-NC-ND-3.0-DE", "CC-BY-NC-ND-3.0-IGO", "CC-BY-NC-SA-2.0-DE", "CC-BY-NC-SA-2.0-FR",
    "CC-BY-NC-SA-2.0-UK", "CC-BY-NC-SA-3.0-DE", "CC-BY-NC-SA-3.0-IGO", "CC-BY-ND-3.0-DE", "CC-BY-SA-2.0-UK",
    "CC-BY-SA-2.1-JP", "CC-BY-SA-3.0-AT", "CC-BY-SA-3.0-DE", "CC-BY-SA-3.0-IGO",
)  # fmt: skip

_JURISDICTIONS: Final = frozenset({
    "ar", "at", "au", "az", "be", "bg", "br", "ca", "ch", "cl", "cn", "co", "cr", "cz", "de", "dk", "ec", "ee", "eg",
    "es", "fi", "fr", "ge", "gr", "gt", "hk", "hr", "hu", "ie", "igo", "il", "in", "it", "jp", "kr", "lu", "mk", "mt",
    "mx", "my", "nl", "no", "nz", "pe", "ph", "pl", "pr", "pt", "ro", "rs", "scotland", "se", "sg", "si", "th", "tw",
    "ua", "ug", "uk", "us", "ve", "vn", "za",
})  # fmt: skip
_COUNTRIES: Final = {
    "australia": "au", "austria": "at", "brazil": "br", "canada": "ca", "england and wales": "uk", "france": "fr",
    "germany": "de", "italy": "it", "japan": "jp", "netherlands": "nl", "spain": "es", "switzerland": "ch",
    "united kingdom": "uk", "united states": "us",
}  # fmt: skip


@dataclass(frozen=True)
class License:
    """A licence and what it asks.

    Args:
        id: SPDX id, or `LicenseRef-…` where SPDX has none.
        name: short name to print, for example `CC BY-NC-SA 2.0`.
        version: version of the licence, empty where it has none.
        url: canonical URL of the licence text, of its port where it is one.
        attribution, noncommercial, share_alike, no_derivatives: what it asks.
        rights_class: one of `RIGHTS`.
        usable: False where it gives no right that a face dataset could rest on.
        jurisdiction: two letters of a port (`de`), empty otherwise. Where SPDX has no id for the port, `id` is the one
            of the unported version, and this and `url` tell which text it is.
    """

    id: str
    name: str
    version: str
    url: str
    attribution: bool
    noncommercial: bool
    share_alike: bool
    no_derivatives: bool
    rights_class: str
    usable: bool = True
    jurisdiction: str = ""

    @property
    def asks(self) -> tuple[bool, bool, bool, bool, bool]:
        """What it asks, to compare two licences by their rights alone."""
        return self.attribution, self.noncommercial, self.share_alike, self.no_derivatives, self.usable


def _creative_commons(code: str, version: str, jurisdiction: str = "") -> License:
    parts = code.split("-")
    tail = f"-{jurisdiction.upper()}" if jurisdiction else ""
    spdx = f"CC-{code.upper()}-{version}"
    if spdx + tail in _SPDX_PORTS:
        spdx += tail
    elif version not in VERSIONS:  # 2.1 exists only as ports
        spdx = f"LicenseRef-{spdx}{tail}"
    path = (
        "by-nd-nc" if (code, version) == ("by-nc-nd", "1.0") else code
    )  # the order that version 1.0 was published with
    no_derivatives = "nd" in parts
    return License(
        id=spdx,
        name=f"CC {code.upper()} {version}{tail.replace('-', ' ')}",
        version=version,
        url=f"https://creativecommons.org/licenses/{path}/{version}/" + (f"{jurisdiction}/" if jurisdiction else ""),
        attribution=True,
        noncommercial="nc" in parts,
        share_alike="sa" in parts,
        no_derivatives=no_derivatives,
        rights_class="nd" if no_derivatives else code,
        jurisdiction=jurisdiction,
    )


def _other(id: str, name: str, url: str, version: str = "", *, usable: bool = True) -> License:
    rights = "pd" if usable else "none"
    return License(id, name, version, url, False, False, False, False, rights, usable)


def _registry() -> dict[str, License]:
    rows = [_creative_commons(code, version) for version in VERSIONS for code in _CODES]
    for spdx in _SPDX_PORTS:
        code, version, jurisdiction = spdx.removeprefix("CC-").lower().rsplit("-", 2)
        rows.append(_creative_commons(code, version, jurisdiction))
    rows += [
        _other("CC0-1.0", "CC0 1.0", "https://creativecommons.org/publicdomain/zero/1.0/", "1.0"),
        _other("CC-PDM-1.0", "Public Domain Mark 1.0", "https://creativecommons.org/publicdomain/mark/1.0/", "1.0"),
        _other("CC-PDDC", "CC Public Domain Dedication", "https://creativecommons.org/licenses/publicdomain/"),
        _other(
            "LicenseRef-US-Government-Work", "United States Government Work", "https://www.usa.gov/government-works"
        ),
        _other(
            "LicenseRef-No-Known-Copyright-Restrictions",
            "No known copyright restrictions",
            "https://www.flickr.com/commons/usage/",
            usable=False,
        ),
        _other("LicenseRef-All-Rights-Reserved", "All Rights Reserved", "", usable=False),
    ]
    return {row.id: row for row in rows}


LICENSES: Final[dict[str, License]] = _registry()
"""Every licence with an id of its own, by id. Other ports are made from the unported row when they are met."""

_FLICKR: Final = {
    "0": "LicenseRef-All-Rights-Reserved", "1": "CC-BY-NC-SA-2.0", "2": "CC-BY-NC-2.0", "3": "CC-BY-NC-ND-2.0",
    "4": "CC-BY-2.0", "5": "CC-BY-SA-2.0", "6": "CC-BY-ND-2.0", "7": "LicenseRef-No-Known-Copyright-Restrictions",
    "8": "LicenseRef-US-Government-Work", "9": "CC0-1.0", "10": "CC-PDM-1.0", "11": "CC-BY-4.0", "12": "CC-BY-SA-4.0",
    "13": "CC-BY-ND-4.0", "14": "CC-BY-NC-4.0", "15": "CC-BY-NC-SA-4.0", "16": "CC-BY-NC-ND-4.0",
}  # fmt: skip

# Names that follow no rule, after `_squeeze`.
_NAMES: Final = {
    "all rights reserved": "LicenseRef-All-Rights-Reserved",
    "copyright all rights reserved": "LicenseRef-All-Rights-Reserved",
    "no known copyright restrictions": "LicenseRef-No-Known-Copyright-Restrictions",
    "united states government work": "LicenseRef-US-Government-Work",
    "us government work": "LicenseRef-US-Government-Work",
    "u.s. government work": "LicenseRef-US-Government-Work",
    "public domain mark": "CC-PDM-1.0",
    "public domain mark 1.0": "CC-PDM-1.0",
    "creative commons public domain mark 1.0": "CC-PDM-1.0",
    "creative commons public domain mark 1.0 universal": "CC-PDM-1.0",
    "pdm": "CC-PDM-1.0",
    "pdm 1.0": "CC-PDM-1.0",
    "cc pdm 1.0": "CC-PDM-1.0",
    "cc0": "CC0-1.0",
    "cc0 1.0": "CC0-1.0",
    "cc0 1.0 universal": "CC0-1.0",
    "cc zero": "CC0-1.0",
    "cc0 1.0 universal cc0 1.0 public domain dedication": "CC0-1.0",
    "cc0 1.0 universal public domain dedication": "CC0-1.0",
    "creative commons zero v1.0 universal": "CC0-1.0",
    "creative commons cc0 1.0": "CC0-1.0",
    "creative commons cc0 1.0 universal": "CC0-1.0",
    "creative commons cc0 1.0 universal public domain dedication": "CC0-1.0",
    "public domain dedication cc0": "CC0-1.0",
    "cc pddc": "CC-PDDC",
    "creative commons public domain dedication and certification": "CC-PDDC",
}

_URLS: Final = {
    "creativecommons.org/licenses/publicdomain": "CC-PDDC",
    "flickr.com/commons/usage": "LicenseRef-No-Known-Copyright-Restrictions",
    "usa.gov/copyright.shtml": "LicenseRef-US-Government-Work",
    "usa.gov/government-works": "LicenseRef-US-Government-Work",
}

_CC_URL: Final = re.compile(
    r"creativecommons\.org/(?:licenses?/(?P<code>[a-z-]+)|publicdomain/(?P<tool>zero|mark))/(?P<version>\d\.\d)"
    r"(?:/(?P<port>[a-z]{2}|igo|scotland))?(?:/(?:deed|legalcode)(?:[.-][a-z]{2,3}(?:[_-][a-z]{2,4})?)?(?:\.(?:txt|html))?)?/?"
)
_CC_CODES: Final = {code: code for code in _CODES} | {"by-nd-nc": "by-nc-nd", "by-sa-nc": "by-nc-sa"}

# A whole text that looks like a link: with a scheme, or a host and a path.
_LINK: Final = re.compile(r"\s*(?:(?:https?:)?//|(?:www\.)?[a-z0-9-]+(?:\.[a-z]{2,})+/)\S*\s*", re.IGNORECASE)

_WORDS: Final = (
    (re.compile(r"creative commons"), "cc"),
    (re.compile(r"non-? ?commercial"), "nc"),
    (re.compile(r"share-? ?alike"), "sa"),
    (re.compile(r"no-? ?deriv(?:atives?|s|ative works)?(?: works)?\b"), "nd"),
    (re.compile(r"attribution"), "by"),
    (re.compile(r"\bccby\b"), "cc by"),
    (re.compile(r"\bv(?=\d)"), ""),
)
_VERSION: Final = re.compile(r"\d\.\d")
_FILLERS: Final = frozenset({"license", "licence", "the", "generic", "unported", "international", "version"})
_REFUSES: Final = re.compile(r"\bnd\b|no-? ?deriv|all rights reserved")


def _squeeze(text: str) -> str:
    """Lower case, one space between words; brackets and what Flickr or an encoder puts for a space are spaces too."""
    text = unicodedata.normalize("NFKC", text).lower()
    return re.sub(r"[\s+_()\[\],:;/\"'‐–—]+", " ", text.replace("‑", "-")).strip(" .©")


def _from_url(url: str) -> License | None:
    bare = re.sub(r"^(?:https?:)?//", "", url.strip().lower()).removeprefix("www.")
    bare = re.split(r"[?#]", bare, maxsplit=1)[0]
    if (known := _URLS.get(bare.rstrip("/"))) is not None:
        return LICENSES[known]
    match = _CC_URL.fullmatch(bare)
    if match is None:
        return None
    version, port = match["version"], match["port"] or ""
    if match["tool"]:
        return LICENSES["CC0-1.0" if match["tool"] == "zero" else "CC-PDM-1.0"] if version == "1.0" else None
    return _port(_CC_CODES.get(match["code"]), version, port)


def _port(code: str | None, version: str, jurisdiction: str) -> License | None:
    if code is None:
        return None
    if not jurisdiction:
        return LICENSES.get(f"CC-{code.upper()}-{version}")
    # Version 1.0 was ported for a few, 4.0 for nobody.
    if jurisdiction not in _JURISDICTIONS or version not in ("1.0", "2.0", "2.1", "2.5", "3.0"):
        return None
    return _creative_commons(code, version, jurisdiction)


def _from_name(name: str) -> License | None:
    text = _squeeze(name)
    for spdx, row in LICENSES.items():
        if text in (spdx.lower(), row.name.lower()):
            return row
    known = _NAMES.get(text) or _NAMES.get(text.replace("-", " "))
    if known is not None:
        return LICENSES[known]
    for pattern, word in _WORDS:
        text = pattern.sub(word, text)
    for country, letters in _COUNTRIES.items():
        text = re.sub(rf"(?<=\d) {country}\b", f" {letters}", text)
    tokens = re.findall(r"\d+\.\d+|[^\s-]+", text)
    asks = {token for token in tokens if token in ("by", "nc", "sa", "nd")}
    versions = {token for token in tokens if _VERSION.fullmatch(token)}
    ports = {port for number, port in pairwise(tokens) if _VERSION.fullmatch(number) and port in _JURISDICTIONS}
    known_words = asks | versions | ports | _FILLERS | {"cc"}
    code = "-".join(part for part in ("by", "nc", "sa", "nd") if part in asks)
    if not known_words.issuperset(tokens) or code not in _CODES or len(versions) > 1 or len(ports) > 1:
        return None
    if not versions:  # "Attribution License": Flickr's names of the 2.0 licences
        return LICENSES[f"CC-{code.upper()}-2.0"] if tokens[-1] == "license" and "cc" not in tokens else None
    return _port(code, versions.pop(), "".join(ports))


def _recognise(text: str) -> License | None:
    return _from_url(text) if _LINK.fullmatch(text) else _from_name(text)


def _versioned(name: str) -> bool:
    return re.search(r"\d", name) is not None


@lru_cache(maxsize=4096)
def find_license(name: str | None, url: str | None = None) -> License | None:
    """The licence that a name and a URL, as found in metadata, stand for; None where no rights may be assumed.

    Either may be missing; each may hold a name, an SPDX id or a URL. The URL wins over a name that says the same or says
    nothing intelligible. If one of the two refuses use (NoDerivs, all rights reserved), it is returned; if they contradict
    each other otherwise, or the URL is not understood, the answer is None.

    >>> find_license("Attribution-NonCommercial License", None).id
    'CC-BY-NC-2.0'
    >>> find_license(None, "http://creativecommons.org/licenses/by-sa/3.0/de/deed.en").id
    'CC-BY-SA-3.0-DE'
    """
    name, url = (name or "").strip(), (url or "").strip()
    by_name, by_url = _recognise(name) if name else None, _recognise(url) if url else None
    if not url or not name:
        return by_url if url else by_name
    for found in (by_url, by_name):
        if found is not None and _refuses(found):
            return found
    if by_url is None or (by_name is None and _REFUSES.search(_squeeze(name))):
        return None
    if by_name is None:
        return by_url
    same_version = by_name.version == by_url.version or not _versioned(name)
    # "Public domain" tools ask the same and are not the same statement.
    same = by_name.asks == by_url.asks and (by_name.id == by_url.id or by_name.attribution)
    same_port = by_name.jurisdiction in ("", by_url.jurisdiction)
    return by_url if same and same_version and same_port else None


def find_flickr_license(number: str | int) -> License | None:
    """The licence of a number of Flickr's API (0–16), as `flickr.photos.licenses.getInfo` lists them; None for others.

    `find_license` never reads a bare number: "4" in a list could be anything.
    """
    spdx = _FLICKR.get(str(number).strip())
    return LICENSES[spdx] if spdx else None


def _refuses(license: License) -> bool:
    return license.no_derivatives or not license.usable


def refusal(license: License | None) -> Reason | None:
    """Why a photo under this licence can't be used, or None if it can."""
    if license is None:
        return Reason.LICENSE_UNKNOWN
    if license.no_derivatives:
        return Reason.LICENSE_NO_DERIVATIVES
    return None if license.usable else Reason.LICENSE_EXCLUDED


@dataclass(frozen=True)
class Obligations:
    """What a set of faces asks of whoever shares it as one work.

    Args:
        rights_class: the class the whole could be shared under, or None where no licence satisfies all of them.
        attribution, noncommercial, share_alike: what is asked by at least one of them.
        conflict: why there is no common licence; empty otherwise.
    """

    rights_class: str | None
    attribution: bool
    noncommercial: bool
    share_alike: bool
    conflict: str = ""


def combined_rights(classes: Iterable[str]) -> Obligations:
    """The obligations that a set of rights classes imposes together. Not legal advice: the strictest plain reading.

    Raises:
        ValueError: a class is not in `RIGHTS`.
    """
    found = set(classes)
    if strange := sorted(found - set(RIGHTS)):
        raise ValueError(f"no rights class {strange[0]!r}; the classes are {', '.join(RIGHTS)}")
    parts = {part for name in found for part in name.split("-")}
    conflict = ""
    if refused := sorted(found & {"nd", "none"}):
        conflict = f"{' and '.join(refused)} allows no derivative at all"
    elif "by-sa" in found and "nc" in parts:
        rivals = " and ".join(sorted(name for name in found if "nc" in name))
        conflict = f"by-sa asks that the result may be used commercially, {rivals} forbids it"
    name = "-".join(part for part in ("by", "nc", "sa") if part in parts) or "pd"
    return Obligations(None if conflict else name, bool(found - {"pd"}), "nc" in parts, "sa" in parts, conflict)
