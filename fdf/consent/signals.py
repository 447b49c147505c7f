"""Signals that a picture must not be used, as servers and owners give them.

Read with caution: where a signal is ambiguous, it is taken for a refusal. A photo that is left out by mistake costs little.
`docs/licences.md` lists what is looked at; change `POLICY_VERSION` with every change of meaning here, manifests carry it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Final

POLICY_VERSION: Final = "fdf-signals-1"
"""Version of the rules in this file; stands in every row of a manifest as `consent_policy`."""

FORBIDDING: Final = frozenset({"noai", "noimageai", "noindex", "none"})
"""Directives of X-Robots-Tag that forbid. `nofollow`, `noarchive`, `nosnippet` and limits on previews don't."""

# Directives that carry a value after a colon: not user agents.
_VALUED: Final = frozenset({"max-snippet", "max-image-preview", "max-video-preview", "unavailable_after"})
_TOKEN: Final = re.compile(r"[\w!#$&.^`|~*-]+(?:/[\w.]+)?")


def _product(agent: str) -> str:
    """`fdf/0.1 (+mailto:…)` → `fdf`."""
    return re.split(r"[\s/(]", agent.strip(), maxsplit=1)[0].lower()


def robots_signal(headers: Mapping[str, str], agent: str) -> str | None:
    """The header and directive that forbid the use of an answer, as `X-Robots-Tag: noai`; None if nothing does.

    Args:
        headers: of the answer; names in any case. Several headers of one name may be joined with commas or line ends.
        agent: our User-Agent, or only its product name.

    A directive after another robot's name is not for us. But a name binds only the one directive behind it: HTTP lets any
    server on the way join `otherbot: nofollow` and `noai` into `otherbot: nofollow, noai`, and then nobody can tell.
    """
    ours = _product(agent)
    for name, value in headers.items():
        if name.lower() == "x-robots-tag":
            for part in re.split(r"[,;\n]", value):
                if (found := _forbids(part, ours)) is not None:
                    return f"X-Robots-Tag: {found}"
        elif name.lower() == "tdm-reservation" and "1" in re.split(r"[\s,;]+", value.strip()):
            return "TDM-Reservation: 1"
    return None


def _forbids(part: str, ours: str) -> str | None:
    directive = part.strip(" \t\r\"'").lower()
    named, colon, rest = directive.partition(":")
    named, rest = named.strip(), rest.strip()
    if not colon:
        return directive if directive in FORBIDDING else None
    if named in _VALUED or not _TOKEN.fullmatch(named):  # a value or the tail of a date, nobody's name
        return None
    if _product(named) in (ours, "*") and rest in FORBIDDING:
        return f"{named}: {rest}"
    return None


def _squeeze(tag: str) -> str:
    """A tag as Flickr compares them: lower case, letters and digits only."""
    return "".join(char for char in unicodedata.normalize("NFKC", tag).casefold() if char.isalnum())


def opted_out_by_tags(tags: Iterable[str] | None, machine_tags: Iterable[str] | None) -> str | None:
    """The tag by which the owner asks not to be used for computer vision; None if there is none.

    `no_cv` is what FDF asks people to write. Flickr drops underscores, hyphens, spaces and case from tags, so all of
    `no_cv`, `nocv`, `No CV`, `#no-cv` count. As a machine tag its predicate or value counts, in any namespace
    (`fdf:no_cv=1`, `consent:fdf=no_cv`), unless the value is 0, no or false.
    """
    for tag in tags or ():
        if _squeeze(tag) == "nocv":
            return tag
    for tag in machine_tags or ():
        head, _, value = tag.partition("=")
        predicate = head.rpartition(":")[2]
        denied = _squeeze(value) in ("0", "no", "false")
        if "nocv" in (_squeeze(value), _squeeze(tag)) or (_squeeze(predicate) == "nocv" and not denied):
            return tag
    return None
