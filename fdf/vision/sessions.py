"""The one place that makes onnxruntime sessions.

CPU by default, one thread inside an operator and none between operators: the pipeline runs several pictures at once
instead, and a result never depends on how many threads a machine has. Sessions are cached per process; `run` may be called
from several Python threads at once.
"""

from __future__ import annotations

import os
import threading
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fdf.errors import MachineError, ModelError

Floats = npt.NDArray[np.float32]

_lock = threading.Lock()
_sessions: dict[tuple[int, str, int, bool], Any] = {}


def session(path: Path, *, threads: int = 1, cuda: bool = False) -> Any:
    """The process's onnxruntime session of a file.

    Args:
        path: an ONNX file whose hash has been checked (`fdf.vision.zoo.path_of`).
        threads: threads inside one operator.
        cuda: run on the GPU; results then differ from the CPU's by float noise.

    Raises:
        MachineError: `cuda` was asked for and this onnxruntime has no CUDA provider.
        ModelError: onnxruntime can't read the file.
    """
    key = (os.getpid(), str(path), threads, cuda)
    with _lock:
        if key not in _sessions:
            _sessions[key] = _make(path, threads, cuda)
        return _sessions[key]


def run_rows(network: Any, rows: Floats) -> list[Floats]:
    """Outputs for a batch of rows of one shape.

    On a CPU rows go through one by one: with one thread that is as fast as a batch for small networks and twice as fast
    for CenterFace, whose activations outgrow the cache. On a GPU they go together. On the CPU a row's result is the same
    to the last bit either way.
    """
    name = network.get_inputs()[0].name
    step = 1 if network.get_providers()[0] == "CPUExecutionProvider" else 16
    parts = [network.run(None, {name: rows[at : at + step]}) for at in range(0, len(rows), step)]
    return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]


def _make(path: Path, threads: int, cuda: bool) -> Any:
    import onnxruntime

    if threads < 1:
        raise ValueError(f"threads must be 1 or more, got {threads}.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    options.enable_mem_pattern = False  # pictures come in many sizes: a pattern per size would only fill memory
    _frugal_arena()
    options.add_session_config_entry("session.use_env_allocators", "1")
    providers = ["CPUExecutionProvider"]
    if cuda:
        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise MachineError(
                "The GPU was asked for, but this onnxruntime can't use one",
                expected="CUDAExecutionProvider",
                got=", ".join(onnxruntime.get_available_providers()),
                action="Install onnxruntime-gpu instead of onnxruntime, or run on the CPU",
            )
        providers.insert(0, "CUDAExecutionProvider")
    try:
        return onnxruntime.InferenceSession(str(path), sess_options=options, providers=providers)
    except Exception as error:  # onnxruntime raises a family of its own that shares no base class
        raise ModelError(
            f"onnxruntime can't load {path.name}",
            got=str(error).splitlines()[0],
            action="Check that the file is an ONNX model that this onnxruntime version can read",
        ) from error


@cache
def _frugal_arena() -> None:
    """Let the arena of this process grow by what is asked for, not to the next power of two: a tenth less memory, as fast."""
    import onnxruntime as ort

    place = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    grows = {"max_mem": 0, "arena_extend_strategy": 1, "initial_chunk_size_bytes": -1, "max_dead_bytes_per_chunk": -1}
    ort.create_and_register_allocator(place, ort.OrtArenaCfg(grows))
