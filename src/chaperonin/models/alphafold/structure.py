"""The structure module (Algorithms 20 to 24): from representations to frames, torsion angles and atoms."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, softplus

from chaperonin.kernels.slices import fill
from chaperonin.models.alphafold.config import AlphaFoldConfig
from chaperonin.protein.frames import Frames, rotation_of, turned_by
from chaperonin.protein.torsions import as_atom37, atoms_of, group_frames
from chaperonin.shapes import Float, Int

_HEADS, _CHANNELS, _QUERY_POINTS, _VALUE_POINTS = 12, 16, 4, 8
_ANGLE_WIDTH = 128
ANGSTROM = 10.0
"""Frames are moved in nanometres; atoms come out in Å."""


@dataclass(frozen=True)
class Structure:
    """What the module found."""

    single: Float[Tensor, "length single_width"]
    """Its last activations, from which confidence is read."""
    frames: list[Frames]
    """Backbone after each layer, in Å."""
    angles: list[Float[Tensor, "length 7 2"]]
    """Sines and cosines after each layer."""
    unnormalized_angles: list[Float[Tensor, "length 7 2"]]
    atom14: Float[Tensor, "length 14 3"]
    """Å, after the last layer."""
    groups: Frames
    """Rigid groups `[length, 8]` after the last layer, in Å."""
    positions: Float[Tensor, "length 37 3"]
    """The atoms by type."""


class StructureModule(nn.Module):
    """Eight times the same layer (Algorithm 20)."""

    def __init__(self, config: AlphaFoldConfig) -> None:
        super().__init__()
        width = config.single_width
        self.single_norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, width)
        self.pair_norm = nn.LayerNorm(config.pair_width)
        self.attention = InvariantPointAttention(config)
        self.attention_norm = nn.LayerNorm(width)
        self.transition = nn.ModuleList(nn.Linear(width, width) for _ in range(3))
        self.transition_norm = nn.LayerNorm(width)
        self.update = nn.Linear(width, 6)
        self.angles = TorsionAngles(width)
        self.layers = config.structure_layers

    def forward(
        self,
        single: Float[Tensor, "length single_width"],
        pair: Float[Tensor, "length length pair_width"],
        aatype: Int[Tensor, " length"],
        mask: Float[Tensor, " length"],
    ) -> Structure:
        """All residues begin at the origin. No gradient goes through rotations from layer to layer."""
        initial = self.single_norm(single)
        single, pair = self.project(initial), self.pair_norm(pair)
        quaternion = single.new_tensor([1.0, 0, 0, 0]).expand(len(single), 4)
        frames = Frames(rotation_of(quaternion), single.new_zeros(len(single), 3))
        found: list[tuple[Frames, Tensor, Tensor]] = []
        for _ in range(self.layers):
            single = self._layer(single, pair, frames, mask)
            turn, move = self.update(single).split(3, dim=-1)
            moved = frames.compose(Frames(rotation_of(quaternion), move)).translation
            quaternion = turned_by(quaternion, turn)
            frames = Frames(rotation_of(quaternion), moved)
            found.append((frames.scaled(ANGSTROM), *self.angles(single, initial)))
            quaternion = quaternion.detach()
            frames = Frames(frames.rotation.detach(), frames.translation)
        last, angles, _ = found[-1]
        groups = group_frames(aatype, last, angles)
        atom14 = atoms_of(aatype, groups)
        trajectory, all_angles, unnormalized = (list(own) for own in zip(*found, strict=True))
        return Structure(
            single, trajectory, all_angles, unnormalized, atom14, groups, as_atom37(aatype, atom14)
        )

    def _layer(
        self,
        single: Float[Tensor, "length width"],
        pair: Float[Tensor, "length length pair_width"],
        frames: Frames,
        mask: Float[Tensor, " length"],
    ) -> Float[Tensor, "length width"]:
        single = self.attention_norm(single + self.attention(single, pair, frames, mask))
        first, second, third = self.transition
        return self.transition_norm(single + third(second(first(single).relu()).relu()))


class InvariantPointAttention(nn.Module):
    """Invariant point attention (Algorithm 22)."""

    def __init__(self, config: AlphaFoldConfig) -> None:
        super().__init__()
        width = config.single_width
        self.query = nn.Linear(width, _HEADS * _CHANNELS)
        self.key_value = nn.Linear(width, _HEADS * 2 * _CHANNELS)
        """For each head its key, then its value."""
        self.query_points = nn.Linear(width, 3 * _HEADS * _QUERY_POINTS)
        """All x, then all y, then all z."""
        self.key_value_points = nn.Linear(width, 3 * _HEADS * (_QUERY_POINTS + _VALUE_POINTS))
        self.pair_bias = nn.Linear(config.pair_width, _HEADS)
        self.point_weights = nn.Parameter(torch.full((_HEADS,), 0.541324854612918))
        self.out = nn.Linear(_HEADS * (_CHANNELS + 4 * _VALUE_POINTS + config.pair_width), width)

    def forward(
        self,
        single: Float[Tensor, "length width"],
        pair: Float[Tensor, "length length pair_width"],
        frames: Frames,
        mask: Float[Tensor, " length"],
    ) -> Float[Tensor, "length width"]:
        """Residues attend by their activations, by their pair, and by the distance of points that move with them."""
        query = self.query(single).unflatten(-1, (_HEADS, -1)) * (3 * _CHANNELS) ** -0.5
        key, value = self.key_value(single).unflatten(-1, (_HEADS, -1)).split(_CHANNELS, dim=-1)
        query_points = _points(self.query_points(single), frames)
        key_points, value_points = _points(self.key_value_points(single), frames).split(
            (_QUERY_POINTS, _VALUE_POINTS), dim=-2
        )
        spread = softplus(self.point_weights) * (3 * _QUERY_POINTS * 9 / 2) ** -0.5

        def attend(query: Tensor, query_points: Tensor, pair: Tensor, own_mask: Tensor) -> Tensor:
            """Three terms of about equal variance; then values, points and pairs, beside each other."""
            scores = torch.einsum("qhc,khc->hqk", query, key)
            scores = scores + 3**-0.5 * self.pair_bias(pair).permute(2, 0, 1)
            apart = (query_points[:, None] - key_points).square().sum((-1, -2))
            scores = scores - 0.5 * (apart * spread).permute(2, 0, 1)
            weights = (scores - 1e5 * (1 - torch.outer(own_mask, mask))).softmax(dim=-1)
            scalars = torch.einsum("hqk,khc->qhc", weights, value)
            points = torch.einsum("hqk,khpx->qhpx", weights, value_points)
            pairs = torch.einsum("hqk,qkc->qhc", weights, pair)
            return torch.cat([scalars, points.flatten(-2), pairs], dim=-1)

        shape = (len(single), _HEADS, _CHANNELS + 3 * _VALUE_POINTS + pair.shape[-1])
        row = 8 * _HEADS * _QUERY_POINTS * len(single)
        found = fill(shape, attend, row, query, query_points, pair, mask)
        scalars, points, pairs = found.split((_CHANNELS, 3 * _VALUE_POINTS, pair.shape[-1]), dim=-1)
        points = frames[:, None, None].invert(points.unflatten(-1, (_VALUE_POINTS, 3)))
        lengths = (points.square().sum(-1) + 1e-8).sqrt()
        parts = [scalars, *points.unbind(-1), lengths, pairs]
        return self.out(torch.cat([part.flatten(1) for part in parts], dim=-1))


def _points(
    local: Float[Tensor, "length coordinates"], frames: Frames
) -> Float[Tensor, "length heads points 3"]:
    """Global points of each head."""
    return frames[:, None, None].apply(local.unflatten(-1, (3, _HEADS, -1)).movedim(1, -1))


class TorsionAngles(nn.Module):
    """Seven angles of each residue (Algorithm 20, lines 11 to 14)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Linear(width, _ANGLE_WIDTH)
        self.embed_initial = nn.Linear(width, _ANGLE_WIDTH)
        self.blocks = nn.ModuleList(
            nn.ModuleList(nn.Linear(_ANGLE_WIDTH, _ANGLE_WIDTH) for _ in range(2)) for _ in range(2)
        )
        self.out = nn.Linear(_ANGLE_WIDTH, 14)

    def forward(
        self, single: Float[Tensor, "length width"], initial: Float[Tensor, "length width"]
    ) -> tuple[Float[Tensor, "length 7 2"], Float[Tensor, "length 7 2"]]:
        """Sine and cosine of unit length, and before that."""
        x = self.embed(single.relu()) + self.embed_initial(initial.relu())
        for block in self.blocks:
            x = x + block[1](block[0](x.relu()).relu())  # type: ignore[index]
        angles = self.out(x.relu()).unflatten(-1, (7, 2))
        return normalize(angles, dim=-1, eps=1e-6), angles
