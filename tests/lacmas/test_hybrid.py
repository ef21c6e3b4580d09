"""Swarms and descents in turn: the best end is kept, and the search knows when to stop."""

import numpy as np
import pytest

from bbopt.lacmas import topology, weights
from bbopt.lacmas.draws import Draws
from bbopt.lacmas.hybrid import AGAIN, SWARM_SHARE, Hybrid
from bbopt.lacmas.search import Box
from bbopt.lacmas.spectrum import spectrum
from tests.lacmas.swarms import Bowls, masoie, network, play
from tests.lacmas.test_quasi_newton import Quadratics

BENT = Quadratics(d=3)
TURN = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0]


def hybrid(budget=6000, seed=1):
    net = network()
    box = Box(np.full(3, -5.0), np.full(3, 5.0))
    known = spectrum(weights.build(topology.build("ring", net.n)))

    def swarms(share, draws):
        made = masoie(net, budget=share, guide="imitation")
        made.draws = draws
        made.x = box.low + draws.uniform("start", 0, 0, *made.x.shape[1:]) * (box.high - box.low)
        return made

    return Hybrid(net, box, Draws(seed, net.agents, net.n), budget, swarms, known)


def ripples(x, i):
    """Many valleys, askew, so that no coordinate alone leads out of them."""
    z = x @ TURN
    return (z**2 + 10 - 10 * np.cos(2 * np.pi * z)).sum(axis=1) + 3 * z[:, 0] * (i - 2.5)


def kinks(x, i):
    return np.abs((x - BENT.b[i]) @ BENT.q[i]).sum(axis=1)


def test_one_valley_found_again_and_again_ends_the_search_with_budget_left():
    search = hybrid(20_000)
    play(search, Bowls())
    assert search.chain == 1 + AGAIN == search.begun / 2
    assert search.evaluations.max() < 15_000
    np.testing.assert_allclose(search.points[0], Bowls().targets.mean(axis=0), atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_the_lowest_end_of_all_is_kept_and_what_is_reported_never_rises(seed, monkeypatch):
    ends = []
    keep = Hybrid._keep

    def note(self, last):
        ends.append((last.losses.mean(), last.points[0]))
        keep(self, last)

    monkeypatch.setattr(Hybrid, "_keep", note)
    search, seen = hybrid(30_000, seed), []
    while (batch := search.propose()) is not None:
        search.accept(np.array([ripples(x, i) for i, x in zip(batch.agents, batch.x, strict=True)]))
        if search.kept is not None:
            seen.append(search.losses.mean())
    assert len({round(float(value), 3) for value, _ in ends}) > 1  # there are several valleys
    best, where = min(ends, key=lambda end: end[0])
    assert search.losses.mean() == pytest.approx(best, abs=1e-12)
    np.testing.assert_allclose(search.points[0], where, atol=1e-6)
    assert (np.diff(seen) <= 1e-9).all()


def test_kinks_leave_half_of_the_budget_to_strategies():
    search = hybrid(10_000)
    play(search, kinks)
    assert type(search.stage).__name__ == "CcsaDes"
    assert search.evaluations.max() > 9_000
    assert search.spent <= 5_000


def test_swarms_have_their_share_each_time():
    search, began, ended = hybrid(20_000), {}, {}
    while (batch := search.propose()) is not None:
        if type(search.stage).__name__ == "Masoie":
            began.setdefault(search.begun, search.evaluations.copy())
        values = [Bowls()(x, i) for i, x in zip(batch.agents, batch.x, strict=True)]
        search.accept(np.array(values))
        if search.begun in began:
            ended[search.begun] = search.evaluations.copy()
    assert list(began) == [1, 3, 5]
    share = SWARM_SHARE * 20_000
    for number, start in began.items():
        own = ended[number] - start
        assert (own > 0.5 * share).all()
        assert (ended[number] <= start.max() + share).all()


def test_without_a_limit_on_evaluations_swarms_still_come_to_an_end():
    search = hybrid(None)
    play(search, Bowls())
    assert search.again == AGAIN
    np.testing.assert_allclose(search.points[0], Bowls().targets.mean(axis=0), atol=1e-6)


@pytest.mark.parametrize("batches", [1, 30, 60, 90, 140, 200])
def test_a_restored_search_goes_on_to_the_last_bit(batches):
    whole, half = hybrid(), hybrid()
    for _ in range(batches):
        for one in (whole, half):
            batch = one.propose()
            one.accept(np.array([kinks(x, i) for i, x in zip(batch.agents, batch.x, strict=True)]))
    half.propose()
    resumed = hybrid()
    resumed.restore(half.state())
    assert resumed.begun == half.begun
    play(whole, kinks)
    play(resumed, kinks)
    np.testing.assert_array_equal(whole.points, resumed.points)
    np.testing.assert_array_equal(whole.evaluations, resumed.evaluations)
