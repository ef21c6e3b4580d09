"""Reinforcement: its parts against definitions, and that it learns what likelihood cannot."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bbopt.metabo.nap.architecture import Architecture  # noqa: E402
from bbopt.metabo.nap.batches import Batch, Instances  # noqa: E402
from bbopt.metabo.nap.episodes import first_rows, play, regrets, state_of  # noqa: E402
from bbopt.metabo.nap.forward import padded  # noqa: E402
from bbopt.metabo.nap.model import Model  # noqa: E402
from bbopt.metabo.nap.reinforce import (  # noqa: E402
    DISCOUNT,
    PLAYS,
    Reinforcement,
    advantages,
    relative_regret,
    rewards,
)
from bbopt.metabo.nap.supervised import Supervised  # noqa: E402

TINY = Architecture(2, width=16, layers=1, heads=2, hidden=16, buckets=20)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Corner:
    """Tables whose best row is the one in the corner, which their other rows do not tell.

    The likelihood is trained on other tables: noise, wherever it is.
    """

    def batch(self, rng, b, n, m, bound):
        points = padded(rng.random((b, n + m, 2)), np.full(b, 2), 2)
        u = rng.normal(size=(b, n + m)).astype(np.float32)
        return Batch(*map(np.ascontiguousarray, (points[:, :n], u[:, :n], points[:, n:], u[:, n:])))

    def instances(self, rng, b, m):
        x = rng.random((b, m, 2))
        utility = rng.normal(size=(b, m))
        utility[np.arange(b), (x**2).sum(axis=2).argmin(axis=1)] = 8.0
        return Instances(padded(x, np.full(b, 2), 2), utility)


def test_the_number_of_records_in_random_order_is_harmonic():
    # Lemma 3.1 of Maraval et al.: rewards are sparse, H_T of T steps improve
    rng = np.random.default_rng(0)
    horizon, plays = 24, 4000
    utility = np.repeat(np.arange(100.0)[None], plays, axis=0)
    rho = regrets(utility, first_rows(rng, plays, 100, horizon))
    records = 1 + (np.diff(rho, axis=1) < 0).sum(axis=1)
    terms = 1.0 / np.arange(1, horizon + 1)
    error = math.sqrt((terms.sum() - (terms**2).sum()) / plays)
    assert abs(records.mean() - terms.sum()) < 4.0 * error
    tied = regrets(np.floor(utility / 10), first_rows(rng, plays, 100, horizon))
    assert 1 + (np.diff(tied, axis=1) < 0).sum(axis=1).mean() < terms.sum() - 4.0 * error


def test_rewards_grow_as_regret_falls_and_are_bounded_at_zero_regret():
    found = rewards(np.array([[2.0, 1.0, 0.1, 1e-3, 0.0]]))[0]
    assert (np.diff(found[:4]) > 0).all()
    assert found[3] == pytest.approx(found[4], abs=2e-3)
    assert found[4] == pytest.approx(0.45)


def test_regrets_are_shares_of_the_range_and_of_the_upper_half():
    utility = np.array([[0.0, 1.0, 2.0, 3.0, 10.0]])
    rows = np.array([[1, 0, 3, 4]])
    np.testing.assert_allclose(regrets(utility, rows), [[0.9, 0.9, 0.7, 0.0]])
    np.testing.assert_allclose(relative_regret(utility, rows), [[9 / 8, 9 / 8, 7 / 8, 0.0]])


def test_advantages_compare_discounted_returns_within_each_group():
    rng = np.random.default_rng(0)
    given = rng.normal(size=(2 * PLAYS, 4))
    returns = np.array(
        [[sum(DISCOUNT ** (s - t) * r[s] for s in range(t, 4)) for t in range(4)] for r in given]
    )
    found = advantages(given)
    for group in (slice(0, PLAYS), slice(PLAYS, 2 * PLAYS)):
        gaps = returns[group] - returns[group].mean(axis=0)
        np.testing.assert_allclose(found[group], gaps / (gaps.std() + 1e-3))


def test_equal_plays_teach_nothing():
    np.testing.assert_allclose(advantages(np.ones((PLAYS, 5))), 0.0, atol=1e-9)


def test_no_row_is_evaluated_twice_and_all_are_in_the_end():
    problems = Corner().instances(np.random.default_rng(0), 3, 10)
    model = Model(TINY, np.random.default_rng(0))
    for rng in (None, np.random.default_rng(1)):
        rows, _ = play(model, problems, np.zeros((3, 0), dtype=int), 10, rng)
        np.testing.assert_array_equal(np.sort(rows, axis=1), np.tile(np.arange(10), (3, 1)))


def test_a_state_shows_nothing_of_rows_that_were_not_evaluated():
    problems = Corner().instances(np.random.default_rng(0), 2, 10)
    rows = np.array([[0, 1, 2], [3, 4, 5]])
    changed = problems.utility.copy()
    changed[0, 3:] = changed[1, :3] = 1e6
    one, other = (state_of(p, rows, 4) for p in (problems, problems._replace(utility=changed)))
    for part, same in zip(one[:-1], other[:-1], strict=True):
        assert torch.equal(part, same)


def test_the_probability_of_a_choice_is_that_under_the_mask_it_was_made_with():
    problems = Corner().instances(np.random.default_rng(0), 4, 12)
    model = Model(TINY, np.random.default_rng(0))
    rows, moments = play(model, problems, np.zeros((4, 0), dtype=int), 6, np.random.default_rng(1))
    for t, moment in enumerate(moments):
        log_p = moment.state.log_policy(model.head(moment.log_ei, moment.inputs)).detach().numpy()
        np.testing.assert_array_equal(moment.chosen.numpy(), rows[:, t])
        np.testing.assert_allclose(log_p[np.arange(4), rows[:, t]], moment.log_prob, atol=1e-6)
        np.testing.assert_allclose(np.exp(log_p).sum(axis=1), 1.0, rtol=1e-5)
        assert np.isneginf(np.take_along_axis(log_p, rows[:, :t], axis=1)).all()


@pytest.fixture
def few(monkeypatch):
    """Plays that cost little."""
    for name, value in (("PROBLEMS", 2), ("POOL", 20), ("HORIZONS", (6, 8))):
        monkeypatch.setattr(f"bbopt.metabo.nap.reinforce.{name}", value)


@pytest.mark.usefixtures("few")
def test_reinforcement_of_the_head_leaves_the_densities_as_they_are():
    model = Model(TINY, np.random.default_rng(0))
    before = model.arrays()
    Reinforcement(model, Corner(), seed=0).step(0)
    after = model.arrays()
    moved = {name for name in before if not np.array_equal(before[name], after[name])}
    assert moved
    assert all(name.startswith("acquisition") for name in moved)


@pytest.mark.usefixtures("few")
def test_joint_reinforcement_moves_the_densities_too():
    model = Model(TINY, np.random.default_rng(0))
    before = model.arrays()
    Reinforcement(model, Corner(), seed=0, joint=True).step(0)
    assert not np.array_equal(before["density.weight"], model.arrays()["density.weight"])


class Lure:
    """Tables whose better half is where the densities are narrow.

    The likelihood is trained on others, where the wide half has the highest values, too.
    """

    def batch(self, rng, b, n, m, bound):
        x = rng.random((b, n + m, 2))
        u = np.where(x[..., 0] < 0.5, 2.0, 0.2) * rng.normal(size=(b, n + m))
        points = padded(x, np.full(b, 2), 2)
        parts = points[:, :n], u[:, :n], points[:, n:], u[:, n:]
        return Batch(*(np.ascontiguousarray(part, dtype=np.float32) for part in parts))

    def instances(self, rng, b, m):
        x = rng.random((b, m, 2))
        utility = np.where(x[..., 0] < 0.5, -1.0, 1.0) + 0.2 * rng.normal(size=(b, m))
        return Instances(padded(x, np.full(b, 2), 2), utility)


def trained(source, steps):
    """A small network that has learned the densities of a source."""
    model = Model(TINY, np.random.default_rng(0))
    likelihood = Supervised(model, source, steps, seed=0)
    for i in range(steps):
        likelihood.step(i)
    return model


def regret(model, problems, by, evaluations):
    """The mean after so many, from nothing."""
    start = np.zeros((len(problems.utility), 0), dtype=int)
    return regrets(problems.utility, play(model, problems, start, evaluations, by=by)[0])[
        :, -1
    ].mean()


@pytest.mark.slow
def test_the_head_learns_where_expected_improvement_is_wrong():
    source = Lure()
    model = trained(source, 150)
    problems = source.instances(np.random.default_rng(99), 20, 100)
    by_ei = regret(model, problems, "ei", 3)
    assert regret(model, problems, "acquisition", 3) == by_ei  # where it starts from
    learning = Reinforcement(model, source, seed=0)
    for i in range(30):
        learning.step(i)
    assert regret(model, problems, "ei", 3) == by_ei
    assert regret(model, problems, "acquisition", 3) < 0.5 * by_ei


@pytest.mark.slow
def test_both_together_learn_that_the_best_is_in_a_corner():
    source = Corner()
    model = trained(source, 100)
    problems = source.instances(np.random.default_rng(99), 20, 192)
    by_ei = regret(model, problems, "ei", 12)
    learning = Reinforcement(model, source, seed=0, joint=True)
    for i in range(80):
        learning.step(i)
    assert regret(model, problems, "acquisition", 12) < 0.5 * by_ei
