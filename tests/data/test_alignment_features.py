from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import default_rng
from numpy.typing import NDArray

from chaperonin.data.alignment_features import (
    FeatureSettings,
    Prepared,
    cluster_features,
    mask_residues,
    nearest_centres,
    prepare,
    residue_profile,
    sample,
)
from chaperonin.errors import InputError, UsageError
from chaperonin.models.alphafold.features import Features, Templates
from chaperonin.protein.alignment import Alignment, single_sequence
from chaperonin.protein.atoms import RESIDUES

SMALL = FeatureSettings(msa_clusters=8, extra_sequences=10)
EVERY_ROW = FeatureSettings(msa_clusters=1000, masked_fraction=0)


def made_alignment(rows: int, length: int, seed: int = 0) -> Alignment:
    """Relatives of a random query, with gaps, unknown residues and deletions."""
    generator = default_rng(seed)
    query = generator.integers(20, size=length)
    kept = generator.random((rows, length)) < 0.8 * generator.random((rows, 1))
    residues = np.where(kept, query, generator.integers(22, size=(rows, length))).astype(np.int8)
    residues[0] = query
    deletions = np.where(
        generator.random((rows, length)) < 0.2, generator.integers(9, size=(rows, length)), 0
    )
    deletions[0] = 0
    names = tuple(f"row {row}" for row in range(rows))
    return Alignment(
        "".join(RESIDUES[residue] for residue in query), names, residues, deletions.astype(np.int32)
    )


def tensors(features: Features) -> dict[str, torch.Tensor]:
    return {name: value for name, value in vars(features).items() if isinstance(value, torch.Tensor)}


def rows_of(alignment: Alignment, residues: NDArray[np.int64]) -> list[int]:
    """Number of the row of the alignment that each row is; the rows of the alignment differ."""
    numbers = {row.tobytes(): number for number, row in enumerate(alignment.residues)}
    return [numbers[row.astype(np.int8).tobytes()] for row in residues]


@given(st.integers(1, 30), st.integers(1, 150), st.integers(0, 5))
def test_nearest_centres_equal_a_count_by_loops(rows: int, length: int, seed: int) -> None:
    generator = default_rng(seed)
    residues = generator.integers(22, size=(rows, length)).astype(np.int8)
    centres = generator.integers(23, size=(5, length)).astype(np.int8)
    centres[1] = residues[0]
    expected = []
    for row in residues:
        shared = [sum(a == b and a <= 20 for a, b in zip(row, centre, strict=True)) for centre in centres]
        expected.append(shared.index(max(shared)))
    alignment = Alignment("A" * length, ("",) * rows, residues, np.zeros(residues.shape, np.int32))
    assert nearest_centres(prepare(alignment).bits, centres).tolist() == expected


def test_nearest_centres_of_many_long_rows_are_found_in_more_than_one_block() -> None:
    alignment = made_alignment(6000, 700)
    bits = prepare(alignment).bits
    assert bits.nbytes > 2 << 20
    centres = alignment.residues[:20].copy()
    centres[default_rng(1).random(centres.shape) < 0.1] = 22
    shared = [((alignment.residues == centre) & (centre < 21)).sum(axis=1) for centre in centres]
    np.testing.assert_array_equal(nearest_centres(bits, centres), np.argmax(shared, axis=0))


def test_cluster_features_equal_sums_by_loops() -> None:
    alignment = made_alignment(40, 13)
    generator = default_rng(2)
    rows = generator.permutation(40)
    centres, others = rows[:6], rows[6:]
    hidden = alignment.residues[centres].copy()
    hidden[generator.random(hidden.shape) < 0.2] = 22
    nearest = generator.choice([0, 1, 2, 4], size=len(others))  # of 3 and 5 no row is near
    features = cluster_features(alignment, centres, hidden, others, nearest)
    for cluster in range(6):
        members = others[nearest == cluster]
        weight = 1 + len(members) + 1e-6
        for column in range(13):
            counts, deletions = np.zeros(23), alignment.deletions[centres[cluster], column]
            counts[hidden[cluster, column]] += 1
            total = deletions
            for row in members:
                counts[alignment.residues[row, column]] += 1
                total = total + alignment.deletions[row, column]
            expected = np.concatenate(
                [
                    np.eye(23)[hidden[cluster, column]],
                    [deletions > 0, np.arctan(deletions / 3) * 2 / np.pi],
                    counts / weight,
                    [np.arctan(total / weight / 3) * 2 / np.pi],
                ]
            )
            np.testing.assert_allclose(features[cluster, column], expected, atol=1e-6)


def test_profile_is_the_mean_of_one_hot_rows() -> None:
    alignment = made_alignment(50, 20)
    profile = residue_profile(alignment)
    np.testing.assert_allclose(profile, np.eye(22)[alignment.residues].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(profile.sum(axis=1), 1, atol=1e-6)


def test_equal_seeds_give_equal_samples_and_one_generator_gives_different_ones() -> None:
    prepared = prepare(made_alignment(100, 20))
    generator = default_rng(3)
    first, second = sample(prepared, SMALL, generator), sample(prepared, SMALL, generator)
    again = tensors(sample(prepared, SMALL, default_rng(3)))
    for name, value in tensors(first).items():
        torch.testing.assert_close(value, again[name], rtol=0, atol=0)
    assert not torch.equal(first.msa, second.msa)
    assert not torch.equal(first.extra_msa, second.extra_msa)


def test_sampling_does_not_change_the_alignment() -> None:
    alignment = made_alignment(100, 20)
    before = alignment.residues.copy()
    sample(prepare(alignment), SMALL, default_rng(0))
    np.testing.assert_array_equal(alignment.residues, before)


def test_clusters_and_extra_rows_are_different_rows_and_the_query_is_first() -> None:
    alignment = made_alignment(100, 40)
    features = sample(prepare(alignment), replace(SMALL, masked_fraction=0), default_rng(4))
    centres = rows_of(alignment, features.msa[..., :23].argmax(-1).numpy())
    extra = rows_of(alignment, features.extra_msa.numpy())
    assert centres[0] == 0
    assert len(centres) == 8 and len(extra) == 10
    assert len({*centres, *extra}) == 18
    expected = torch.from_numpy(alignment.deletions[extra]).float()
    torch.testing.assert_close(features.extra_has_deletion, (expected > 0).float())
    torch.testing.assert_close(features.extra_deletion, torch.atan(expected / 3) * 2 / torch.pi)


def test_each_row_but_the_query_is_as_likely_a_cluster() -> None:
    alignment = made_alignment(41, 30)
    prepared, settings = prepare(alignment), FeatureSettings(msa_clusters=9, masked_fraction=0)
    generator = default_rng(5)
    counts = np.zeros(41)
    for _ in range(400):
        features = sample(prepared, settings, generator)
        counts[rows_of(alignment, features.msa[..., :23].argmax(-1).numpy())] += 1
    assert counts[0] == 400
    # 400 draws at probability 1/5: five standard deviations are 40.
    assert abs(counts[1:] - 80).max() < 40


def test_all_rows_become_clusters_where_they_are_few() -> None:
    alignment = made_alignment(12, 20)
    features = sample(prepare(alignment), EVERY_ROW, default_rng(6))
    assert features.msa.shape == (12, 20, 49)
    assert features.extra_msa.shape == features.extra_deletion.shape == (0, 20)
    assert features.extra_msa.dtype == torch.int64
    torch.testing.assert_close(features.msa[..., 25:48], features.msa[..., :23], rtol=0, atol=2e-6)


def test_cluster_profiles_sum_to_one_and_count_every_row_once() -> None:
    alignment = made_alignment(200, 20)
    features = sample(prepare(alignment), SMALL, default_rng(7))
    torch.testing.assert_close(features.msa[..., 25:48].sum(-1), torch.ones(8, 20), rtol=0, atol=2e-6)


def test_hidden_positions_keep_the_profile_of_the_others() -> None:
    """The centre counts as what it shows: its true residue is not in its cluster's profile."""
    alignment = made_alignment(1, 30)
    settings = FeatureSettings(masked_fraction=1, uniform_share=0, profile_share=0, same_share=0)
    features = sample(prepare(alignment), settings, default_rng(8))
    torch.testing.assert_close(features.msa[0, :, 22], torch.ones(30))
    torch.testing.assert_close(features.msa[0, :, 47], torch.ones(30), rtol=0, atol=2e-6)
    torch.testing.assert_close(features.target[:, 1:].argmax(-1), features.aatype)


def masked_counts(prepared: Prepared, settings: FeatureSettings) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    rows = np.arange(len(prepared.alignment))
    return prepared.alignment.residues[rows], mask_residues(prepared, rows, settings, default_rng(9))


def within(share: float, expected: float, draws: int) -> bool:
    return abs(share - expected) < 5 * np.sqrt(expected * (1 - expected) / draws)


def test_shares_of_what_is_hidden_are_as_published() -> None:
    # Every row is A, and the profile too: what is changed shows which kind it is.
    residues = np.zeros((2000, 100), np.int8)
    alignment = Alignment("A" * 100, ("",) * 2000, residues, np.zeros(residues.shape, np.int32))
    _, hidden = masked_counts(prepare(alignment), FeatureSettings())
    assert within(np.mean(hidden == 22), 0.15 * 0.7, hidden.size)
    others = np.bincount(hidden[(hidden > 0) & (hidden < 22)], minlength=22)
    assert others[20:].sum() == 0
    for residue in range(1, 20):
        assert within(others[residue] / hidden.size, 0.15 * 0.1 / 20, hidden.size)


def test_what_is_drawn_from_the_profile_has_its_distribution() -> None:
    generator = default_rng(10)
    residues = generator.choice(22, size=(4000, 3), p=np.arange(22) / 231).astype(np.int8)
    alignment = Alignment("AAA", ("",) * 4000, residues, np.zeros(residues.shape, np.int32))
    settings = FeatureSettings(masked_fraction=1, uniform_share=0, profile_share=1, same_share=0)
    _, hidden = masked_counts(prepare(alignment), settings)
    profile = residue_profile(alignment)
    for column in range(3):
        drawn = np.bincount(hidden[:, column], minlength=22) / 4000
        assert all(
            within(drawn[residue], profile[column, residue], 4000)
            for residue in range(22)
            if profile[column, residue]
        )


def test_nothing_is_hidden_at_fraction_zero_and_the_same_stays_the_same() -> None:
    prepared = prepare(made_alignment(30, 30))
    for settings in (
        FeatureSettings(masked_fraction=0),
        FeatureSettings(masked_fraction=1, uniform_share=0, profile_share=0, same_share=1),
    ):
        before, after = masked_counts(prepared, settings)
        np.testing.assert_array_equal(before, after)


def test_target_features_begin_with_a_break_that_is_never_set() -> None:
    alignment = single_sequence("ACXUB")
    prepared = prepare(alignment, np.array([0, 1, 200, 201, 202]))
    features = sample(prepared, SMALL, default_rng(0))
    assert features.aatype.tolist() == [0, 4, 20, 20, 20]
    assert features.residue_index.tolist() == [0, 1, 200, 201, 202]
    assert features.target.shape == (5, 22)
    assert features.target[:, 0].sum() == 0
    torch.testing.assert_close(features.target[:, 1:], torch.eye(21)[features.aatype])
    # In the alignment itself U counts as C and B as D.
    shown = sample(prepared, EVERY_ROW, default_rng(0)).msa[0, :, :23].argmax(-1)
    assert shown.tolist() == [0, 4, 20, 4, 3]


def test_padding_adds_rows_that_masks_hide_and_changes_no_other() -> None:
    prepared = prepare(made_alignment(12, 20))
    plain = sample(prepared, replace(SMALL, msa_clusters=10), default_rng(1))
    padded = sample(prepared, replace(SMALL, msa_clusters=10, is_padded=True), default_rng(1))
    assert plain.msa.shape[0] == padded.msa.shape[0] == 10
    assert (plain.extra_msa.shape[0], padded.extra_msa.shape[0]) == (2, 10)
    for name, value in tensors(plain).items():
        filled = tensors(padded)[name]
        torch.testing.assert_close(filled[: len(value)], value, rtol=0, atol=0)
        assert not filled[len(value) :].any()
    few = sample(prepare(single_sequence("ACD")), replace(SMALL, is_padded=True), default_rng(1))
    assert few.msa.shape == (8, 3, 49)
    assert few.msa_mask.sum(1).tolist() == [3, 0, 0, 0, 0, 0, 0, 0]


def test_rows_kept_for_templates_are_taken_from_the_clusters() -> None:
    assert FeatureSettings(template_rows=4).clusters == 508
    templates = Templates(
        torch.zeros(1, 20).long(), torch.zeros(1, 20, 37, 3), torch.zeros(1, 20, 37), torch.ones(1)
    )
    prepared = prepare(made_alignment(100, 20), templates=templates)
    features = sample(prepared, replace(SMALL, template_rows=3), default_rng(0))
    assert features.msa.shape[0] == 5
    assert features.templates is templates


@pytest.mark.parametrize(
    "changes",
    [
        {"msa_clusters": 0},
        {"msa_clusters": 4, "template_rows": 4},
        {"extra_sequences": -1},
        {"masked_fraction": 1.5},
        {"uniform_share": -0.1},
        {"same_share": 0.9},
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        replace(FeatureSettings(), **changes)  # type: ignore[arg-type]


def test_numbers_and_templates_of_another_length_are_refused() -> None:
    with pytest.raises(InputError, match="2 residue numbers for 3"):
        prepare(single_sequence("ACD"), np.arange(2))
    templates = Templates(
        torch.zeros(1, 4).long(), torch.zeros(1, 4, 37, 3), torch.zeros(1, 4, 37), torch.ones(1)
    )
    with pytest.raises(InputError, match="templates of 4"):
        prepare(single_sequence("ACD"), templates=templates)
