"""Schedules of beta: values worked out by hand, and whether the intervals hold."""

from __future__ import annotations

import numpy as np
import pytest

from bbopt.metabo import RBF, Posterior
from bbopt.metabo.confidence import continuous_beta, finite_beta, growing_beta, norm_beta


def test_values_worked_out_by_hand():
    # 2 ln(100 π² 9 / 0.6) = 2 ln 14804.4 = 19.2056; its root 4.38242
    assert finite_beta(100, 3, 0.1) == pytest.approx(4.382, abs=1e-3)
    # 2 + 0.1/0.1 sqrt(2 ln 10 + 2 · 1.5) = 2 + sqrt(7.60517)
    assert norm_beta(2.0, 0.1, 0.01, 1.5, 0.1) == pytest.approx(2 + np.sqrt(7.6051702), abs=1e-7)
    # 2 ln(8 π²/0.3) + 4 ln(8 sqrt(ln 80)) = 11.1460 + 11.2727
    assert continuous_beta(2, 2, 0.1) == pytest.approx(np.sqrt(22.4187), abs=1e-3)


def test_all_intervals_of_a_run_hold_in_all_but_a_share_delta_of_runs():
    kernel, noise, delta = RBF(0.3), 0.09, 0.2
    x = np.linspace(0, 1, 40)[:, None]
    root = np.linalg.cholesky(kernel(x, x) + 1e-10 * np.eye(40))
    broken = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        f = root @ rng.normal(size=40)
        p = Posterior(kernel, noise, candidates=x)
        held = True
        for decision in range(1, 21):
            beta = finite_beta(40, decision, delta)
            held &= bool(np.all(np.abs(f - p.mean) <= beta * p.sd + 1e-6))
            i = p.argmax(lambda mean, sd, beta=beta: mean + beta * sd)
            p.update(i, f[i] + 0.3 * rng.normal())
        broken += not held
    assert broken <= delta * 60


def test_the_growing_beta_never_stops_growing_and_starts_at_one_or_more() -> None:
    betas = [growing_beta(n) for n in (0, 1, 3, 10, 200, 10**6, 10**12)]
    assert betas == sorted(betas)
    assert betas[0] >= 1.0
    assert growing_beta(10**6) == pytest.approx(3.7169, abs=1e-4)  # sqrt(6 ln 10)
