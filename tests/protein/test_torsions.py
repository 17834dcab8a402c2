"""Frames, torsion angles and atoms: one leads to the other and back."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from chaperonin.protein import atoms
from chaperonin.protein.frames import Frames, frames_of_points, rotation_of, turn, turned_by
from chaperonin.protein.torsions import as_atom37, atoms_of, group_frames, pseudo_beta, torsions_of


def random_frames(count: int, seed: int = 0) -> Frames:
    draw = torch.Generator().manual_seed(seed)
    quaternion = torch.nn.functional.normalize(
        torch.randn(count, 4, generator=draw, dtype=torch.float64), dim=-1
    )
    return Frames(rotation_of(quaternion), torch.randn(count, 3, generator=draw, dtype=torch.float64))


def random_angles(count: int) -> Tensor:
    angle = (
        torch.rand(count, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 * math.pi
    )
    return torch.stack([angle.sin(), angle.cos()], dim=-1)


def test_rotations_keep_lengths_and_handedness() -> None:
    rotation = random_frames(20).rotation
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3, dtype=torch.float64).expand(20, 3, 3))
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(20, dtype=torch.float64))


def test_frames_compose_and_invert() -> None:
    outer, inner = random_frames(20), random_frames(20, 1)
    points = torch.randn(20, 3, dtype=torch.float64)
    torch.testing.assert_close(outer.compose(inner).apply(points), outer.apply(inner.apply(points)))
    torch.testing.assert_close(outer.invert(outer.apply(points)), points)


def test_a_small_turn_of_a_quaternion_is_the_product_of_rotations() -> None:
    quaternion = torch.nn.functional.normalize(torch.randn(5, 4, dtype=torch.float64), dim=-1)
    vector = torch.randn(5, 3, dtype=torch.float64)
    own = torch.nn.functional.normalize(torch.cat([torch.ones(5, 1), vector], dim=-1), dim=-1)
    torch.testing.assert_close(
        rotation_of(turned_by(quaternion, vector)), rotation_of(quaternion) @ rotation_of(own)
    )


def test_a_frame_of_three_points_has_them_where_it_says() -> None:
    first, origin, third = torch.randn(3, 10, 3, dtype=torch.float64)
    frames = frames_of_points(first, origin, third)
    on_axis, on_plane = frames.invert(first), frames.invert(third)
    assert (on_axis[:, 0] < 0).all() and on_axis[:, 1:].abs().max() < 1e-6
    assert on_plane[:, 2].abs().max() < 1e-6 and (on_plane[:, 1] > 0).all()
    torch.testing.assert_close(turn(frames.rotation, on_plane) + origin, third, rtol=0, atol=1e-6)


@pytest.mark.parametrize("residue", range(20), ids=list(atoms.RESIDUES))
def test_atoms_built_from_angles_have_these_angles(residue: int) -> None:
    """All chi angles of every residue; psi needs no neighbour either."""
    count = 6
    aatype, angles = torch.full((count,), residue), random_angles(count)
    placed = as_atom37(aatype, atoms_of(aatype, group_frames(aatype, random_frames(count), angles)))
    mask = torch.from_numpy(atoms.ATOM37_MASK)[aatype].double()
    # One at a time: neighbours lie anywhere.
    found = torsions_of(aatype[:, None], placed[:, None], mask[:, None])
    known = found.mask[:, 0] > 0
    assert known[:, 2].all() and not known[:, :2].any()
    assert known[:, 3:].sum(1).tolist() == [atoms.CHI_MASK[residue].sum()] * count
    torch.testing.assert_close(found.angles[:, 0][known], angles[known], rtol=0, atol=1e-3)
    flipped = np.concatenate([np.zeros(3), atoms.CHI_PI_PERIODIC[residue]]) == 1
    torch.testing.assert_close(found.alternative[:, :, flipped], -found.angles[:, :, flipped])
    torch.testing.assert_close(found.alternative[:, :, ~flipped], found.angles[:, :, ~flipped])


def test_ideal_bonds_have_the_lengths_of_chemistry() -> None:
    aatype = torch.arange(20)
    placed = as_atom37(aatype, atoms_of(aatype, group_frames(aatype, random_frames(20), random_angles(20))))

    def lengths(first: str, second: str) -> Tensor:
        return (placed[:, atoms.ATOM37[first]] - placed[:, atoms.ATOM37[second]]).norm(dim=-1)

    torch.testing.assert_close(lengths("N", "CA"), torch.full((20,), 1.46).double(), rtol=0, atol=0.02)
    torch.testing.assert_close(lengths("CA", "C"), torch.full((20,), 1.525).double(), rtol=0, atol=0.02)
    torch.testing.assert_close(lengths("C", "O"), torch.full((20,), 1.23).double(), rtol=0, atol=0.02)


def test_an_unknown_residue_has_no_atoms() -> None:
    aatype = torch.tensor([atoms.UNKNOWN])
    placed = atoms_of(aatype, group_frames(aatype, random_frames(1), random_angles(1)))
    assert not placed.any() and not as_atom37(aatype, placed).any()


def test_pseudo_beta_of_glycine_is_its_alpha() -> None:
    positions = torch.randn(2, 37, 3)
    aatype = torch.tensor([atoms.RESIDUES.index("G"), atoms.RESIDUES.index("A")])
    assert torch.equal(pseudo_beta(aatype, positions), torch.stack([positions[0, 1], positions[1, 3]]))
