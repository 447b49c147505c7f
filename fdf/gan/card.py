"""The model card of a run: what it ate, how far it went, what it asks of its users, how to take something back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import tomli_w

from fdf import __version__
from fdf.gan.shown import read_shown
from fdf.store.files import write_bytes

if TYPE_CHECKING:
    from fdf.gan.run import Run

_ASKS = {
    "pd": "nothing",
    "by": "credit to the photographers",
    "by-sa": "credit to the photographers, and the same licence for what is made of it",
    "by-nc": "credit to the photographers, and no commercial use",
    "by-nc-sa": "credit to the photographers, no commercial use, and the same licence for what is made of it",
    "nd": "a permission that nobody gave: some of it may be shared, but nothing may be made of it",
    "none": "a permission that nobody gave: all rights in some of it are reserved",
}


def write_card(run: Run, meta: Mapping[str, Any]) -> None:
    """Write `card.md` from the files of the run and the header of its latest checkpoint."""
    shown = read_shown(run.path)
    rows = None if shown is None else shown.to_pylist()
    text = "\n".join(card(run.read_json("run.json"), run.read_json("lineage.json"), run.metrics(), meta, rows))
    write_bytes(run.card, (text + "\n").encode())


def card(
    run: Mapping[str, Any],
    lineage: Mapping[str, Any],
    metrics: Sequence[Mapping[str, Any]],
    meta: Mapping[str, Any],
    shown: Sequence[Mapping[str, Any]] | None = None,
) -> Iterator[str]:
    """Lines of the card, Markdown. `shown`: the faces in its sample grids; None if they aren't known."""
    arch = meta["architecture"]
    yield f"# Face generator `{arch['size']}`, {arch['resolution']} px\n"
    yield "Fills the hole where a face was, from what is round it, up to seven keypoints and chance. Nothing in the hole ever"
    yield f"reaches it. Made with fdf {__version__}.\n"
    if lineage["forced"]:
        yield "> **Trained against objections** (`--force`): " + "; ".join(lineage["forced"]) + ".\n"
    yield from _eaten(lineage)
    yield from _grids(shown)
    yield from _rights(lineage)
    yield from _progress(run, lineage, metrics, meta)
    yield from _settings(meta["recipe"])
    yield from _limits(lineage, arch)
    yield "\n## Taking something back\n"
    yield "`faces.parquet` names every face that this run may have drawn, with its photo, its owner and the picture of the run"
    yield f"at which it was first drawn, −1 if before it began; this checkpoint has eaten those below {meta['pictures']:,}."
    yield "Weights can't forget: rebuild the shards without a photo, train anew, and withdraw this model."
    yield "`fdf lineage RUNS --photo ID` finds the checkpoints and exports that have seen a photo, and grids that show it,"
    yield "in `samples/` and `tensorboard/`: delete these."


def _eaten(lineage: Mapping[str, Any]) -> Iterator[str]:
    faces, rendered, (first, last) = lineage["faces"], lineage["synthetic_faces"], lineage["consent_dates"]
    yield "## What it ate\n\n| | |\n|---|---|"
    yield f"| faces | {faces:,} of {lineage['photos']:,} photos by {lineage['owners']:,} owners |"
    yield f"| synthetic | {rendered:,} faces ({rendered / faces:.0%}) that `fdf synth` rendered: nobody who exists |"
    yield f"| sources | {_listed(lineage['sources'])} |"
    yield f"| licences | {_listed(lineage['licenses'])} |"
    yield f"| signals against use | looked for from {first} to {last}, by {_listed(lineage['policies'])} |"
    yield f"| decisions | {_listed(lineage['decisions'])} |"
    yield f"| shards | {len(lineage['shards'])}, index SHA-256 `{lineage['index_sha256']}` |"
    yield f"| packed from | {_manifest(lineage)} |"
    for one in lineage.get("ancestors", ()):
        yield f"| **before it began** | with the weights of {_ancestor(one)} |"
    yield ""
    yield "A licence is the photographer's permission. It is not the consent of the person in the picture.\n"


def _grids(shown: Sequence[Mapping[str, Any]] | None) -> Iterator[str]:
    yield "## What its sample grids show\n"
    if shown is None:
        yield "Faces unmasked, in `samples/` and `tensorboard/`. Whose is not known: an older fdf began this run.\n"
        return
    counts = {name: Counter(row[name] for row in shown) for name in ("license_id", "split")}
    licences, splits = (_listed(dict(sorted(count.items()))) for count in counts.values())
    photos = len({(row["source"], row["photo_id"]) for row in shown})
    yield f"{len(shown):,} faces of {photos:,} photos, unmasked, in `samples/` and `tensorboard/`: {licences}; of the splits"
    yield f"{splits}. `samples.parquet` names them. They set the ranges of int8 exports, too.\n"


def _ancestor(one: Mapping[str, Any]) -> str:
    first, last = one["consent_dates"]
    return (
        f"`{one['run']}` at {one['pictures']:,} pictures of {one['resolution']} px: drawn from {one['faces']:,} faces of "
        f"{one['photos']:,} photos, {one['synthetic_faces']:,} of them rendered; {_listed(one['licenses'])}; signals looked "
        f"for from {first} to {last}; index SHA-256 `{one['index_sha256']}`, {_manifest(one)}, checkpoint "
        f"`{one['checkpoint_sha256']}`"
    )


def _manifest(lineage: Mapping[str, Any]) -> str:
    digest = lineage.get("manifest_sha256")  # runs that were begun by an older fdf have no such key
    return f"manifest SHA-256 `{digest}`" if digest else "a manifest that their index doesn't name"


def _rights(lineage: Mapping[str, Any]) -> Iterator[str]:
    name = lineage["weights_rights_class"]
    yield f"## Rights: `{name}`\n"
    yield "On the strictest reading, that weights are made from all that they were trained on, using them asks for"
    yield f"{_ASKS[name]}. This is no legal advice."
    if lineage["conflict"]:
        yield f"**No single licence satisfies all of it:** {lineage['conflict']}. Whoever shares the weights takes that on."
    yield ""


def _progress(
    run: Mapping[str, Any], lineage: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]], meta: Mapping[str, Any]
) -> Iterator[str]:
    pictures, batch, starts, sizes = meta["pictures"], meta["recipe"]["run"]["batch"], run["starts"], run["parameters"]
    times_each = pictures / lineage["faces"]
    machine = ", ".join(dict.fromkeys(f"{start['processes']} × {start['device']}" for start in starts))
    times = "1 start" if len(starts) == 1 else f"{len(starts)} starts"
    yield "## How far it went\n\n| | |\n|---|---|"
    yield f"| pictures seen | {pictures:,} ({times_each:,.1f} × each face), {meta['steps']:,} steps of {batch} |"
    yield f"| time | {meta['seconds'] / 3600:.2f} h on {machine}, in {times} |"
    yield f"| weights | generator {sizes['generator']:,}, discriminator {sizes['discriminator']:,} |"
    if metrics:
        yield f"| losses at the end | discriminator {metrics[-1]['loss_d']:.3f}, generator {metrics[-1]['loss_g']:.3f} |"
    yield "\nLosses of a GAN say that it runs, not how good its faces are: look at `samples/`, and measure.\n"


def _settings(recipe: Mapping[str, Any]) -> Iterator[str]:
    yield f"## Settings\n\n```toml\n{tomli_w.dumps(recipe).rstrip()}\n```\n"


def _limits(lineage: Mapping[str, Any], arch: Mapping[str, Any]) -> Iterator[str]:
    yield "## Limits\n"
    yield "- For putting a face that nobody has over one that must not be shown. Not for telling people apart, not for making"
    yield "  anybody say or do something, not for pictures passed off as photographs."
    yield "- A generator can repeat faces that it was trained on, the fewer the more easily. Not excluded unless measured."
    before = " and those from before it began" if lineage.get("ancestors") else ""
    yield f"- It draws what it has seen: {lineage['faces']:,} faces{before}. What is rare among them comes out worse: poses,"
    yield "  ages, skin tones, headwear."
    every = [lineage, *lineage.get("ancestors", ())]
    if sum(one["synthetic_faces"] for one in every) > sum(one["faces"] for one in every) / 2:
        yield "- Most of what it has seen was rendered: it draws as the renderer does, not as a camera."
    yield f"- Pictures of {arch['resolution']} px; more pixels have to be made from these."


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({count:,})" for name, count in counts.items())
