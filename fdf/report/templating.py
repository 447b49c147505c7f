"""Fills the template. Everything is escaped; the style sheet goes inside, named by its hash in the page's policy."""

from __future__ import annotations

import base64
import hashlib
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

_TEMPLATES: Final = Path(__file__).parent / "templates"
_MONTHS: Final = (  # not `strftime`: the page doesn't depend on the locale of the machine
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip


def fill(**values: Any) -> str:
    """The page. Missing values are errors, not blanks."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "n": _thousands,
        "percent": _percent,
        "size": _size,
        "plural": _plural,
        "period": _period,
        "day": _day,
        "code": _code,
    }
    style = (_TEMPLATES / "page.css").read_text(encoding="utf-8")
    return environment.get_template("page.html.j2").render(
        style=Markup(style),  # noqa: S704 - our own file, not data
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii"),
        **values,
    )


def _thousands(value: int) -> str:
    return f"{value:,}"


def _percent(share: float) -> str:
    """`63%`, `4.2%`, `<0.1%`: never a zero for something that is there, nor a whole for something that isn't."""
    if 0 < share < 0.001:
        return "<0.1%"
    if 0.999 < share < 1:
        return ">99.9%"
    digits = 0 if share == 0 or share >= 0.1 else 1
    if round(share * 100, digits) == 100 and share < 1:
        digits = 1
    return f"{share * 100:.{digits}f}%"


def _size(count: int) -> str:
    """Bytes for people, in powers of 1,000."""
    value, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:,.0f} {unit}" if unit == "bytes" or value >= 100 else f"{value:,.1f} {unit}"


def _plural(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _day(value: date) -> str:
    return f"{value.day} {_MONTHS[value.month - 1]} {value.year}"


def _period(times: tuple[datetime, datetime]) -> str:
    """From the first to the last minute, each part once: `21 November 2026, 22:07–22:08 UTC`."""
    first, last = (f"{_day(time)}, {time:%H:%M}" for time in times)
    if first == last:
        return f"{first} UTC"
    if times[0].date() == times[1].date():
        return f"{first}–{times[1]:%H:%M} UTC"
    return f"{first} UTC – {last} UTC"


def _code(text: str) -> Any:
    """Text in which `backticks` stand for code, as in our own docstrings."""
    from markupsafe import Markup, escape

    parts = (
        Markup("<code>{}</code>").format(part) if i % 2 else escape(part) for i, part in enumerate(text.split("`"))
    )
    return Markup("").join(parts)
