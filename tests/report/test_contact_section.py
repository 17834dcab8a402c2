import os

import numpy as np

from chaperonin.report.contact_section import (
    contact_section,
    long_range_contacts,
    read_lengths,
    write_contact_pictures,
)


def test_long_range_contacts_are_the_strongest_fifth_at_least_24_apart():
    half = np.random.default_rng(0).random((60, 60))
    probabilities = (half + half.T) / 2
    contacts = long_range_contacts(probabilities)
    pairs = [(i, j) for i in range(1, 61) for j in range(i + 24, 61)]
    expected = sorted(pairs, key=lambda pair: -probabilities[pair[0] - 1, pair[1] - 1])[:12]
    assert [(i, j) for i, j, _ in contacts] == expected
    assert all(value == probabilities[i - 1, j - 1] for i, j, value in contacts)


def test_pairs_that_no_window_saw_are_no_contacts():
    probabilities = np.full((100, 100), np.nan, dtype=np.float32)
    probabilities[0, 24], probabilities[3, 99] = 0.25, 0.75
    assert long_range_contacts(probabilities) == [(4, 100, 0.75), (1, 25, 0.25)]


def test_equal_contacts_are_listed_in_reading_order():
    contacts = long_range_contacts(np.full((30, 30), 0.5))
    assert [(i, j) for i, j, _ in contacts] == [(1, 25), (1, 26), (1, 27), (1, 28), (1, 29), (1, 30)]


def test_pictures_are_written_where_there_is_none_as_new(contacts_job):
    folder = contacts_job.path / "contacts"
    assert write_contact_pictures(contacts_job.path) == [folder / "p0.png", folder / "p1.png"]
    first = (folder / "p0.png").read_bytes()
    assert write_contact_pictures(contacts_job.path) == []
    os.utime(folder / "p0.png", ns=(0, 0))
    assert write_contact_pictures(contacts_job.path) == [folder / "p0.png"]
    assert (folder / "p0.png").read_bytes() == first


def test_table_names_residues_from_one(new_job):
    job = new_job("contacts")
    sequence = "ACDEFGHIKLMNPQRSTVWYACDEFGHIK"
    probabilities = job.contacts("p", "protein", sequence)
    table = contact_section(job.path).parts[2]
    i, j, value = long_range_contacts(probabilities)[0]
    assert table.rows[0] == (f"{sequence[i - 1]}{i}", f"{sequence[j - 1]}{j}", str(j - i), f"{value:.3f}")


def test_short_proteins_have_no_long_range_contact(new_job):
    job = new_job("contacts")
    job.contacts("p", "protein", "ACDEF")
    assert (
        contact_section(job.path).parts[-1].text == "No pair of residues 24 or more apart has a probability."
    )


def test_only_the_first_twelve_maps_are_shown(new_job):
    job = new_job("contacts")
    for number in range(14):
        job.contacts(f"p{number:02d}", f"protein {number}", "ACDEF")
    parts = contact_section(job.path).parts
    assert parts[0].text.startswith("The first 12 of 14 maps")
    assert [part.text for part in parts if part.kind == "heading"] == [f"protein {n}" for n in range(12)]
    assert list(read_lengths(job.path)) == [5] * 14


def test_no_maps_no_section(tmp_path):
    assert contact_section(tmp_path) is None
    assert len(read_lengths(tmp_path)) == 0
