"""Between atoms and the seven torsion angles of a residue: omega of the bond before it, phi, psi, and chi 1 to 4."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from chaperonin.protein import atoms
from chaperonin.protein.frames import Frames, frames_of_points
from chaperonin.shapes import Float, Int


@dataclass(frozen=True)
class Torsions:
    """Angles as sine and cosine."""

    angles: Float[Tensor, "*batch residues 7 2"]
    alternative: Float[Tensor, "*batch residues 7 2"]
    """The same with those turned by 180 degrees that look alike then."""
    mask: Float[Tensor, "*batch residues 7"]
    """1 where all four atoms are there."""


def table(values: object, like: Tensor) -> Tensor:
    """A table of `protein.atoms` on a tensor's device."""
    return torch.as_tensor(values, device=like.device)


def torsions_of(
    aatype: Int[Tensor, "*batch residues"],
    positions: Float[Tensor, "*batch residues 37 3"],
    mask: Float[Tensor, "*batch residues 37"],
) -> Torsions:
    """Torsion angles of residues from their atoms; those without their atoms have some value and mask 0."""
    aatype = aatype.clamp(max=atoms.UNKNOWN)
    before, before_mask = pad(positions, (0, 0, 0, 0, 1, -1)), pad(mask, (0, 0, 1, -1))
    backbone = (
        (before[..., 1:3, :], positions[..., :2, :]),  # CA, C | N, CA
        (before[..., 2:3, :], positions[..., :3, :]),  # C | N, CA, C
        (positions[..., :3, :], positions[..., 4:5, :]),  # N, CA, C | O
    )
    there = (
        before_mask[..., 1:3].prod(-1) * mask[..., :2].prod(-1),
        before_mask[..., 2] * mask[..., :3].prod(-1),
        mask[..., :3].prod(-1) * mask[..., 4],
    )
    chi_atoms = table(atoms.CHI_ATOMS, aatype)[aatype]
    chi_positions = positions.gather(-2, chi_atoms.flatten(-2)[..., None].expand(*aatype.shape, 16, 3))
    chi_there = mask.gather(-1, chi_atoms.flatten(-2)).unflatten(-1, (4, 4)).prod(-1)
    quadruples = torch.cat(
        [
            torch.stack([torch.cat(pair, dim=-2) for pair in backbone], -3),
            chi_positions.unflatten(-2, (4, 4)),
        ],
        -3,
    )
    chi_mask = table(atoms.CHI_MASK, mask)[aatype] * chi_there
    angles = _angles(quadruples)
    # Psi is measured by O, which lies opposite to the next residue's N.
    angles = angles * angles.new_tensor([1, 1, -1, 1, 1, 1, 1])[:, None]
    flips = 1 - 2 * pad(table(atoms.CHI_PI_PERIODIC, mask)[aatype], (3, 0))
    return Torsions(angles, angles * flips[..., None], torch.cat([torch.stack(there, -1), chi_mask], -1))


def _angles(quadruples: Float[Tensor, "*batch 4 3"]) -> Float[Tensor, "*batch 2"]:
    """Sine and cosine of the angle around the axis from the second to the third point."""
    first, second, third, fourth = quadruples.unbind(-2)
    local = frames_of_points(on_negative_x=second, origin=third, on_xy_plane=first).invert(fourth)
    sine_cosine = torch.stack([local[..., 2], local[..., 1]], dim=-1)
    return sine_cosine / (sine_cosine.square().sum(-1, keepdim=True) + 1e-8).sqrt()


def group_frames(
    aatype: Int[Tensor, " residues"], backbone: Frames, angles: Float[Tensor, "residues 7 2"]
) -> Frames:
    """Global frames `[residues, 8]` of the rigid groups (Algorithm 24)."""
    default = table(atoms.GROUP_FRAMES, angles)[aatype].to(angles.dtype)
    sine, cosine = torch.cat([angles.new_tensor([0.0, 1.0]).expand(len(angles), 1, 2), angles], dim=1).unbind(
        -1
    )
    zero, one = torch.zeros_like(sine), torch.ones_like(sine)
    about_x = torch.stack([one, zero, zero, zero, cosine, -sine, zero, sine, cosine], -1).unflatten(
        -1, (3, 3)
    )
    own = Frames(default[..., :3, :3] @ about_x, default[..., :3, 3])
    local = [own[:, group] for group in range(5)]
    for group in range(5, 8):  # each chi beyond the first turns with the one before
        local.append(local[-1].compose(own[:, group]))
    stacked = Frames(
        torch.stack([one.rotation for one in local], 1), torch.stack([one.translation for one in local], 1)
    )
    return backbone[:, None].compose(stacked)


def atoms_of(aatype: Int[Tensor, " residues"], groups: Frames) -> Float[Tensor, "residues 14 3"]:
    """Ideal atoms of each residue in the frames of its groups (Algorithm 24); 0 where it has none."""
    group = table(atoms.ATOM14_GROUP, aatype)[aatype]
    rows = torch.arange(len(aatype), device=aatype.device)[:, None]
    local = table(atoms.ATOM14_IDEAL, groups.translation)[aatype].to(groups.translation.dtype)
    mask = table(atoms.ATOM14_MASK, groups.translation)[aatype]
    return (
        Frames(groups.rotation[rows, group], groups.translation[rows, group]).apply(local) * mask[..., None]
    )


def as_atom37(
    aatype: Int[Tensor, " residues"], atom14: Float[Tensor, "residues 14 3"]
) -> Float[Tensor, "residues 37 3"]:
    """Atoms by type instead of by place; 0 where a residue has none."""
    place = table(atoms.ATOM37_TO_14, aatype)[aatype]
    mask = table(atoms.ATOM37_MASK, atom14)[aatype]
    return atom14.gather(1, place[..., None].expand(-1, -1, 3)) * mask[..., None]


def pseudo_beta(
    aatype: Int[Tensor, "*batch residues"], atom37: Float[Tensor, "*batch residues 37 3"]
) -> Float[Tensor, "*batch residues 3"]:
    """CB, or CA of glycine."""
    is_glycine = (aatype == atoms.RESIDUES.index("G"))[..., None]
    return torch.where(is_glycine, atom37[..., 1, :], atom37[..., 3, :])


def pseudo_beta_mask(
    aatype: Int[Tensor, "*batch residues"], mask: Float[Tensor, "*batch residues 37"]
) -> Float[Tensor, "*batch residues"]:
    """Whether that atom is there."""
    return torch.where(aatype == atoms.RESIDUES.index("G"), mask[..., 1], mask[..., 3])
