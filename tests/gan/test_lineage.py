"""Whose signals are waived, whose are not, and what may be shown."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from datetime import date
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdf.consent.licenses import RIGHTS, find_license
from fdf.gan.config import DataConfig
from fdf.gan.data import Faces, find_faces
from fdf.gan.lineage import lineage, objections, permitted
from fdf.synth.source import LICENSE, Request, metadata_row, plans
from tests.conftest import ROOT
from tests.gan.making import LICENCES, SIDE, make_shards, rendered

DAY = date(2023, 11, 14)
OLD = {"consent_date": "2010-01-01"}


def said(faces: Faces) -> list[str]:
    return list(objections(faces, DataConfig(), DAY))


@pytest.fixture(scope="module")
def nobody(tmp_path_factory: pytest.TempPathFactory) -> Faces:
    """Faces that `fdf synth` rendered long ago."""
    folder = make_shards(
        tmp_path_factory.mktemp("nobody"), 3, rights="pd", change=lambda n, body: rendered(n, body) | OLD
    )
    return find_faces(folder, resolution=SIDE)


def test_nobody_grows_stale(nobody: Faces) -> None:
    assert not said(nobody)
    assert permitted(nobody, DataConfig(), DAY).all()
    assert lineage(nobody).synthetic_faces == 3


@pytest.mark.parametrize("scene", ["portrait", "group", "crowd"])
def test_what_synth_says_of_its_photos_is_what_is_looked_for(scene: Any, nobody: Faces) -> None:
    """The two live in layers that don't import each other."""
    recipe = tomllib.loads((ROOT / "pipelines/synthetic.toml").read_text(encoding="utf-8"))
    for plan in plans(Request(people=40, shots=2, scene=scene, seed=999_999)):
        row = metadata_row(plan)
        licence = find_license(*LICENSE)
        assert licence is not None
        told = {"photo_id": row[0], "owner_nsid": row[1], "download_url": row[14]}
        told |= {"source": recipe["source"]["name"], "license_id": licence.id}
        assert lineage(with_row(nobody, told)).synthetic_faces == 1, told


@pytest.mark.parametrize(
    "change",
    [
        {"source": "made", "download_url": "http://archive.invalid/1.jpg"},
        {"source": "made"},
        {"source": None},
        {"download_url": "http://archive.invalid/portrait/80000000000000.jpg"},
        {"download_url": "http://www.synthetic.invalid/portrait/80000000000000.jpg"},
        {"download_url": "http://synthetic.invalid.flickr.com/portrait/80000000000000.jpg"},
        {"download_url": "http://synthetic.invalid/portrait/80000000000001.jpg"},
        {"download_url": "http://flickr.com/?http://synthetic.invalid/portrait/80000000000000.jpg"},
        {"download_url": None},
        {"owner_nsid": "12345678@N00"},
        {"owner_nsid": None},
        {"license_id": "CC-PDM-1.0"},
    ],
)
def test_who_only_looks_like_nobody_grows_stale(change: dict[str, str | None], nobody: Faces) -> None:
    faces = with_row(nobody, change)
    (objection,) = said(faces)
    assert objection.startswith("signals of 1 faces were looked at before 2023-05-18, the earliest on 2010-01-01")
    assert lineage(faces).synthetic_faces == 0
    assert not permitted(faces, DataConfig(), DAY).any()


def test_a_day_is_compared_as_it_is_written(nobody: Faces) -> None:
    """`20230101` comes after `2023-05-18` in the alphabet."""
    faces = with_row(nobody, {"source": "made", "consent_date": "20230101"})
    (objection,) = said(faces)
    assert "is not known ('20230101' instead of a day up to today)" in objection


@given(
    decision=st.sampled_from(["allowed_by_licence", "refused_by_owner", "tdm_reserved", "", None]),
    rights=st.sampled_from(RIGHTS),
    when=st.dates(date(2023, 1, 1), date(2024, 1, 1)).map(str) | st.sampled_from([None, "", "soon", "2023-11-1", "20230601"]),
    source=st.sampled_from(["made", "synthetic"]),
)  # fmt: skip
def test_what_may_be_shown_is_what_may_be_learnt_from(
    decision: str | None, rights: str, when: str | None, source: str, nobody: Faces
) -> None:
    told = {"consent_decision": decision, "rights_class": rights, "consent_date": when, "source": source}
    faces = with_row(nobody, told | {"license_id": LICENCES[rights]})
    assert bool(permitted(faces, DataConfig(), DAY)[0]) == (not said(faces))
    asked = DataConfig(rights=("by", "by-sa"))
    assert bool(permitted(faces, asked, DAY)[0]) == (not said(faces) and rights in ("by", "by-sa"))


def with_row(faces: Faces, change: dict[str, str | None]) -> Faces:
    """One face, whose sidecar says something else."""
    row = {**faces.table.slice(0, 1).to_pylist()[0], **change}
    table = pa.Table.from_pylist([row], schema=faces.table.schema)
    one = {name: getattr(faces, name)[:1] for name in ("shard", "offset", "length", "boxes", "keypoints")}
    return replace(faces, table=table, **one)
