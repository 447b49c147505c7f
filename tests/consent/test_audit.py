"""The audit trusts nothing that the build concluded."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from fdf.consent.audit import audit
from fdf.pipeline.layout import read_release
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
