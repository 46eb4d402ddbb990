"""The policy bundle: an ONNX architecture graph, a safetensors weight file and this manifest.

Graph contract: inputs ``obs`` (1, O), ``noise`` (1, A) and one input per weight tensor, the
normaliser included; output ``action`` (1, A) in [-1, 1]; float32, static shapes, opset 18. With
``noise`` = 0 the policy is deterministic; the runtime feeds ``exploration_scale`` × unit normals.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from protocol.errors import BundleError
from protocol.messages import Digest
from protocol.observation import Layout
from protocol.robot_spec import RobotSpec

MANIFEST_MAX_BYTES = 256 << 10
GRAPH_MAX_BYTES = 8 << 20
WEIGHTS_MAX_BYTES = 64 << 20
OBS_INPUT, NOISE_INPUT, ACTION_OUTPUT = "obs", "noise", "action"
OPERATORS = frozenset(
    (
        *("Add", "Sub", "Mul", "Div", "Neg", "Abs", "Pow", "Exp", "Sqrt", "Clip", "Min", "Max"),
        *("Greater", "Less", "Where"),
        *("Tanh", "Relu", "Elu", "Sigmoid", "Softplus", "Softmax", "LayerNormalization"),
        *("Gemm", "MatMul", "ReduceMean", "ReduceSum", "ReduceMin"),
        *("Transpose", "Concat", "Slice", "Gather", "Reshape", "Expand"),
        *("Constant", "Identity"),
    )
)
GOLDEN_TOLERANCE = 1e-4


class Manifest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the robot checks before it believes a bundle."""

    schema: Literal[1] = 1
    version: Annotated[int, Meta(ge=1, le=2**32 - 1)]
    parent_version: Annotated[int, Meta(ge=0, le=2**32 - 1)]
    robot_digest: Digest
    task: str
    observation: list[str]
    action_size: Annotated[int, Meta(ge=1, le=64)]
    control_hz: Annotated[int, Meta(ge=1, le=1000)]
    graph_sha256: Digest
    weights_sha256: Digest
    exploration_scale: Annotated[float, Meta(ge=0.0, le=1.0)]
    run: str
    commit: str
    golden_obs: bytes
    golden_noise: bytes
    golden_action: bytes
    evaluation: dict[str, float]

    @property
    def graph_path(self) -> str:
        """Target path of the graph: named by content, fetched once per architecture."""
        return f"policy/graph-{self.graph_sha256[:16]}.onnx"

    @property
    def weights_path(self) -> str:
        """Target path of the weights."""
        return f"policy/weights-{self.version}.safetensors"


MANIFEST_PATH = "policy/manifest.json"
WEIGHTS_ROLE = "weights"
"""The TUF role that signs bundles."""
WEIGHTS_PATHS = ("policy/*",)
"""All it may sign."""


class Golden(Struct, frozen=True):
    """Recorded inputs and outputs of the trainer: obs (N, O), noise (N, A), action (N, A)."""

    obs: NDArray[np.float32]
    noise: NDArray[np.float32]
    action: NDArray[np.float32]


def encode_manifest(manifest: Manifest) -> bytes:
    """JSON bytes, keys sorted so that equal manifests are equal bytes."""
    return msgspec.json.encode(manifest, order="sorted")


def decode_manifest(data: bytes) -> Manifest:
    """Typed, size-capped decode. Raises BundleError naming the field."""
    if len(data) > MANIFEST_MAX_BYTES:
        raise BundleError(f"manifest of {len(data)} bytes exceeds the cap of {MANIFEST_MAX_BYTES}")
    try:
        return msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"manifest refused: {error}") from error


def check_manifest(manifest: Manifest, spec: RobotSpec, task: str, floor: int) -> Golden:
    """Does this bundle claim to be for this robot, this task, and newer than what it has seen?

    Args:
        manifest: decoded claim.
        spec: this robot.
        task: the task it is running.
        floor: highest version accepted so far; only greater versions pass.

    Returns:
        The golden vectors.

    Raises:
        BundleError: naming the first claim that does not fit.
    """
    layout = Layout(spec)
    claims = (
        ("robot digest", manifest.robot_digest, spec.digest()),
        ("task", manifest.task, task),
        ("observation layout", manifest.observation, layout.labels),
        ("action size", manifest.action_size, layout.action_size),
        ("control rate", manifest.control_hz, spec.control_hz),
    )
    for name, claimed, actual in claims:
        if claimed != actual:
            raise BundleError(
                f"bundle {manifest.version}: {name} is {claimed}, this robot has {actual}"
            )
    if manifest.version <= floor:
        raise BundleError(f"bundle {manifest.version} is not newer than version {floor}")
    return golden_of(manifest, layout)


def golden_of(manifest: Manifest, layout: Layout) -> Golden:
    """Golden vectors as arrays. Raises BundleError if sizes disagree or a number is not finite."""
    widths = (layout.size, layout.action_size, layout.action_size)
    blobs = (manifest.golden_obs, manifest.golden_noise, manifest.golden_action)
    count = len(blobs[0]) // (4 * layout.size)
    if count == 0 or any(len(b) != 4 * count * w for b, w in zip(blobs, widths, strict=True)):
        raise BundleError(f"bundle {manifest.version}: golden vectors have inconsistent sizes")
    arrays = [
        np.frombuffer(b, dtype="<f4").reshape(count, w) for b, w in zip(blobs, widths, strict=True)
    ]
    if not all(np.isfinite(array).all() for array in arrays):
        raise BundleError(f"bundle {manifest.version}: golden vectors are not finite")
    return Golden(*arrays)
