"""Stages and learning rates, iteration by iteration."""

from __future__ import annotations

import pytest

from napari_labdct.networks import registry
from napari_labdct.training import losses
from napari_labdct.training.schedules import learning_rate_at, same_so_far, stage_of
from napari_labdct.training.settings import LOSS_NAMES, NETWORK_NAMES, TrainSettings


def test_names_that_can_be_chosen_are_those_there_are():
    assert tuple(registry.NETWORKS) == NETWORK_NAMES
    assert tuple(losses.LOSSES) == LOSS_NAMES


def test_learning_rate_warms_up_and_falls():
    settings = TrainSettings(iterations=1000, warmup=100, learning_rate=1.0)
    rates = [learning_rate_at(settings, k) for k in range(1000)]
    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == pytest.approx(1.0)
    assert rates[99] == max(rates)
    assert rates[-1] == pytest.approx(0.01, abs=1e-3)
    late = [learning_rate_at(settings.replace(decay=200), k) for k in range(1000)]
    assert late[100:800] == [1.0] * 700
    assert late[-1] == pytest.approx(0.01, abs=1e-3)


def test_one_cycle_goes_up_and_down():
    settings = TrainSettings(iterations=1000, learning_rate=1.0, schedule="one-cycle")
    rates = [learning_rate_at(settings, k) for k in range(1000)]
    assert rates[0] == pytest.approx(1 / 25)
    assert rates.index(max(rates)) == 300
    assert rates[150] == pytest.approx((1 + 1 / 25) / 2)
    assert rates[:301] == sorted(rates[:301])
    assert rates[300:] == sorted(rates[300:], reverse=True)
    assert rates[-1] < 1e-4


def test_fixed_is_fixed():
    settings = TrainSettings(iterations=50, learning_rate=0.01, schedule="fixed")
    assert {learning_rate_at(settings, k) for k in range(50)} == {0.01}


@pytest.mark.parametrize("schedule", ["one-cycle", "fixed", "cosine"])
def test_every_stage_has_a_schedule_of_its_own(schedule):
    settings = TrainSettings(
        iterations=30, frozen_iterations=10, learning_rate=1.0, schedule=schedule, warmup=2
    )
    stages = [stage_of(settings, k) for k in range(30)]
    assert stages == ["frozen"] * 10 + ["unfrozen"] * 20
    rates = [learning_rate_at(settings, k) for k in range(30)]
    frozen, unfrozen = rates[:10], rates[10:]
    assert max(frozen) == pytest.approx(1.0)
    assert max(unfrozen) == pytest.approx(0.1)
    alone = settings.replace(iterations=10, frozen_iterations=0)
    assert frozen == [learning_rate_at(alone, k) for k in range(10)]
    slow = settings.replace(unfrozen_rate=0.5)
    assert learning_rate_at(slow, 20) == pytest.approx(5 * rates[20])


def test_one_stage_is_the_whole_network():
    assert {stage_of(TrainSettings(), k) for k in (0, 100, 5999)} == {"whole network"}


def test_two_trainings_are_one_until_their_rates_part():
    falling = TrainSettings(iterations=100, warmup=10)
    longer = falling.replace(iterations=200)
    assert same_so_far(falling, longer, 11)
    assert not same_so_far(falling, longer, 12)
    fixed = TrainSettings(iterations=100, schedule="fixed")
    assert same_so_far(fixed, fixed.replace(iterations=500, patience=3), 100)
    assert not same_so_far(fixed, fixed.replace(seed=1), 0)
