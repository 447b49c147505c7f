"""Heaps of the process: as many as the command asks for, and no more with many threads."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import ctypes, re, sys, threading
{before}
barrier = threading.Barrier(6)
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p

def work():
    libc.malloc(1000)
    barrier.wait()

threads = [threading.Thread(target=work) for _ in range(6)]
[t.start() for t in threads], [t.join() for t in threads]
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
print(len(re.findall("<heap nr=", open(sys.argv[1]).read())))
"""


def heaps(before: str, file: Path, **environment: str) -> int:
    shown = subprocess.run(
        [sys.executable, "-c", CODE.format(before=before), str(file)],
        capture_output=True, text=True, check=True, env={**os.environ, **environment},
    )  # fmt: skip
    return int(shown.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_threads_share_two_heaps(tmp_path: Path) -> None:
    ours = "from fdf.cli.memory import few_heaps; few_heaps()"
    assert heaps("", tmp_path / "info") > 2
    assert heaps(ours, tmp_path / "info") == 2
    assert heaps(ours, tmp_path / "info", MALLOC_ARENA_MAX="4") == 4
