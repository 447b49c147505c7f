"""The page as its readers get it: whole, harmless, self-contained, true to the tables."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from fdf.consent.audit import NOTICE, audit
from fdf.errors import MachineError, UsageError
from fdf.pipeline.layout import read_release
from fdf.pipeline.recipe import load_recipe
from fdf.pipeline.runner import Selection, build
from fdf.report.page import render, write_report
from fdf.report.snapshot import Snapshot, take_snapshot
from fdf.vocabulary import Reason
from tests.report.conftest import AFTER_FETCH
from tests.report.html_checks import Page


def test_structure_is_balanced_and_ids_are_unique(page: str) -> None:
    found = Page(page)
    ids = [attrs["id"] for _, attrs in found.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    anchors = {attrs["href"][1:] for attrs in found.all("a") if attrs["href"].startswith("#")}
    labels = {attrs["aria-labelledby"] for _, attrs in found.elements if "aria-labelledby" in attrs}
    assert anchors | labels <= set(ids)


def test_loads_nothing_from_anywhere(page: str) -> None:
    for tag, attrs in Page(page).elements:
        for name in ("src", "srcset", "href", "xlink:href", "data", "action", "poster", "background"):
            target = attrs.get(name)
            if target is None or (tag == "a" and name == "href" and re.match(r"https?://|#", target)):
                continue
            assert target.startswith("data:"), (tag, name, target[:80])
        assert "style" not in attrs  # the policy would refuse it
        assert not [name for name in attrs if name.startswith("on")]
    style = "".join(text for tag, text in Page(page).texts if tag == "style")
    assert "url(" not in style
    assert "@import" not in style


def test_policy_allows_this_style_sheet_and_nothing_else(page: str) -> None:
    policy = next(a["content"] for a in Page(page).all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def test_hostile_title_is_text(page: str) -> None:
    found = Page(page)
    assert "‹script›alert(" in found.text
    assert not found.all("script")
    assert len(found.all("img")) == page.count("data:image/jpeg;base64,")  # none of an owner's making
    assert "\u202e" not in page  # right-to-left override


def test_whatever_comes_from_strangers_is_escaped(snapshot: Snapshot) -> None:
    hostile = "</style><script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
    build = replace(
        snapshot,
        recipe=snapshot.recipe.model_copy(update={"description": hostile}),
        recipe_text=hostile,
    )
    found = Page(render(build, faces=0))
    assert not found.all("script")
    assert not found.all("img")
    assert found.text.count(hostile) == 2


def test_numbers_are_those_of_the_funnel(page: str, snapshot: Snapshot) -> None:
    text = Page(page).text
    for row in snapshot.funnel:
        assert f"{row.given:,} in = {row.kept:,} kept + {sum(row.dropped.values()):,} dropped" in text
        for reason, count in row.dropped.items():
            assert re.search(rf"{reason} {count:,} [<\d.]+% {re.escape(Reason(reason).doc.split('`')[0])}", text), (
                reason
            )
    assert "the law holds in every stage" in text
    assert re.search(r"truncated 1 [\d.]+% Fewer bytes than announced, or a picture file that ends early. yes", text)


def test_numbers_are_those_of_the_audit(page: str, sample_build: Path) -> None:
    text = Page(page).text
    found = audit(read_release(sample_build))
    assert NOTICE in text
    assert f"Faces released{found.faces:,}" in text.replace("Faces released ", "Faces released")
    for row in found.rights:
        assert re.search(rf"{row.license_id} {row.rights_class} [a-z, ]+ {row.faces} {row.photos} {row.owners} ", text)
    for model in found.models:
        assert model.sha256 in text
        assert f"Licence of the weights{model.weight_license}" in text
    assert found.obligations.conflict in text


def test_every_face_has_a_picture_a_credit_and_words(page: str, sample_build: Path) -> None:
    found = Page(page)
    release = read_release(sample_build).select(["page_url", "photo_id"]).to_pylist()
    links = [attrs["href"] for attrs in found.all("a")]
    for row in release:
        assert row["page_url"] in links
    pictures = found.all("img")
    assert len(pictures) >= len(release)
    for attrs in pictures:
        assert attrs["alt"].startswith("Face cut from ")
        image = Image.open(io.BytesIO(base64.b64decode(attrs["src"].split(",", 1)[1])))
        assert image.format == "JPEG"
        assert image.width == image.height <= 208
        assert not image.getexif()


def test_tables_have_headers_and_captions(page: str) -> None:
    found = Page(page)
    assert len(found.all("table")) == len(found.all("caption"))
    assert all(attrs.get("scope") in ("row", "col") for attrs in found.all("th"))
    assert all(attrs.get("role") == "img" or attrs.get("aria-hidden") == "true" for attrs in found.all("svg"))


def test_same_build_same_bytes(sample_build: Path, tmp_path: Path) -> None:
    first = write_report(sample_build, tmp_path / "a.html").read_bytes()
    assert write_report(sample_build, tmp_path / "b.html").read_bytes() == first
    moved = tmp_path / "elsewhere"
    shutil.copytree(sample_build, moved)
    out = write_report(moved)
    assert out == moved / "report.html"
    assert out.read_bytes() == first
    assert len(first) < 2_000_000
    assert [path.name for path in tmp_path.iterdir() if ".part-" in path.name] == []


def test_partly_finished_build(copy_without: Callable[..., Path]) -> None:
    folder = copy_without(*AFTER_FETCH)
    found = Page(write_report(folder).read_text(encoding="utf-8"))
    assert "This build isn’t finished." in found.text
    assert "Not done yet: detect, filter, manifest, shard." in found.text
    assert "92 in = 79 kept + 13 dropped" in found.text
    assert "There is no release manifest yet" in found.text
    assert "Nothing has been measured yet" in found.text
    assert "No model has touched the data yet" in found.text
    assert not found.all("img")


def test_half_a_stage_says_so(copy_without: Callable[..., Path]) -> None:
    folder = copy_without("filter", "manifest", "shard")
    (folder / "detect/stage.json").unlink()
    (folder / "detect/part-00001.receipt.json").unlink()
    text = Page(write_report(folder).read_text(encoding="utf-8")).text
    assert "Not done yet: detect, filter, manifest, shard." in text
    assert "Not finished: 3 partitions so far." in text
    assert "Medians are of the found faces." in text


def test_no_face_kept(copy_without: Callable[..., Path]) -> None:
    folder = copy_without()
    recipe = load_recipe(folder / "recipe.toml", ["filter.rules.min_face=5000"])
    build(recipe, folder, selection=Selection.of(first="filter"), workers=1, rebuild=True)
    found = Page(write_report(folder).read_text(encoding="utf-8"))
    for words in (
        "No face was released.",
        "nothing to split",
        "there are no shards",
        "None: there is no face to audit.",
    ):
        assert words in found.text
    assert "isn’t finished" not in found.text
    assert "face_too_small" in found.text


def test_originals_removed_leave_the_rest_of_the_page(copy_without: Callable[..., Path]) -> None:
    folder = copy_without()
    for path in folder.glob("fetch/*.tar"):
        path.unlink()
    found = Page(write_report(folder, faces=5).read_text(encoding="utf-8"))
    assert not found.all("img")
    assert "can’t be read in this build any more" in found.text
    assert "5 of 70 released faces" in found.text
    assert "the law holds" in found.text


def test_a_count_that_does_not_add_up_is_said_aloud(copy_without: Callable[..., Path]) -> None:
    folder = copy_without()
    path = next(folder.glob("filter/*.receipt.json"))
    receipt = json.loads(path.read_text())
    receipt["counts"]["kept"] -= 1
    path.write_text(json.dumps(receipt))
    text = Page(write_report(folder, faces=0).read_text(encoding="utf-8")).text
    assert "This build doesn’t add up." in text
    assert "the law holds" not in text


def test_a_stage_made_from_another_run_is_said_aloud(copy_without: Callable[..., Path]) -> None:
    folder = copy_without()
    recipe = load_recipe(folder / "recipe.toml", ["filter.rules.min_face=40"])
    build(recipe, folder, selection=Selection.of("filter"), workers=1, rebuild=True)
    text = Page(write_report(folder, faces=0).read_text(encoding="utf-8")).text
    assert "manifest: made from another run of filter" in text


def test_examples_are_a_growing_lot(snapshot: Snapshot) -> None:
    def titles(count: int) -> list[str]:
        return [attrs["alt"] for attrs in Page(render(snapshot, faces=count)).all("img")][:count]

    assert titles(3) == titles(6)[:3]


def test_no_build_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no build"):
        write_report(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_page_that_can_not_be_written(sample_build: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MachineError):
        write_report(sample_build, tmp_path / "file" / "page.html", faces=0)


def test_snapshot_dates_come_from_receipts(snapshot: Snapshot, page: str) -> None:
    assert snapshot.made
    first, last = snapshot.made
    assert f'datetime="{last.isoformat()}"' in page
    assert first <= last
    assert snapshot.versions[0] in page


def test_damaged_receipt_is_an_error(copy_without: Callable[..., Path]) -> None:
    from fdf.errors import DataError
    from fdf.pipeline.layout import Layout

    folder = copy_without()
    next(folder.glob("fetch/*.receipt.json")).write_text("{")
    with pytest.raises(DataError, match="is no receipt"):
        take_snapshot(Layout(folder))
