from math import cos, pi

import pytest

from chaperonin.training.schedule import Schedule

STEPS = 100


def test_warm_up_is_linear_from_the_first_step():
    schedule = Schedule(peak=2.0, warmup_steps=10)
    assert [schedule.rate(step, STEPS) for step in range(10)] == pytest.approx(
        [0.2 * (step + 1) for step in range(10)]
    )


def test_fall_is_half_a_cosine_to_the_final_share():
    schedule = Schedule(peak=2.0, warmup_steps=10, final_share=0.1)
    for step in range(10, STEPS):
        share = (1 + cos(pi * (step - 10) / 90)) / 2
        assert schedule.rate(step, STEPS) == pytest.approx(2.0 * (0.1 + 0.9 * share))
    assert schedule.rate(STEPS, STEPS) == pytest.approx(0.2)


def test_plateau_stands_between_them():
    schedule = Schedule(peak=1.0, warmup_steps=10, plateau_steps=50)
    assert all(schedule.rate(step, STEPS) == 1.0 for step in range(9, 61))
    rates = [schedule.rate(step, STEPS) for step in range(60, STEPS + 1)]
    assert rates == sorted(rates, reverse=True)
    assert rates[20] == pytest.approx(0.5)
    assert rates[-1] == pytest.approx(0.0)


def test_rate_on_the_plateau_does_not_depend_on_the_steps():
    schedule = Schedule(peak=1.0, warmup_steps=10, plateau_steps=50)
    assert [schedule.rate(step, 80) for step in range(60)] == [schedule.rate(step, 500) for step in range(60)]


def test_run_shorter_than_its_warm_up_and_plateau_never_falls():
    schedule = Schedule(peak=1.0, warmup_steps=10, plateau_steps=50)
    assert schedule.rate(29, 30) == 1.0
