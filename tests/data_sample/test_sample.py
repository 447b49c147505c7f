"""The bundled sample corpus is what its README says: whole, consistent with itself, and nobody's real photos."""

import bz2
import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from urllib.parse import unquote_plus

import pytest
from PIL import Image, ImageOps

from fdf.vocabulary import Reason

SAMPLE = Path(__file__).resolve().parents[2] / "fdf" / "data" / "sample"
MIRROR = SAMPLE / "mirror"
CC = "http://creativecommons.org/licenses/{}/2.0/"
SIX = {CC.format(code) for code in ("by", "by-sa", "by-nd", "by-nc", "by-nc-sa", "by-nc-nd")}
DROPPED_WITHOUT_FETCH = "metadata: "


def mirror_name(url: str) -> str:
    digest = hashlib.md5(url.encode(), usedforsecurity=False).digest()
    return "".join(f"{byte:x}" for byte in digest)


def mirror_key(url: str, extension: str) -> str:
    k = mirror_name(url)
    return f"data/images/{k[:3]}/{k[3:6]}/{k}.{extension}"


def read_json(name: str) -> dict:
    return json.loads((SAMPLE / name).read_text(encoding="utf-8"))


LINES = bz2.decompress((SAMPLE / "yfcc100m_sample.tsv.bz2").read_bytes()).decode("ascii").split("\n")[:-1]
ROWS = [cells for line in LINES if len(cells := line.split("\t")) == 23]
FETCHABLE = {row[0]: row for row in ROWS if row[14]}
TRUTH = [json.loads(line) for line in (SAMPLE / "truth.jsonl").read_text(encoding="utf-8").splitlines()]
EXPECTED = read_json("expected.json")
ROUTES = read_json("routes.json")


def fetched(outcome: str) -> bool:
    return not outcome.startswith(DROPPED_WITHOUT_FETCH)


def test_mirror_key_agrees_with_the_public_mirror():
    url = "http://farm8.staticflickr.com/7205/6985418911_df7747990d.jpg"
    assert mirror_name(url) == "4e2f7a26a1dfbf165a7e30bdabf7e72a"
    assert any(len(mirror_name(row[14])) < 32 for row in FETCHABLE.values()), "a byte under 0x10 must be exercised"


def test_rows():
    widths = Counter(line.count("\t") + 1 for line in LINES)
    assert len(LINES) >= 72
    assert widths == {23: len(LINES) - 2, 22: 1, 1: 1}  # one cut row and one empty line
    assert Counter(row[22] for row in ROWS)["1"] == 1  # one video
    assert sum(not row[14] for row in ROWS) == 1  # one without a URL
    assert Counter(Counter(row[0] for row in ROWS).values())[2] == 1  # one id twice


def test_licences_and_owners():
    assert {row[16] for row in ROWS} >= SIX
    assert len({row[1] for row in ROWS}) >= 10
    for row in ROWS:
        if row[16] in SIX:
            assert row[15].startswith("Attribution")
            assert row[15].endswith(" License")


def test_nobody_is_impersonated():
    for row in ROWS:
        owner, name = row[1], unquote_plus(row[2])
        assert re.fullmatch(r"900000\d\d@N00", owner)
        assert "sample" in name.lower()
        assert re.fullmatch(r"9000000000\d\d", row[0])
        assert row[13] == f"http://www.flickr.com/photos/{owner}/{row[0]}/"
        if row[14]:
            photo, secret, server, farm = row[0], row[19], row[17], row[18]
            assert row[14] == f"http://farm{farm}.staticflickr.com/{server}/{photo}_{secret}.jpg"


def test_surprises_of_the_real_file_are_there():
    titles = [row[6] for row in ROWS]
    assert any("%26amp%3B" in title for title in titles)
    assert any("%3Cscript%3E" in title for title in titles)
    assert any("%FF%FE" in title for title in titles)  # no UTF-8
    assert any(len(title) > 2000 for title in titles)
    assert any("%E2%80%AE" in title for title in titles)  # right-to-left override
    assert any(row[3].startswith("4501-") for row in ROWS)
    assert any(row[11] == "200.0" for row in ROWS)
    assert any("no_cv" in row[8].split(",") for row in ROWS)
    assert any("fdf:no_cv=1" in row[9].split(",") for row in ROWS)


def test_every_photo_to_fetch_has_a_file_or_a_route():
    for photo_id, outcome in EXPECTED.items():
        if not fetched(outcome):
            continue
        url = FETCHABLE[photo_id][14]
        keys = [mirror_key(url, extension) for extension in ("jpg", "png", "gif")]
        assert any((MIRROR / key).is_file() or key in ROUTES for key in keys), photo_id


def test_every_file_belongs_to_a_row():
    keys = {mirror_key(row[14], extension) for row in FETCHABLE.values() for extension in ("jpg", "png", "gif")}
    found = {path.relative_to(MIRROR).as_posix() for path in MIRROR.rglob("*") if path.is_file()}
    assert found - keys == {"photo_unavailable.png"}
    assert set(ROUTES) <= keys
    assert {Path(key).suffix for key in found} == {".jpg", ".png", ".gif"}


def test_routes_say_only_what_the_server_knows():
    for route in ROUTES.values():
        assert set(route) <= {"status", "times", "retry_after", "redirect", "headers"}
        if "redirect" in route:
            assert (MIRROR / route["redirect"].lstrip("/")).is_file()


def test_expected_outcomes_cover_every_line_and_use_the_closed_list():
    assert len(EXPECTED) == len(LINES)
    for key, outcome in EXPECTED.items():
        stage, _, reason = outcome.partition(": ")
        assert outcome == "ok" or (stage in {"metadata", "fetch", "detect", "filter"} and Reason(reason))
        if key.startswith("line:"):
            assert int(key.removeprefix("line:")) < len(LINES)
        else:
            assert key in {row[0] for row in ROWS}


def test_exact_duplicates_are_exact():
    digests: dict[str, list[str]] = {}
    for record in TRUTH:
        digest = hashlib.sha256((MIRROR / record["file"]).read_bytes()).hexdigest()
        digests.setdefault(digest, []).append(record["photo_id"])
    twins = [ids for ids in digests.values() if len(ids) > 1]
    assert len(twins) == 2
    assert all(EXPECTED[ids[-1]] == "filter: duplicate_photo" for ids in twins)


@pytest.mark.parametrize("record", TRUTH, ids=lambda record: record["photo_id"])
def test_truth_lies_in_its_picture(record):
    with Image.open(MIRROR / record["file"]) as image:
        size = ImageOps.exif_transpose(image).size
    assert size == (record["width"], record["height"])
    assert max(size) <= 512
    for face in record["faces"]:
        x0, y0, x1, y1 = face["box"]
        assert 0 <= x0 < x1 <= size[0]
        assert 0 <= y0 < y1 <= size[1]
        assert len(face["keypoints"]) == 7
        margin = 0.1 * (x1 - x0)
        assert {seen for _, _, seen in face["keypoints"]} <= {0, 1}
        for x, y, _ in face["keypoints"][:3]:  # nose and eyes; a profile's far eye may lie a little outside
            assert x0 - margin <= x <= x1 + margin
            assert y0 <= y <= y1
        # Nobody stands on their head, and left is the subject's own unless the face is seen from the side.
        if face["yaw"] is None or abs(face["yaw"]) < 30:
            _, (left, eyes, _), (right, _, _) = face["keypoints"][:3]
            assert left > right
            assert eyes < (y0 + y1) / 2 + margin


def test_pictures_with_and_without_faces():
    faces = Counter(len(record["faces"]) for record in TRUTH)
    assert faces[0] >= 8
    assert sum(n for count, n in faces.items() if count > 1) >= 8
    sizes = [face["box"][3] - face["box"][1] for record in TRUTH for face in record["faces"]]
    assert sum(40 <= size < 80 for size in sizes) >= 10
    assert min(sizes) < 17
    for record in TRUTH:
        if not record["faces"]:
            assert EXPECTED[record["photo_id"]] == "detect: no_face"


def test_truth_is_that_of_the_renderer():
    """Poses from front to profile, points that are hidden, and nobody in the photos of two owners but by a copy."""
    owners: dict[str, set[str]] = {}
    faces = [face for record in TRUTH for face in record["faces"]]
    for record in TRUTH:
        copied = EXPECTED[record["photo_id"]] == "filter: duplicate_photo"
        for face in record["faces"]:
            assert (face["yaw"] is None) == (face["labels"] == "hand")
            if not copied:
                owners.setdefault(face["identity"], set()).add(FETCHABLE[record["photo_id"]][1])
    assert {len(found) for found in owners.values()} == {1}
    assert len(owners) > 80
    assert sum(face["labels"] == "hand" for face in faces) == 2
    assert max(abs(face["yaw"] or 0) for face in faces) > 80
    assert any(not seen for face in faces for _, _, seen in face["keypoints"])


def test_turned_pictures_are_turned_by_exif():
    orientations = Counter()
    for record in TRUTH:
        with Image.open(MIRROR / record["file"]) as image:
            orientations[image.getexif().get(0x0112, 1)] += 1
    assert orientations[6] == 1
    assert orientations[8] == 1


def test_readme_lists_every_line_and_file():
    text = (SAMPLE / "README.md").read_text(encoding="utf-8")
    for n in range(len(LINES)):
        assert f"\n| {n} | " in text
    for path in MIRROR.glob("data/**/*.*"):
        assert path.name in text
    assert "Credit: NASA" in text
    assert "Credit: US Navy" in text


def test_size():
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*") if path.is_file()) < 10_000_000
