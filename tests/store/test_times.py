"""A Ctrl-C that comes while a table is read isn't lost."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

CODE = """
import json, sys
import pyarrow as pa
{before}
files = set()
sys.setprofile(lambda frame, event, argument: files.add(frame.f_code.co_filename))
pa.array([0], pa.timestamp("ms", tz="UTC")).to_pylist()
sys.setprofile(None)
print(json.dumps([file.replace(chr(92), "/") for file in files]))
"""


@pytest.mark.parametrize(("before", "reads"), [("", True), ("import fdf.schema", False)])
def test_arrow_has_no_time_zone_to_read(before: str, reads: bool) -> None:
    """It reads one in Python when it meets the first, as the case without us shows, and swallows what is raised there."""
    code = CODE.format(before=before)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert any(file.endswith("zoneinfo/_common.py") for file in json.loads(done.stdout)) is reads
