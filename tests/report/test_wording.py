import pytest

from chaperonin.report.wording import count, duration, measure, memory, moment, number, shortened, told_apart


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (count(1, "protein"), "1 protein"),
        (count(12345, "protein"), "12,345 proteins"),
        (count(2, "variant is", "variants are"), "2 variants are"),
        (duration(0.421), "0.42 s"),
        (duration(59.97), "1 min 00 s"),
        (duration(247.0), "4 min 07 s"),
        (duration(7_500.0), "2 h 05 min"),
        (memory(734.0 * 2**20), "734 MiB"),
        (memory(1.5 * 2**30), "1.50 GiB"),
        (measure(0.41234), "0.412"),
        (measure(0.00012345), "0.000123"),
        (measure(0.0), "0.000"),
        (measure(1234), "1,234"),
        (measure(float("nan")), "n/a"),
        (measure(None), ""),
        (moment("2026-01-02T03:04:05+00:00"), "2026-01-02 03:04 UTC"),
        (moment("yesterday"), "yesterday"),
        (shortened("abcdefghij", 6), "abcd…j"),
        (told_apart(["place: a b", "place: a c", "place: a b d"]), ["b", "c", "b d"]),
        (told_apart(["Cytoplasm", "Cell membrane"]), ["Cytoplasm", "Cell membrane"]),
    ],
)
def test_numbers_read_as_people_write_them(written, text):
    assert written == text


@pytest.mark.parametrize("value", [None, True, "5", float("nan"), float("inf"), [1]])
def test_what_is_no_finite_number_is_none(value):
    assert number({"key": value}, "key") is None
