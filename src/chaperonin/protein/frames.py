"""Rigid frames: a rotation and a translation that take local points to global ones. Units follow the points."""

from dataclasses import dataclass

import torch
from torch import Tensor

from chaperonin.shapes import Float


@dataclass(frozen=True)
class Frames:
    """Global = rotation · local + translation."""

    rotation: Float[Tensor, "*batch 3 3"]
    translation: Float[Tensor, "*batch 3"]

    def apply(self, points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
        """Local points in global space."""
        return turn(self.rotation, points) + self.translation

    def invert(self, points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
        """Global points in local space."""
        return turn(self.rotation.transpose(-1, -2), points - self.translation)

    def compose(self, inner: "Frames") -> "Frames":
        """Frames of what is given in these frames (Algorithm notation: T ∘ T')."""
        return Frames(self.rotation @ inner.rotation, self.apply(inner.translation))

    def scaled(self, factor: float) -> "Frames":
        """The same turns, with translations in another unit."""
        return Frames(self.rotation, self.translation * factor)

    def __getitem__(self, index: "tuple[object, ...] | object") -> "Frames":
        """Some of the batch: an index must leave the last dimensions alone."""
        index = index if isinstance(index, tuple) else (index,)
        return Frames(
            self.rotation[(*index, ..., slice(None), slice(None))],
            self.translation[(*index, ..., slice(None))],
        )


def turn(
    rotation: Float[Tensor, "*batch 3 3"], points: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 3"]:
    """Points, turned. Written out: a product with the matrices runs on TF32 where that is on."""
    return (rotation * points[..., None, :]).sum(-1)


def rotation_of(quaternion: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrix of a unit quaternion (w, x, y, z)."""
    w, x, y, z = quaternion.unbind(-1)
    rows = (
        (w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z),
    )
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def turned_by(
    quaternion: Float[Tensor, "*batch 4"], vector: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 4"]:
    """Unit quaternion of `quaternion` after the small turn (1, x, y, z) (Algorithm 23)."""
    w, x, y, z = quaternion.unbind(-1)
    a, b, c = vector.unbind(-1)
    change = (-x * a - y * b - z * c, w * a + y * c - z * b, w * b - x * c + z * a, w * c + x * b - y * a)
    turned = quaternion + torch.stack(change, dim=-1)
    return turned / turned.norm(dim=-1, keepdim=True)


def frames_of_points(
    on_negative_x: Float[Tensor, "*batch 3"],
    origin: Float[Tensor, "*batch 3"],
    on_xy_plane: Float[Tensor, "*batch 3"],
) -> Frames:
    """Frames of three points each, by Gram-Schmidt (Algorithm 21)."""
    x = _unit(origin - on_negative_x)
    plane = on_xy_plane - origin
    y = _unit(plane - x * (x * plane).sum(-1, keepdim=True))
    return Frames(torch.stack([x, y, torch.linalg.cross(x, y)], dim=-1), origin)


def _unit(vector: Tensor) -> Tensor:
    return vector / (vector.square().sum(-1, keepdim=True) + 1e-8).sqrt()
