"""A generator of a few nodes: outside the hole the picture, inside a colour that depends on z."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SAYS = {"resolution": "64", "latent": "4", "hole": "box", "size": "tiny", "licence": "CC0-1.0"}


def write_generator(
    path: Path,
    *,
    says: dict[str, str] | None = None,
    resolution: int = 64,
    gain: float = 1.0,
    latent: int = 4,
    rename: dict[str, str] | None = None,
) -> Path:
    """picture · (1 − mask) + mask · tanh(z · w); `gain` scales z."""
    names = {name: (rename or {}).get(name, name) for name in ("picture", "mask", "keypoints", "z")}
    weights = np.random.default_rng(0).normal(0, gain, (latent, 3)).astype(np.float32)

    def constant(name: str, value: np.ndarray) -> onnx.TensorProto:
        return numpy_helper.from_array(value, name)

    nodes = [
        helper.make_node("MatMul", [names["z"], "w"], ["colour"]),
        helper.make_node("Tanh", ["colour"], ["bounded"]),
        helper.make_node("Unsqueeze", ["bounded", "axes"], ["pixel"]),
        helper.make_node("Mul", ["pixel", names["mask"]], ["face"]),
        helper.make_node("Sub", ["one", names["mask"]], ["seen"]),
        helper.make_node("Mul", [names["picture"], "seen"], ["kept"]),
        helper.make_node("ReduceSum", [names["keypoints"], "two"], ["sum"], keepdims=1),  # every input must be used
        helper.make_node("Mul", ["sum", "nothing"], ["none"]),
        helper.make_node("Unsqueeze", ["none", "last"], ["none4"]),
        helper.make_node("Add", ["kept", "face"], ["both"]),
        helper.make_node("Add", ["both", "none4"], ["out"]),
    ]
    side = resolution
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info(names["picture"], TensorProto.FLOAT, ["N", 3, side, side]),
            helper.make_tensor_value_info(names["mask"], TensorProto.FLOAT, ["N", 1, side, side]),
            helper.make_tensor_value_info(names["keypoints"], TensorProto.FLOAT, ["N", 7, 3]),
            helper.make_tensor_value_info(names["z"], TensorProto.FLOAT, ["N", latent]),
        ],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", 3, side, side])],
        [
            constant("w", weights),
            constant("axes", np.array([2, 3], np.int64)),
            constant("last", np.array([3], np.int64)),
            constant("two", np.array([1, 2], np.int64)),
            constant("one", np.array(1, np.float32)),
            constant("nothing", np.array(0, np.float32)),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, SAYS if says is None else says)
    path.write_bytes(model.SerializeToString())
    return path
