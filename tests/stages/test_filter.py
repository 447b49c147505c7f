"""Stage `filter` as a whole: who stays, why the others go, and that neither order nor company changes it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdf.schema import DROPPED, KEPT
from fdf.stages.base import StageResult, Tools
from fdf.stages.filter import FilterConfig, run
from fdf.vision.crop import crop_box
from tests.fakes import dropped, face_row, fetched_row, photo_row, tables

Rows = Sequence[Mapping[str, Any]]
DAY = datetime(2011, 11, 7, tzinfo=UTC)
TAKEN = datetime(2011, 11, 7, 12)
WHO, SAME, OTHER = [0.0] * 4, [0.125] * 4, [1.0] * 4


def filtered(faces: Rows, photos: Rows = (), fetched: Rows = (), **config: Any) -> StageResult:
    """The stage on faces, with rows of their photos made where none are given."""
    own = {row["photo_id"]: row for row in (photo_row(face["photo_id"]) for face in faces)}
    bytes_of = {photo_id: fetched_row(photo_id) for photo_id in own}
    own |= {row["photo_id"]: row for row in photos}
    bytes_of |= {row["photo_id"]: row for row in fetched}
    given_tables = tables(detect=faces, metadata=list(own.values()), fetch=list(bytes_of.values()))
    result = run(given_tables, FilterConfig(**config), Tools())
    assert result.kept.num_rows + result.dropped.num_rows == len(faces)
    return result


def kept(result: StageResult) -> list[str]:
    return list(result.kept["face_id"].to_pylist())


def test_a_good_face_is_kept_with_its_crop_and_cell() -> None:
    for rule in ("fdf128", "fdf256"):
        result = filtered([face_row()], rules={"crop_rule": rule})
        assert result.kept.schema == KEPT
        assert result.kept.to_pylist() == [
            {
                "face_id": "f0",
                "photo_id": "p0",
                "crop_rule": rule,
                "crop_box": list(crop_box((200, 100, 300, 220), 640, 480, rule=rule)),
                "cell": "yaw[-10,10) size[64,128) light[100,140)",
            }
        ]


def test_no_faces() -> None:
    result = filtered([])
    assert (result.kept.num_rows, result.dropped.num_rows) == (0, 0)
    assert result.dropped.schema == DROPPED


@pytest.mark.parametrize(
    ("columns", "reason", "detail"),
    [
        ({"score": 0.25}, "low_score", "0.250 < 0.5"),
        ({"box": [240.0, 130.0, 260.0, 190.0]}, "face_too_small", "20.0 px < 24"),
        ({"yaw": None}, "pose_out_of_range", "yaw unknown"),
        ({"brightness": 5.0}, "too_dark", "5 < 25"),
        ({"brightness": 250.0}, "too_bright", "250 > 235"),
        ({"contrast": 1.0}, "low_contrast", "1.0 < 8"),
        ({"sharpness": 1.0}, "blurred", "1.0 < 15"),
    ],
)
def test_a_face_against_the_rules(columns: dict[str, Any], reason: str, detail: str) -> None:
    result = filtered([face_row("bad", **columns), face_row("good", "p1")])
    assert dropped(result) == {"bad": (reason, detail)}
    (row,) = result.dropped.to_pylist()
    assert (row["stage"], row["photo_id"], row["retryable"]) == ("filter", "p0", False)


# --- duplicates ----------------------------------------------------------------------------------------------------------


def test_all_faces_of_a_duplicate_photo_go() -> None:
    faces = [face_row("a", "p0"), face_row("b", "p1"), face_row("c", "p1")]
    photos = [photo_row("p0", date_uploaded=DAY), photo_row("p1", date_uploaded=DAY + timedelta(seconds=1))]
    fetched = [fetched_row("p0"), fetched_row("p1", sha256=fetched_row("p0")["sha256"])]
    assert dropped(filtered(faces, photos, fetched)) == {
        "b": ("duplicate_photo", "of photo p0: same bytes"),
        "c": ("duplicate_photo", "of photo p0: same bytes"),
    }


def test_the_earliest_upload_stays_even_if_its_id_is_larger() -> None:
    photos = [photo_row("p0", date_uploaded=None), photo_row("p1", date_uploaded=DAY)]
    fetched = [fetched_row("p0", phash=0), fetched_row("p1", phash=0b1111)]
    result = filtered([face_row("a", "p0"), face_row("b", "p1")], photos, fetched)
    assert dropped(result) == {"a": ("duplicate_photo", "of photo p1: 4 of 64 hash bits differ")}
    assert dropped(filtered([face_row("a", "p0"), face_row("b", "p1")], photos, fetched,
                            duplicates={"max_hash_distance": 3})) == {}  # fmt: skip


def test_a_photo_without_a_good_face_is_nobodys_original() -> None:
    """The first copy has only a face that the rules refuse; the second must not fall with it."""
    faces = [face_row("a", "p0", score=0.1), face_row("b", "p1")]
    fetched = [fetched_row("p0"), fetched_row("p1", sha256=fetched_row("p0")["sha256"])]
    result = filtered(faces, fetched=fetched)
    assert kept(result) == ["b"]
    assert dropped(result)["a"][0] == "low_score"


def test_the_same_face_id_under_two_photo_ids_is_judged_by_photo() -> None:
    """The same bytes give the same face id: exactly one of the two stays."""
    fetched = [fetched_row("p0"), fetched_row("p1", sha256=fetched_row("p0")["sha256"])]
    result = filtered([face_row("f", "p0"), face_row("f", "p1")], fetched=fetched)
    assert result.kept["photo_id"].to_pylist() == ["p0"]
    assert result.dropped["photo_id"].to_pylist() == ["p1"]


def test_an_id_that_stands_twice_in_the_metadata_belongs_to_its_first_row() -> None:
    """`fetch` has dropped the second one; its owner must not count here."""
    faces = [face_row("a", "p0"), face_row("b", "p1")]
    metadata = [photo_row("p0", owner_nsid="o"), photo_row("p1", owner_nsid="p"), photo_row("p1", owner_nsid="o")]
    given_tables = tables(detect=faces, metadata=metadata, fetch=[fetched_row("p0"), fetched_row("p1")])
    config = FilterConfig.model_validate({"balance": {"max_per_owner": 1}})
    assert kept(run(given_tables, config, Tools())) == ["a", "b"]


def burst(second: Mapping[str, Any], **face: Any) -> StageResult:
    """Two photos of one owner, ten seconds apart, with the same face; the second is smaller. Changed as asked."""
    faces = [
        face_row("a", "p0", embedding=WHO),
        face_row("b", "p1", **{"box": [200.0, 100.0, 290.0, 220.0], "embedding": SAME} | face),
    ]
    photos = [
        photo_row("p0", owner_nsid="o", date_taken=TAKEN),
        photo_row("p1", **{"owner_nsid": "o", "date_taken": TAKEN + timedelta(seconds=10)} | second),
    ]
    return filtered(faces, photos)


def test_the_smaller_face_of_a_burst_goes() -> None:
    assert dropped(burst({})) == {"b": ("duplicate_face", "of face a: embedding distance 0.250")}
    bigger = burst({}, box=[190.0, 90.0, 310.0, 230.0])
    assert dropped(bigger) == {"a": ("duplicate_face", "of face b: embedding distance 0.250")}


@pytest.mark.parametrize(
    ("photo", "face"),
    [
        pytest.param({"owner_nsid": "other"}, {}, id="another owner"),
        pytest.param({"owner_nsid": None}, {}, id="no owner"),
        pytest.param({"date_taken": None}, {}, id="no date"),
        pytest.param({"date_taken": TAKEN + timedelta(seconds=61)}, {}, id="too late"),
        pytest.param({}, {"embedding": None}, id="no embedding"),
        pytest.param({}, {"embedding": OTHER}, id="another person"),
    ],
)
def test_what_is_no_burst(photo: dict[str, Any], face: dict[str, Any]) -> None:
    assert dropped(burst(photo, **face)) == {}


def test_bursts_can_be_turned_off() -> None:
    faces = [face_row(name, f"p{name}", embedding=WHO) for name in "ab"]
    photos = [photo_row(f"p{name}", owner_nsid="o", date_taken=TAKEN) for name in "ab"]
    assert kept(filtered(faces, photos)) == ["a"]
    assert kept(filtered(faces, photos, duplicates={"burst_seconds": 0})) == ["a", "b"]


def test_a_face_that_the_rules_refuse_is_nobodys_twin() -> None:
    result = burst({}, sharpness=0.0)
    assert dropped(result) == {"b": ("blurred", "0.0 < 15")}


# --- balance -----------------------------------------------------------------------------------------------------------


def test_caps_count_only_what_is_left_and_owners_come_first() -> None:
    faces = [face_row(f"f{index}", f"p{index}", score=0.1 if index == 0 else 0.9) for index in range(6)]
    photos = [photo_row(f"p{index}", owner_nsid="o" if index < 4 else None) for index in range(6)]
    result = filtered(faces, photos, balance={"max_per_owner": 2, "max_per_cell": 3})
    found = dropped(result)
    assert found.pop("f0") == ("low_score", "0.100 < 0.5")
    details = sorted(str(detail) for _, detail in found.values())
    assert details == ["cell yaw[-10,10) size[64,128) light[100,140) has 4, cap 3", "owner o has 3, cap 2"]
    assert {reason for reason, _ in found.values()} == {"over_represented"}


def test_photos_without_an_owner_are_not_one_owner() -> None:
    faces = [face_row("a", "p0"), face_row("b", "p1"), face_row("c", "p1")]
    photos = [photo_row("p0", owner_nsid=None), photo_row("p1", owner_nsid=None)]
    result = filtered(faces, photos, balance={"max_per_owner": 1})
    assert len(kept(result)) == 2
    assert "a" in kept(result)


# --- any order, any table ----------------------------------------------------------------------------------------------

FACES = st.lists(
    st.fixed_dictionaries({
        "photo_id": st.sampled_from(["p0", "p1", "p2", "p3"]), "score": st.sampled_from([0.25, 0.75]),
        "yaw": st.sampled_from([None, 0.0, 45.0]), "embedding": st.sampled_from([None, WHO, SAME, OTHER]),
        "brightness": st.sampled_from([10.0, 120.0]),
    }), max_size=8,
)  # fmt: skip


@given(FACES, st.randoms(), st.integers(0, 2), st.integers(0, 3))
def test_the_order_of_all_rows_changes_nothing(
    columns: list[dict[str, Any]], chance: random.Random, per_owner: int, per_cell: int
) -> None:
    faces = [face_row(f"f{index}", **given) for index, given in enumerate(columns)]
    photos = [
        photo_row(f"p{n}", owner_nsid=f"o{n // 3}", date_taken=TAKEN + timedelta(seconds=25 * n)) for n in range(4)
    ]
    fetched = [fetched_row(f"p{n}", phash=(1 << (3 * n)) - 1) for n in range(4)]
    config = FilterConfig.model_validate({"balance": {"max_per_owner": per_owner, "max_per_cell": per_cell}})

    def verdicts(*rows: list[dict[str, Any]]) -> tuple[set[str], dict[str, tuple[str, str | None]]]:
        result = run(tables(detect=rows[0], metadata=rows[1], fetch=rows[2]), config, Tools())
        assert result.kept.num_rows + result.dropped.num_rows == len(faces)
        return set(kept(result)), dropped(result)

    first = verdicts(faces, photos, fetched)
    assert verdicts(*(chance.sample(rows, len(rows)) for rows in (faces, photos, fetched))) == first
    assert len(first[0]) + len(first[1]) == len(faces)
