"""What is run, and what it costs."""

import csv
import gzip
import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaperonin.errors import UsageError
from chaperonin.inference.score_plan import (
    UNIT_TOKENS,
    keys_of,
    masked_work,
    mutated_region,
    official_cost,
    plain_work,
    plan_tokens,
    pseudo_likelihood_work,
    read_reference,
)


@settings(deadline=None)
@given(st.integers(1, 3000), st.data())
def test_masked_groups_hold_every_position_once_within_their_size(length, data):
    positions = data.draw(st.sets(st.integers(0, length - 1), max_size=200))
    works = list(masked_work("A" * length, positions))
    assert [position for work in works for position in work.payload["positions"]] == sorted(positions)
    assert len({work.key for work in works}) == len(works)
    for work in works:
        assert work.passes == len(work.payload["positions"])
        assert work.tokens == work.passes * min(length + 2, 1024)
        assert work.tokens <= UNIT_TOKENS or work.passes == 1


@settings(deadline=None)
@given(st.integers(1, 5000), st.integers(1, 6000))
def test_a_smaller_limit_gives_smaller_groups(length, limit):
    for work in masked_work("A" * length, range(0, length, 7), unit_tokens=limit):
        assert work.tokens <= limit or work.passes == 1


@pytest.mark.parametrize("make", [masked_work, plain_work, pseudo_likelihood_work])
def test_what_a_plan_holds_grows_with_the_length_of_the_protein_not_with_its_square(make):
    def payload_bytes(length):
        sequence = "".join(random.Random(length).choices("ACDEF", k=length))
        works = make(sequence, range(length)) if make is not pseudo_likelihood_work else make(sequence)
        return sum(len(json.dumps(work.payload)) for work in works)

    short, long = payload_bytes(4_000), payload_bytes(40_000)
    assert long < 14 * short  # positions and windows are numbers with more digits, and a few more windows
    assert long < 2 * 40_000 * 1024  # at most two bytes for each token that is run


def test_positions_far_apart_do_not_bring_the_protein_between_them():
    works = list(masked_work("A" * 40_000, [0, 10, 20_000, 39_999]))
    assert [work.payload["positions"] for work in works] == [[0, 10], [20_000], [39_999]]
    assert all(len(work.payload["sequence"]) <= 2 * 1024 for work in works)


def test_the_keys_of_a_sequence_are_found_among_those_of_others():
    own, other = "MSTNP" * 400, "MSTNA"
    for make in (pseudo_likelihood_work, lambda sequence: plain_work(sequence, None, "own")):
        keys = [[work.key for work in make(sequence)] for sequence in (own, other)]
        assert keys_of(own, keys[1] + keys[0]) == keys[0]


@settings(deadline=None)
@given(st.integers(1, 5000))
def test_unmasked_windows_read_every_position(length):
    works = list(plain_work("A" * length))
    read = {position for work in works for position in work.payload["positions"]}
    assert read == set(range(length))
    assert sum(work.tokens for work in works) == official_cost("wt-marginal", "A" * length).official_tokens


def test_windows_without_a_wanted_position_are_not_run():
    assert len(list(plain_work("A" * 3000, [5]))) == 1
    assert len(list(plain_work("A" * 3000))) > 4


def test_pseudo_likelihood_masks_each_position_and_officially_forgets_the_last_two():
    ours, official = (
        [position for work in pseudo_likelihood_work("MSTNP", flag) for position in work.payload["positions"]]
        for flag in (False, True)
    )
    assert ours == [0, 1, 2, 3, 4]
    assert official == [0, 1, 2]


def test_equal_targets_are_computed_once_and_only_where_they_change():
    plan = plan_tokens([("A" * 98, [0, 1, 2]), ("A" * 98, [2, 3]), ("C" * 1200, [7])])
    assert (plan.passes, plan.tokens) == (5, 4 * 100 + 1024)
    assert (plan.official_passes, plan.official_tokens) == (100 + 100 + 1202, 2 * 100 * 100 + 1202 * 1024)


def test_masked_marginals_of_proteingym_take_less_than_half_of_the_official_tokens(real_data: Path) -> None:
    """Positions are those of the reference file's regions: the mutants of only some assays are at hand."""
    reference = read_reference(real_data / "dms/reference/DMS_substitutions.csv")
    plan = plan_tokens((row["target_seq"], mutated_region(row)) for row in reference.values())
    assert len(reference) == 217
    assert (plan.official_passes, plan.official_tokens) == (86_613, 57_692_768)
    assert (plan.passes, plan.tokens) == (44_576, 25_461_646)
    assert plan.official_tokens / plan.tokens > 2.2


def test_regions_of_the_reference_contain_all_mutated_positions(real_data: Path) -> None:
    reference = read_reference(real_data / "dms/reference/DMS_substitutions.csv")
    compared = 0
    for path in sorted((real_data / "dms/substitutions_singles").glob("*.csv.gz")):
        row = reference.get(path.name.removesuffix(".csv.gz"))
        if row is None:
            continue
        with gzip.open(path, "rt") as file:
            positions = {int(line["mutant"][1:-1]) - 1 for line in csv.DictReader(file)}
        assert positions <= set(mutated_region(row)), path.name
        compared += 1
    assert compared > 40


def test_a_table_that_is_no_reference_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match="no column DMS_id and no column target_seq"):
        read_reference(path)
