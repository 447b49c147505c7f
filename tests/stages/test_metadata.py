"""Stage `metadata`: which records are photos, why the others are not, and what an impossible field becomes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fdf.consent.licenses import LICENSES, RIGHTS
from fdf.schema import PHOTOS, RECORDS
from fdf.sources.yfcc import mirror_key
from fdf.stages.base import StageResult, Tools
from fdf.stages.metadata import MetadataConfig, run
from fdf.vocabulary import Reason
from tests.fakes import BY, dropped, record, tables


def metadata(*records: dict[str, Any], **config: Any) -> StageResult:
    return run(tables(source=records), MetadataConfig(**config), Tools(source="test"))


def test_a_good_record_becomes_a_photo() -> None:
    result = metadata(record(7, tags="dawn, , new york", machine_tags="geo:lat=1"))
    (row,) = result.kept.to_pylist()
    assert result.kept.schema == PHOTOS
    assert result.notes == {}
    url = "http://farm1.staticflickr.com/1/p7_a.jpg"
    assert row == dict.fromkeys(PHOTOS.names) | {
        "photo_id": "p7",
        "source": "test",
        "line_index": 7,
        "owner_nsid": "1@N00",
        "owner_name": "Ada",
        "title": "Dawn",
        "tags": ["dawn", "new york"],
        "machine_tags": ["geo:lat=1"],
        "date_taken": datetime(2011, 11, 7, 7, 20, 22),
        "date_uploaded": datetime(2011, 11, 7, 7, 20, 22, tzinfo=UTC),
        "page_url": "https://www.flickr.com/photos/1@N00/p7/",
        "download_url": url,
        "mirror_key": mirror_key(url),
        "extension": "jpg",
        "license_name": "Attribution License",
        "license_url": BY,
        "license_id": "CC-BY-2.0",
    }


# --- drops -------------------------------------------------------------------------------------------------------------

ND = {
    "license_name": "Attribution-NoDerivs License",
    "license_url": "http://creativecommons.org/licenses/by-nd/2.0/",
}
DROPS: list[tuple[dict[str, Any], Reason, str]] = [
    ({"problem": "22 columns"}, Reason.BAD_ROW, "22 columns"),
    ({"photo_id": None}, Reason.BAD_ROW, "no photo id"),
    ({"photo_id": ""}, Reason.BAD_ROW, "no photo id"),
    ({"photo_id": "line:9"}, Reason.BAD_ROW, "an id may not begin with 'line:'"),
    ({"photo_id": "line:5", "marker": "1"}, Reason.BAD_ROW, "an id may not begin with 'line:'"),
    ({"photo_id": "line:9", "problem": "22 columns"}, Reason.BAD_ROW, "22 columns"),
    ({"marker": "1"}, Reason.NOT_A_PHOTO, "marker 1"),
    ({"marker": "x"}, Reason.NOT_A_PHOTO, "marker x"),
    ({"marker": "1", "download_url": None}, Reason.NOT_A_PHOTO, "marker 1"),
    ({"download_url": None}, Reason.BAD_ROW, "no download URL"),
    *(
        ({"download_url": url}, Reason.BAD_ROW, f"the download URL is no http(s) URL: {url}")
        for url in ("ftp://a.org/1.jpg", "file:///etc/passwd", "a.jpg", "http://", "http://[::1", "http://a b/", "http://a/\x7f")
    ),
    ({"download_url": "x" * 5000}, Reason.BAD_ROW, f"the download URL is no http(s) URL: {'x' * 200}"),
    (ND, Reason.LICENSE_NO_DERIVATIVES, "CC-BY-ND-2.0"),
    ({**ND, "license_name": None}, Reason.LICENSE_NO_DERIVATIVES, "CC-BY-ND-2.0"),
    ({"license_name": "Attribution-NonCommercial-NoDerivs License", "license_url": None},
     Reason.LICENSE_NO_DERIVATIVES, "CC-BY-NC-ND-2.0"),
    ({"license_name": None, "license_url": None}, Reason.LICENSE_UNKNOWN, "no name, no URL"),
    ({"license_name": "Sample License", "license_url": None}, Reason.LICENSE_UNKNOWN, "Sample License, no URL"),
    ({"license_name": None, "license_url": "http://a.org/free"}, Reason.LICENSE_UNKNOWN, "no name, http://a.org/free"),
    ({"license_url": "http://creativecommons.org/licenses/by-nc/2.0/"}, Reason.LICENSE_UNKNOWN,
     "Attribution License, http://creativecommons.org/licenses/by-nc/2.0/"),
    ({"license_name": "All Rights Reserved", "license_url": None}, Reason.LICENSE_EXCLUDED, "LicenseRef-All-Rights-Reserved"),
    ({"tags": "dawn,no_cv"}, Reason.OPTED_OUT, "tag no_cv"),
    ({"tags": "No CV"}, Reason.OPTED_OUT, "tag No CV"),
    ({"machine_tags": "geo:lat=1,fdf:no_cv=1"}, Reason.OPTED_OUT, "tag fdf:no_cv=1"),
]  # fmt: skip


@pytest.mark.parametrize(("columns", "reason", "detail"), DROPS)
def test_drops(columns: dict[str, Any], reason: Reason, detail: str) -> None:
    result = metadata(record(5, **columns))
    assert result.kept.num_rows == 0
    (row,) = result.dropped.to_pylist()
    assert row == {
        "stage": "metadata",
        "photo_id": "line:5" if "photo_id" in columns else "p5",
        "face_id": None,
        "reason": reason.value,
        "detail": detail,
        "retryable": False,
    }


@pytest.mark.parametrize(
    ("excluded", "license_name", "reason"),
    [
        ("by", "Attribution License", Reason.LICENSE_EXCLUDED),
        ("CC-BY-2.0", "Attribution License", Reason.LICENSE_EXCLUDED),
        ("by-nc", "Attribution License", None),
        ("by-nc", "Attribution-NonCommercial License", Reason.LICENSE_EXCLUDED),
        ("by-nc", "Attribution-NonCommercial-ShareAlike License", None),
        ("CC-BY-4.0", "Attribution License", None),
    ],
)
def test_a_recipe_may_exclude_licences_by_id_or_rights_class(
    excluded: str, license_name: str, reason: Reason | None
) -> None:
    result = metadata(record(license_name=license_name, license_url=None), exclude_licenses=(excluded,))
    found = dropped(result).get("p0")
    assert (found[0] if found else None) == reason
    if found:
        assert str(found[1]).endswith("is excluded by the recipe")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        *((name, name) for name in (*LICENSES, *RIGHTS)),
        ("BY-NC", "by-nc"),
        (" by-sa\t", "by-sa"),
        ("CC-BY-NC-2.0 ", "CC-BY-NC-2.0"),
        ("cc-by-sa-2.0", "CC-BY-SA-2.0"),
        ("CC BY-NC-SA 3.0 de", "CC-BY-NC-SA-3.0-DE"),
    ],
)
def test_an_excluded_licence_may_be_written_with_other_case_and_spaces(written: str, meant: str) -> None:
    config = MetadataConfig(exclude_licenses=(written, meant))
    assert config.exclude_licenses == (meant,)
    assert config.fingerprint() == MetadataConfig(exclude_licenses=(meant,)).fingerprint()


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        ("by-xx", "'by-xx' is no rights class .* did you mean .*'by-nc'"),
        ("CC-BY-CN-2.0", "did you mean .*'CC-BY-NC-2.0'"),
        ("CC-BY-NC-2.1", "did you mean .*'CC-BY-NC-2.0'.*[?]"),
        ("all of them!", "the rights classes are pd, by, "),
        ("", "the rights classes are pd, by, "),
        (" ", "the rights classes are pd, by, "),
    ],
)
def test_an_excluded_licence_that_is_none_is_refused_not_ignored(written: str, answer: str) -> None:
    with pytest.raises(ValidationError, match=answer):
        MetadataConfig(exclude_licenses=("by-nc", written))


def test_opt_out_tags_are_obeyed_unless_the_recipe_says_otherwise() -> None:
    tagged = record(tags="no_cv")
    assert metadata(tagged).kept.num_rows == 0
    assert metadata(tagged, obey_opt_out_tags=False).kept["tags"].to_pylist() == [["no_cv"]]
    assert metadata(record(tags="cv,no,nocvs,no_cv_please")).kept.num_rows == 1


# --- an id twice --------------------------------------------------------------------------------------------------------


def test_an_id_is_used_once_and_the_second_row_is_named_by_its_line() -> None:
    result = metadata(record(0, photo_id="p"), record(1, photo_id="q"), record(2, photo_id="p"))
    assert result.kept["line_index"].to_pylist() == [0, 1]
    assert dropped(result) == {"line:2": ("bad_row", "photo id p was there before")}


def test_a_row_that_was_refused_does_not_come_in_by_a_second_row() -> None:
    result = metadata(record(0, photo_id="p", **ND), record(1, photo_id="p"), record(2, photo_id="p", tags="no_cv"))
    assert result.kept.num_rows == 0
    assert dropped(result) == {
        "p": ("license_no_derivatives", "CC-BY-ND-2.0"),
        "line:1": ("bad_row", "photo id p was there before"),
        "line:2": ("bad_row", "photo id p was there before"),
    }


def test_an_unreadable_row_does_not_use_up_an_id() -> None:
    result = metadata(record(0, photo_id=None, problem="22 columns"), record(1, photo_id="p"))
    assert result.kept["photo_id"].to_pylist() == ["p"]
    assert list(dropped(result)) == ["line:0"]


def test_an_id_that_looks_like_the_name_of_a_line_takes_no_name_away() -> None:
    result = metadata(record(0, photo_id="line:1"), record(1, photo_id=None), record(2, photo_id="line:1"))
    assert dropped(result) == {
        "line:0": ("bad_row", "an id may not begin with 'line:'"),
        "line:1": ("bad_row", "no photo id"),
        "line:2": ("bad_row", "an id may not begin with 'line:'"),
    }
    assert metadata(record(photo_id="Line:1")).kept["photo_id"].to_pylist() == ["Line:1"]


# --- fields ----------------------------------------------------------------------------------------------------------------

FIELDS: list[tuple[str, str, Any]] = [
    ("date_taken", "2011-11-07 07:20:22.0", datetime(2011, 11, 7, 7, 20, 22)),
    ("date_taken", " 1826-01-01 00:00:00 ", datetime(1826, 1, 1)),
    ("date_taken", "2011-11-07T07:20:22.9+02:00", datetime(2011, 11, 7, 7, 20, 22)),
    ("date_uploaded", "1320650422", datetime(2011, 11, 7, 7, 20, 22, tzinfo=UTC)),
    ("date_uploaded", "2011-11-07 07:20:22", datetime(2011, 11, 7, 7, 20, 22, tzinfo=UTC)),
    ("date_uploaded", "2011-11-07T07:20:22.5+01:00", datetime(2011, 11, 7, 6, 20, 22, tzinfo=UTC)),
    ("extension", ".JPG", "jpg"),
    ("sha256", "AB" * 32, "ab" * 32),
    ("longitude", "-180", -180.0),
    ("latitude", "90.0", 90.0),
    ("page_url", "https://a.org/é?q=1#x", "https://a.org/é?q=1#x"),
]
IMPOSSIBLE: list[tuple[str, str]] = [
    *(("date_taken", text) for text in ("4501-01-01 00:00:00.0", "1825-12-31 23:59:59", "0000-00-00 00:00:00", "soon",
      "2011-02-30 00:00:00", "²")),
    *(("date_uploaded", text) for text in ("0", "1076371199", "-5", "4102444800", str(10**15), str(10**17), str(10**18),
      str(10**30), "-" + "9" * 18, "9" * 5000, "²", "--5", "soon", "0001-01-01T00:00:00+14:00")),
    *(("longitude", text) for text in ("180.01", "-181", "nan", "inf", "east", "1e400")),
    *(("latitude", text) for text in ("200", "-90.5", "NaN")),
    *(("page_url", text) for text in ("javascript:alert(1)", "www.flickr.com", "http://a b", "http://[", "http://a/\u202e")),
    *(("extension", text) for text in ("../sh", "jpegjpeg", ".", "é", "j pg")),
    *(("sha256", text) for text in ("ab", "g" * 64, "a" * 63, "é" * 64)),
]  # fmt: skip
COLUMN = {"sha256": "expected_sha256"}


@pytest.mark.parametrize(("name", "text", "expected"), FIELDS)
def test_fields(name: str, text: str, expected: Any) -> None:
    result = metadata(record(**{name: text}), keep_location=True)
    assert result.kept[COLUMN.get(name, name)].to_pylist() == [expected]
    assert result.notes == {}


@pytest.mark.parametrize(("name", "text"), IMPOSSIBLE)
def test_an_impossible_field_becomes_null_and_is_counted(name: str, text: str) -> None:
    result = metadata(record(**{name: text}), keep_location=True)
    assert result.kept[COLUMN.get(name, name)].to_pylist() == [None]
    assert result.notes == {f"nulled.{name}": 1}
    assert result.dropped.num_rows == 0


def test_replaced_bytes_are_counted_and_the_rest_of_the_text_stays() -> None:
    result = metadata(record(0, title="caf\ufffd", owner_name="\ufffd"), record(1, title="\ufffd"))
    assert result.kept["title"].to_pylist() == ["caf\ufffd", "\ufffd"]
    assert result.notes == {"nulled.title_bytes": 2, "nulled.owner_name_bytes": 1}


def test_places_are_left_behind_unless_the_recipe_asks_but_counted_either_way() -> None:
    here = record(longitude="8.5", latitude="200")
    for keep, longitude in ((False, None), (True, 8.5)):
        result = metadata(here, keep_location=keep)
        assert result.kept.select(["longitude", "latitude"]).to_pylist() == [{"longitude": longitude, "latitude": None}]
        assert result.notes == {"nulled.latitude": 1}


# --- the law ------------------------------------------------------------------------------------------------------------------

TEXT = st.none() | st.sampled_from(
    ["", "0", "1", "p", "line:0", "line:1", "no_cv", "http://a.org/1.jpg", "Attribution License", "4501-01-01"]
)
ROWS = st.lists(st.fixed_dictionaries({}, optional={
    name: TEXT | st.text(st.characters(exclude_categories=["Cs"]))
    for name in RECORDS.names if name != "line_index"
}), max_size=8)  # fmt: skip


@given(ROWS, st.booleans())
def test_every_record_is_kept_or_dropped_once(rows: list[dict[str, Any]], location: bool) -> None:
    result = metadata(*(record(line, **row) for line, row in enumerate(rows)), keep_location=location)
    assert result.kept.num_rows + result.dropped.num_rows == len(rows)
    names = [*result.kept["photo_id"].to_pylist(), *result.dropped["photo_id"].to_pylist()]
    assert len(set(names)) == len(rows)
    result.kept.validate(full=True)


def test_progress_counts_every_record() -> None:
    steps: list[int] = []
    run(tables(source=[record(0), record(1, marker="1")]), MetadataConfig(), Tools(advance=steps.append))
    assert sum(steps) == 2


def test_no_photo_is_taken_after_its_upload() -> None:
    uploaded = "1320651622"  # 2011-11-07 07:40:22 UTC
    in_time = metadata(record(date_taken="2011-11-07 21:00:00.0", date_uploaded=uploaded))
    assert in_time.kept["date_taken"].is_valid().to_pylist() == [True], "camera time may be fourteen hours ahead"
    late = metadata(record(date_taken="2011-11-09 07:20:22.0", date_uploaded=uploaded))
    assert late.kept["date_taken"].to_pylist() == [None]
    assert late.notes == {"nulled.date_taken": 1}
