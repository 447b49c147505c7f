"""Networks whose features say how far two sets of pictures are apart.

A distance means something only within one network: every extractor has a name and a SHA-256 that go wherever its figures go,
and `result.compare` refuses to put two of them side by side.

- `centerface-trunk` (bundled, the default): means of five layers of CenterFace. It needs no download and sees blur, noise
  and wrong textures; it is not the published FID.
- `dlib-resnet128` (bundled): dlib's face descriptor, times eight. It sees whether faces are like people and hardly sees blur.
- `inception-v3-compat`: the Inception of the published FID, by torch-fidelity.
- any ONNX file: pictures RGB −1–1 in, one row of features a picture out.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from fdf.errors import MachineError, ModelError, UsageError
from fdf.vision.base import Floats, Pixels
from fdf.vision.sessions import session
from fdf.vision.zoo import Model, model, path_of, sha256_of

DEFAULT: Final = "centerface-trunk"
DLIB: Final = "dlib-resnet128"
INCEPTION: Final = "inception-v3-compat"
BUILT_IN: Final = (DEFAULT, DLIB, INCEPTION)

_TRUNK: Final = (
    "387",
    "413",
    "448",
    "474",
    "500",
)  # ends of CenterFace's stages: 1/4, 1/8, 1/16, 1/16, 1/32 of the side
_TRUNK_SIZE: Final = 128
_DLIB_SCALE: Final = np.float32(
    8
)  # its vectors have length 1.4; so their numbers are near 1, as the kernel distance wants
_INCEPTION_FILE: Final = "weights-inception-2015-12-05-6726825d.pth"
_INCEPTION: Final = Model(
    id=INCEPTION,
    task="features",
    file=_INCEPTION_FILE,
    sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    size=95_628_359,
    where="fetched",
    code_license="Apache-2.0",
    weight_license="Apache-2.0",
    origin="Google's Inception of 2015-12-05 (TensorFlow), converted for PyTorch; the file of pytorch-fid and torch-fidelity",
    training_data="ImageNet (ILSVRC 2012): pictures of many owners, for research",
    url=f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{_INCEPTION_FILE}",
)


class Extractor(Protocol):
    """Square pictures in, a row of features each out.

    Attributes:
        id: its name: `onnx:` and the file's name for a file.
        sha256: of its weights.
        size: side of the pictures it wants.
    """

    id: str
    sha256: str
    size: int

    def extract(self, pictures: Sequence[Pixels]) -> Floats:
        """uint8 RGB (size, size, 3) each → float32 (N, d). A row does not depend on the others."""
        ...


class DlibDescriptor:
    """The face descriptors that the evaluation makes anyway. They are made of a face and not of a square: no `Extractor`."""

    id = DLIB

    def __init__(self) -> None:
        self.sha256 = model(DLIB).sha256

    @staticmethod
    def scaled(vectors: Floats) -> Floats:
        """Descriptors (N, 128) with numbers near 1."""
        return vectors * _DLIB_SCALE


def load_extractor(name: str = DEFAULT) -> Extractor | DlibDescriptor:
    """The features of a name or an ONNX file.

    Raises:
        UsageError: no such name, no such file.
        ModelError: a file that is no extractor; weights that are missing or altered.
        MachineError: a library is missing.
    """
    if name == DEFAULT:
        return CenterFaceTrunk()
    if name == DLIB:
        return DlibDescriptor()
    if name == INCEPTION:
        return Inception()
    path = Path(name)
    if path.suffix.lower() != ".onnx":
        raise UsageError(f"There are no features {name!r}", expected=f"one of {', '.join(BUILT_IN)}, or an ONNX file")
    if not path.is_file():
        raise UsageError(f"There is no extractor at {path}", expected=f"an ONNX file, or one of {', '.join(BUILT_IN)}")
    return OnnxFeatures(path)


class CenterFaceTrunk:
    """Means over the picture of five layers of the bundled face detector: 376 numbers."""

    id = DEFAULT
    size = _TRUNK_SIZE

    def __init__(self) -> None:
        row = model("centerface")
        self.sha256 = row.sha256
        self._network = _with_outputs(path_of(row), _TRUNK)

    def extract(self, pictures: Sequence[Pixels]) -> Floats:
        """float32 (N, 376)."""
        rows = []
        for picture in pictures:
            blob = picture.astype(np.float32).transpose(2, 0, 1)[None]
            layers = self._network.run(list(_TRUNK), {"image": blob})
            rows.append(np.concatenate([layer[0].mean(axis=(1, 2)) for layer in layers]))
        return np.array(rows, dtype=np.float32).reshape(len(rows), -1)


class OnnxFeatures:
    """Any network in a file: one picture input, (N, S, S, 3) or (N, 3, S, S), RGB −1–1; first output (N, d) or (N, d, …)."""

    def __init__(self, path: Path) -> None:
        self.id, self.sha256 = f"onnx:{path.stem}", sha256_of(path)
        self._network = session(path)
        inputs = self._network.get_inputs()
        shape = list(inputs[0].shape) if inputs else []
        self._first = len(shape) == 4 and shape[1] == 3
        sides = shape[2:] if self._first else shape[1:3]
        square = (
            len(shape) == 4 and (self._first or shape[3] == 3) and sides[0] == sides[1] and isinstance(sides[0], int)
        )
        if len(inputs) != 1 or not square or (isinstance(shape[0], int) and shape[0] != 1):
            raise ModelError(
                f"{path.name} is no feature extractor that fdf can feed",
                expected="one input (N, S, S, 3) or (N, 3, S, S) with a fixed S and any N",
                got="; ".join(f"{row.name} {tuple(row.shape)}" for row in inputs) or "no inputs",
            )
        self.size = int(sides[0])
        self._name, self._path = inputs[0].name, path

    def extract(self, pictures: Sequence[Pixels]) -> Floats:
        """float32 (N, d); what the output has beyond d is averaged."""
        rows = []
        for picture in pictures:
            blob = picture.astype(np.float32) / np.float32(127.5) - np.float32(1)
            blob = blob.transpose(2, 0, 1) if self._first else blob
            try:
                found = np.asarray(self._network.run(None, {self._name: blob[None]})[0], dtype=np.float32)
            except Exception as error:  # onnxruntime raises a family of its own that shares no base class
                raise ModelError(f"{self._path.name} fails on a picture", got=str(error).splitlines()[0]) from error
            rows.append(self._row(found))
        return np.array(rows, dtype=np.float32).reshape(len(rows), -1)

    def _row(self, found: Floats) -> Floats:
        if found.ndim < 2 or found.shape[0] != 1:
            raise ModelError(
                f"{self._path.name} is no feature extractor that fdf can read",
                expected="a first output (N, d) or (N, d, …)",
                got=f"{found.shape} for one picture",
            )
        # Pooled features may keep their two sides: (1, d, 1, 1) or (1, 1, 1, d).
        row = found[0]
        flat = row.ndim == 1 or row.size == row.shape[-1]
        return np.asarray(row.reshape(-1) if flat else row.reshape(len(row), -1).mean(axis=1), dtype=np.float32)


class Inception:
    """Pool3 of the Inception of the published FID: 2048 numbers, by torch-fidelity, at the 299 px it wants."""

    id = INCEPTION
    size = 299

    def __init__(self) -> None:
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ImportError as error:
            raise MachineError(
                f"{INCEPTION} needs torch-fidelity, which can't be imported",
                got=str(error),
                action=f"`pip install torch-fidelity torchvision`, or take `--features {DEFAULT}`, which needs neither",
            ) from error
        import torch

        self.sha256 = _INCEPTION.sha256
        weights = inception_weights()
        self._torch = torch
        self._network: Any = FeatureExtractorInceptionV3(
            "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(weights)
        )

    def extract(self, pictures: Sequence[Pixels]) -> Floats:
        """float32 (N, 2048)."""
        rows = []
        for picture in pictures:  # one by one: a row must not depend on its batch
            batch = self._torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)[None]))
            with self._torch.inference_mode():
                rows.append(self._network(batch)[0][0].numpy())
        return np.array(rows, dtype=np.float32).reshape(-1, 2048)


def inception_weights() -> Path:
    """Where the weights lie: torch's own cache if the file there is the right one, else fdf's, fetched on first use.

    Raises:
        ModelError: they can't be had, or are others.
    """
    home = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "torch"
    for name in (_INCEPTION_FILE, "pt_inception-2015-12-05-6726825d.pth"):
        path = Path(home) / "hub" / "checkpoints" / name
        if path.is_file() and sha256_of(path) == _INCEPTION.sha256:
            return path
    return path_of(_INCEPTION)


def _with_outputs(path: Path, names: Sequence[str]) -> Any:
    """A session that also gives inner layers.

    Two protobuf messages one after the other are read as one, whose lists are joined: appending `graph { output { … } }` to the
    file's bytes adds outputs, without the onnx library.
    """
    import onnxruntime

    outputs = b"".join(_message(12, _message(1, name.encode()) + _FLOATS) for name in names)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    data = path.read_bytes() + _message(7, outputs)
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _message(field: int, data: bytes) -> bytes:
    """A field of protobuf that holds bytes, under 128 of them."""
    if len(data) > 127:
        raise ValueError(f"Expected fewer than 128 bytes, got {len(data)}.")
    return bytes([field << 3 | 2, len(data)]) + data


_FLOATS: Final = _message(2, _message(1, b"\x08\x01"))  # type { tensor_type { elem_type: FLOAT } }
