"""Which proteins are like those of the training set."""

from pathlib import Path

import numpy as np
import pytest

from chaperonin.errors import WeightsError
from chaperonin.tasks.domain import Domain


def blob(number: int, seed: int) -> np.ndarray:
    """Correlated features of very different scales."""
    mixing = np.random.default_rng(7).normal(size=(12, 12)) * np.logspace(-2, 2, 12)
    return np.random.default_rng(seed).normal(size=(number, 12)) @ mixing + 5


def test_ninety_nine_of_a_hundred_held_out_rows_are_in_and_strangers_are_out() -> None:
    domain = Domain.fit(blob(2000, 0), blob(1000, 1))
    assert domain is not None
    assert domain.contains(blob(1000, 1)).mean() == pytest.approx(0.99, abs=0.002)
    assert domain.contains(blob(3000, 2)).mean() == pytest.approx(0.99, abs=0.01)
    # As far from the centre as the others, but where the training set has no spread.
    strange = blob(200, 3)
    strange[:] = strange[:, ::-1]
    assert domain.contains(strange).mean() < 0.05


def test_distances_do_not_depend_on_the_units_of_the_features() -> None:
    train, held, new = blob(500, 0), blob(200, 1), blob(50, 2)
    one, other = Domain.fit(train, held), Domain.fit(train * 1000 - 3, held * 1000 - 3)
    assert one is not None and other is not None
    np.testing.assert_allclose(one.distance(new), other.distance(new * 1000 - 3), rtol=1e-3)


def test_few_proteins_have_no_domain_and_many_channels_are_no_obstacle() -> None:
    assert Domain.fit(np.ones((9, 4)), np.ones((0, 4))) is None
    generator = np.random.default_rng(0)
    narrow = Domain.fit(generator.normal(size=(30, 64)), np.empty((0, 64)))
    assert narrow is not None and not narrow.contains(np.full((1, 64), 9.0))[0]


def test_it_comes_back_and_refuses_what_is_none() -> None:
    domain = Domain.fit(blob(100, 0), blob(50, 1))
    assert domain is not None
    again = Domain.from_arrays(domain.arrays(), 12, "domain.safetensors")
    assert (again.distance(blob(5, 2)) == domain.distance(blob(5, 2))).all()
    for arrays in ({}, {"centre": domain.centre}, domain.arrays() | {"centre": np.full(12, np.nan)}):
        with pytest.raises(WeightsError, match=r"domain\.safetensors"):
            Domain.from_arrays(arrays, 12, "domain.safetensors")


@pytest.mark.slow
def test_real_proteins_are_kept_and_repeats_are_flagged(real_data: Path) -> None:
    from chaperonin.data.sources import Record, read_records
    from chaperonin.inference.load import load
    from chaperonin.tasks.features import pooled

    model = load(device="cpu")
    records = read_records(real_data / "localization/deeploc1_train.tsv.gz", id_column="acc")
    usable = [one for one in records if isinstance(one, Record) and len(one.sequence) < 250]
    parts = [
        [one.sequence for one in usable if int(one.columns["fold"]) in folds][:most]
        for folds, most in (((0, 1, 2), 250), ((3,), 120), ((4, 5), 120))
    ]
    train, held, new = (pooled(model, part, "mean", 4096) for part in parts)
    domain = Domain.fit(train, held)
    assert domain is not None
    assert domain.contains(new).mean() > 0.96
    generator = np.random.default_rng(0)
    repeats = ["".join(generator.choice(list("ACDEFGHIKLMNPQRSTVWY"), 3)) * 40 for _ in range(40)]
    assert domain.contains(pooled(model, repeats, "mean", 4096)).mean() < 0.1
