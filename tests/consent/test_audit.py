"""The audit trusts nothing that the build concluded."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from fdf.consent.audit import COLUMNS, audit, audit_batches
from fdf.errors import DataError, UsageError
from fdf.pipeline.layout import find_release, read_release, release_batches, release_rows
from fdf.schema import RELEASE
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def rows() -> list[dict[str, object]]:
    table = read_release(Path(ROOT / "manifests/sample"))
    found: list[dict[str, object]] = table.to_pylist()
    return found


def findings(rows: list[dict[str, object]], **changed: object) -> list[tuple[str, str]]:
    """Kinds and details that an audit finds after the first BY-NC-SA face was changed."""
    index = next(i for i, row in enumerate(rows) if row["license_id"] == "CC-BY-NC-SA-2.0")
    spoiled = [row | (changed if i == index else {}) for i, row in enumerate(rows)]
    result = audit(pa.Table.from_pylist(spoiled, schema=RELEASE))
    assert {finding.face_id for finding in result.findings} <= {rows[index]["face_id"]}
    return [(finding.kind, finding.detail) for finding in result.findings]


def test_a_good_manifest_has_no_findings(rows) -> None:
    result = audit(pa.Table.from_pylist(rows, schema=RELEASE))
    assert result.findings == ()
    assert sum(row.faces for row in result.rights) == result.faces == len(rows)
    assert result.obligations.conflict, "BY-SA and BY-NC-SA can't be one work"
    assert {model.faces for model in result.models} == {len(rows)}


@pytest.mark.parametrize(
    ("changed", "kinds"),
    [
        ({"owner_name": None}, {"missing_author", "wrong_attribution"}),
        ({"page_url": None}, {"missing_source", "wrong_attribution"}),
        ({"license_url": ""}, {"refused_licence", "missing_licence"}),
        ({"license_url": "https://example.org/mine"}, {"refused_licence", "missing_licence"}),
        (
            {"license_url": "https://creativecommons.org/licenses/by-nd/2.0/", "license_id": "CC-BY-ND-2.0"},
            {"refused_licence", "wrong_rights_class", "wrong_attribution"},
        ),
        ({"license_id": "CC-BY-2.0"}, {"wrong_licence_id"}),
        ({"rights_class": "by"}, {"wrong_rights_class"}),
        ({"attribution": "me"}, {"wrong_attribution"}),
    ],
)
def test_each_kind_of_wrong_paper_is_found(rows, changed, kinds) -> None:
    found = findings(rows, **changed)
    assert {kind for kind, _ in found} == kinds
    assert all(detail for _, detail in found)


def test_it_counts_as_a_plain_loop_does(rows) -> None:
    """Photos and owners once, by licence; a face whose licence is unknown counts, but asks for nothing."""
    rows = [*rows, rows[0] | {"face_id": "again"}, rows[0] | {"face_id": "other", "license_url": "https://x.org/"}]
    rows[1] = rows[1] | {"owner_nsid": None}
    found = audit(pa.Table.from_pylist(rows, schema=RELEASE))
    keys = sorted({(row["rights_class"], row["license_id"], row["license_url"]) for row in rows})
    assert [(row.rights_class, row.license_id, row.license_url) for row in found.rights] == keys
    for line, key in zip(found.rights, keys, strict=True):
        group = [row for row in rows if (row["rights_class"], row["license_id"], row["license_url"]) == key]
        assert line.faces == len(group)
        assert line.photos == len({(row["source"], row["photo_id"]) for row in group})
        assert line.owners == len({row["owner_nsid"] or row["photo_id"] for row in group})
    counts = Counter(tuple(model.values()) for row in rows for model in row["models"])
    assert {(m.id, m.task, m.sha256, m.weight_license): m.faces for m in found.models} == counts
    assert [m.id for m in found.models] == sorted(m.id for m in found.models)
    assert found.decisions == dict(Counter(row["consent_decision"] for row in rows))
    assert [finding.face_id for finding in found.findings] == ["other", "other"]


def test_the_size_of_the_pieces_changes_nothing(rows) -> None:
    """Findings, counts and their order are the same however the table is cut; `advance` hears of every face."""
    spoiled = [row | ({"rights_class": "by"} if n % 7 == 0 else {}) for n, row in enumerate(rows)]
    table = pa.Table.from_pylist(spoiled, schema=RELEASE)
    whole = audit(table)
    assert whole.findings
    for size in (1, 3, 1000):
        heard: list[int] = []
        batches = table.select(list(COLUMNS)).to_batches(max_chunksize=size)
        assert audit_batches(batches, heard.append) == whole
        assert sum(heard) == len(rows)


def test_an_empty_release() -> None:
    found = audit(RELEASE.empty_table())
    assert (found.faces, found.rights, found.models, found.findings, found.decisions) == (0, (), (), (), {})
    assert found == audit_batches([])


def test_a_file_is_read_in_pieces(rows, tmp_path: Path) -> None:
    path = find_release(ROOT / "manifests/sample")
    assert release_rows(path) == len(rows)
    batches = list(release_batches(path, COLUMNS, 10))
    assert max(batch.num_rows for batch in batches) == 10
    assert audit_batches(batches) == audit(pa.Table.from_pylist(rows, schema=RELEASE))
    with pytest.raises(UsageError, match="There is no release manifest"):
        find_release(tmp_path)
    (tmp_path / "release.parquet").write_bytes(b"PAR1junkPAR1")
    with pytest.raises(DataError, match="is no readable Parquet file"):
        release_rows(find_release(tmp_path))
    with pytest.raises(DataError, match="is no readable Parquet file"):
        list(release_batches(find_release(tmp_path), COLUMNS, 10))
