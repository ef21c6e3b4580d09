"""The GP baselines choose as naive versions of their papers' algorithms do."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bbopt
from bbopt.baselines.gp.hallucination import Hallucination
from bbopt.baselines.gp.nystroem import Nystroem
from bbopt.metabo import RBF, Matern52
from bbopt.metabo.confidence import finite_beta
from bbopt.metabo.posterior import Posterior
from bbopt.testing.driving import play

X = np.random.default_rng(5).random((70, 2))
SPACE = bbopt.Space({"a": bbopt.Float(0, 1), "b": bbopt.Float(0, 1)})
SPEC = bbopt.Spec(space=SPACE, direction="maximize", candidates={"a": X[:, 0], "b": X[:, 1]})
ROW = {tuple(x): i for i, x in enumerate(X.tolist())}
KERNEL, NOISE = Matern52(0.3), 0.09
PRIOR = KERNEL(X, X)
GP = ["gp:ucb", "gp:fixed", "gp:bucb", "gp:bbkb"]
KNOWN = {"lengthscale": 0.3, "noise": NOISE}


def row_of(trial):
    return ROW[tuple(trial.params.values())]


def objective(seed=0, noise=NOISE):
    """A draw of the prior, and the noise of the k-th evaluation of row i."""
    rng = np.random.default_rng(seed)
    f = np.linalg.cholesky(PRIOR + 1e-10 * np.eye(len(X))) @ rng.standard_normal(len(X))
    errors = math.sqrt(noise) * rng.standard_normal((len(X), 4000))
    counts = [0] * len(X)

    def evaluate(row):
        counts[row] += 1
        return f[row] + errors[row, counts[row] - 1]

    return f, evaluate


def drive(optimizer, n, evaluate, size=1):
    """Rows of ``n`` evaluations, asked ``size`` at a time."""
    rows = []
    while len(rows) < n:
        for trial in optimizer.ask(size):
            rows += [row_of(trial)] * trial.repeats
            optimizer.tell(trial, [evaluate(rows[-1]) for _ in range(trial.repeats)])
    return rows


def dense(rows, values):
    """Mean and variance at all candidates from one row an evaluation."""
    cross = PRIOR[rows]
    m = cross[:, rows] + NOISE * np.eye(len(rows))
    solved = np.linalg.solve(m, np.column_stack([values, cross]))
    return cross.T @ solved[:, 0], np.diag(PRIOR) - np.einsum("ij,ij->j", cross, solved[:, 1:])


def upper(rows, values, beta, unseen=()):
    """``mean + beta sd``, the sd with evaluations that the mean knows nothing of."""
    mean = dense(rows, values)[0] if rows else np.zeros(len(X))
    everything = [*rows, *unseen]
    variance = dense(everything, np.zeros(len(everything)))[1] if everything else np.diag(PRIOR)
    return mean + beta * np.sqrt(variance)


# --- GP-UCB ---------------------------------------------------------------------------


@pytest.mark.parametrize("beta", [1.5, None])
@pytest.mark.parametrize("form", ["merged", "append"])
def test_every_choice_of_ucb_is_that_of_the_dense_posterior(form, beta):
    _, evaluate = objective()
    optimizer = bbopt.optimizer("gp:ucb", SPEC, form=form, beta=beta, **KNOWN)
    rows, values = [], []
    for t in range(1, 301):
        (trial,) = optimizer.ask()
        if rows:
            width = beta or 0.5 * finite_beta(len(X), t, 0.1)
            assert row_of(trial) == int(np.argmax(upper(rows, values, width)))
        rows.append(row_of(trial))
        values.append(evaluate(rows[-1]))
        optimizer.tell(trial, values[-1])
    assert 10 < len(set(rows)) < 70  # it went around, and it repeated


@pytest.mark.parametrize("noise", [1e-6, 0.01, 1.0])
@pytest.mark.parametrize("beta", [2.0, None])
def test_both_forms_of_ucb_choose_the_same(noise, beta):
    made = {}
    for form in ("merged", "append"):
        _, evaluate = objective(seed=1, noise=noise)
        optimizer = bbopt.optimizer(
            "gp:ucb", SPEC, form=form, lengthscale=0.3, noise=noise, beta=beta
        )
        made[form] = drive(optimizer, 400, evaluate)
    assert made["merged"] == made["append"]


def test_a_run_of_one_candidate_leaves_the_rows_of_the_posterior_alone(monkeypatch):
    updates = []
    update = Posterior.update
    monkeypatch.setattr(
        Posterior, "update", lambda self, *a, **k: (updates.append(a), update(self, *a, **k))
    )
    _, evaluate = objective()
    rows = np.array(drive(bbopt.optimizer("gp:ucb", SPEC, **KNOWN), 400, evaluate))
    switches = int((rows[1:] != rows[:-1]).sum())
    assert switches < 150
    assert len(updates) <= 2 * (switches + 1)


@pytest.mark.parametrize("form", ["merged", "append"])
def test_several_at_a_time_shrink_each_others_sd(form):
    _, evaluate = objective()
    optimizer = bbopt.optimizer("gp:ucb", SPEC, form=form, beta=2.0, **KNOWN)
    rows, values = [], []
    for _ in range(12):
        trials = optimizer.ask(4)
        for k, trial in enumerate(trials):
            if rows:
                unseen = [row_of(other) for other in trials[:k]]
                assert row_of(trial) == int(np.argmax(upper(rows, values, 2.0, unseen)))
        for trial in trials:
            rows.append(row_of(trial))
            values.append(evaluate(rows[-1]))
            optimizer.tell(trial, values[-1])


def test_fixed_repeats_every_choice_as_often_as_the_budget_allows():
    optimizer = bbopt.optimizer("gp:fixed", SPEC, repeats=5, **KNOWN)
    assert [t.repeats for t in optimizer.ask(3)] == [5, 5, 5]
    assert optimizer.ask(1, bbopt.Budget(evaluations=3))[0].repeats == 3
    _, evaluate = objective()
    fixed = drive(bbopt.optimizer("gp:fixed", SPEC, repeats=1, **KNOWN), 60, evaluate)
    _, evaluate = objective()
    assert fixed == drive(bbopt.optimizer("gp:ucb", SPEC, **KNOWN), 60, evaluate)


# --- batches --------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3])
def test_every_choice_of_bucb_is_that_of_the_paper(size):
    c, beta = 1.5, 1.2
    _, evaluate = objective()
    optimizer = bbopt.optimizer("gp:bucb", SPEC, staleness=c, beta=beta, **KNOWN)
    rows, values = [], []  # looked at
    told, unseen, is_open, n_batches = [], [], False, 0
    for _ in range(240 // size):
        trials = optimizer.ask(size)
        for k, trial in enumerate(trials):
            if not is_open:
                rows, values = rows + [r for r, _ in told], values + [v for _, v in told]
                told, unseen = [], [row_of(pending) for pending in trials[:k]]
                n_batches += 1
            if rows:
                assert row_of(trial) == int(np.argmax(upper(rows, values, c * beta, unseen)))
            unseen.append(row_of(trial))
            inside = posterior_covariance(rows)[np.ix_(unseen, unseen)] / NOISE
            is_open = np.linalg.slogdet(np.eye(len(unseen)) + inside)[1] <= 2 * math.log(c)
        for trial in trials:
            told.append((row_of(trial), evaluate(row_of(trial))))
            optimizer.tell(trial, told[-1][1])
    assert optimizer.n_batches == n_batches
    assert n_batches < 120


def posterior_covariance(rows):
    cross = PRIOR[rows]
    return PRIOR - cross.T @ np.linalg.solve(cross[:, rows] + NOISE * np.eye(len(rows)), cross)


def test_bbkb_with_every_point_in_its_dictionary_is_exact():
    c, beta = 1.5, 1.2
    _, evaluate = objective()
    optimizer = bbopt.optimizer("gp:bbkb", SPEC, staleness=c, beta=beta, oversampling=1e9, **KNOWN)
    rows, values, batch, told, stale = [], [], [], [], 1.0
    for _ in range(250):
        (trial,) = optimizer.ask()
        if stale > c * c:
            rows, values, stale = rows + batch, values + told, 1.0
            batch, told = [], []
        if rows:
            assert row_of(trial) == int(np.argmax(upper(rows, values, c * beta, batch)))
        batch.append(row_of(trial))
        start = np.diag(posterior_covariance(rows) if rows else PRIOR)
        stale += start[batch[-1]] / NOISE
        told.append(evaluate(batch[-1]))
        optimizer.tell(trial, told[-1])
    assert optimizer.n_batches < 125


def test_bbkb_keeps_fewer_points_than_it_visits_and_still_learns():
    f, evaluate = objective(seed=3)
    optimizer = bbopt.optimizer("gp:bbkb", SPEC, oversampling=1.0, **KNOWN)
    rows = drive(optimizer, 400, evaluate)
    assert len(optimizer._approximation._w) < len(set(rows))
    assert f[row_of(optimizer.best)] > np.quantile(f, 0.9)


def test_the_embedding_is_that_of_the_paper_and_of_all_points_exact():
    rng = np.random.default_rng(0)
    visited = rng.choice(len(X), 20, replace=False)
    count, mean = rng.integers(1, 30, 20), rng.standard_normal(20)
    model = Nystroem(KERNEL, NOISE, X)
    for size in (1, 6, 20):
        dictionary = visited[:size]
        model.fit(dictionary, visited, count, mean)
        # eq. 2 and 3: z(x) = (k_SS^+)^(1/2) k_S(x), V = Zᵀ Z + noise I over all evaluations
        values, vectors = np.linalg.eigh(PRIOR[np.ix_(dictionary, dictionary)])
        z = (vectors / np.sqrt(values)) @ vectors.T @ PRIOR[dictionary]
        rows = np.repeat(visited, count)
        v = z[:, rows] @ z[:, rows].T + NOISE * np.eye(size)
        y = np.repeat(mean, count)
        np.testing.assert_allclose(model.mean, z.T @ np.linalg.solve(v, z[:, rows] @ y), atol=1e-7)
        scaled = (1 - np.einsum("ij,ij->j", z, z)) / NOISE
        scaled += np.einsum("ij,ij->j", z, np.linalg.solve(v, z))
        np.testing.assert_allclose(model.variance, NOISE * scaled, atol=1e-7)
        np.testing.assert_allclose(
            model.covariance(7), NOISE * z[:, 7] @ np.linalg.solve(v, z), atol=1e-7
        )
    exact_mean, exact = dense(rows.tolist(), y)  # with every point in the dictionary
    np.testing.assert_allclose(model.mean, exact_mean, atol=1e-7)
    np.testing.assert_allclose(model.variance, exact, atol=1e-7)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 20)), max_size=15))
@settings(max_examples=40)
def test_hallucinated_evaluations_in_any_order_shrink_the_variance_as_told_ones(runs):
    start = posterior_covariance([3, 3, 8])
    h = Hallucination(np.diag(start).copy(), lambda i: start[i].copy(), NOISE, 1e-14)
    rows = [3, 3, 8]
    for row, count in runs:
        for _ in range(count):
            h.add(row)
        rows += [row] * count
    np.testing.assert_allclose(h.variance, dense(rows, np.zeros(len(rows)))[1], atol=1e-9)


def test_a_batch_that_is_complete_is_not_waited_for():
    # The first evaluation closes the first batch: 1 + 1/0.09 > 1.5².
    optimizer = bbopt.optimizer("gp:bucb", SPEC, staleness=1.5, beta=1.0, **KNOWN)
    (first,) = optimizer.ask()
    (second,) = optimizer.ask()
    assert optimizer.n_batches == 2
    assert second.params != first.params  # drawn: nothing is known
    optimizer.tell(second, 1.0)
    (third,) = optimizer.ask()
    seen = [row_of(second)], [1.0]
    assert row_of(third) == int(np.argmax(upper(*seen, 1.5, [row_of(first)])))
    optimizer.tell(third, 0.5)
    optimizer.tell(first, -1.0)
    (fourth,) = optimizer.ask()
    seen = [row_of(t) for t in (first, second, third)], [-1.0, 1.0, 0.5]
    assert row_of(fourth) == int(np.argmax(upper(*seen, 1.5)))


# --- what they share ------------------------------------------------------------------


@pytest.mark.parametrize("name", GP)
def test_the_first_candidate_is_drawn_and_the_same_for_all(name):
    first = {row_of(bbopt.optimizer(name, SPEC, seed=s).ask()[0]) for s in range(8)}
    assert len(first) > 4
    assert first == {row_of(bbopt.optimizer("gp:ucb", SPEC, seed=s).ask()[0]) for s in range(8)}


@pytest.mark.parametrize("name", GP)
def test_foreign_values_of_a_row_count_and_others_do_not(name):
    optimizer = bbopt.optimizer(name, SPEC, beta=0.1, **KNOWN)
    optimizer.tell(bbopt.Trial(None, {"a": 0.123, "b": 0.5}), 1e6)  # no row
    optimizer.tell(bbopt.Trial(None, SPEC.candidates[11]), bbopt.Outcome([5.0, 5.1, 4.9]))
    assert row_of(optimizer.ask()[0]) == 11


@pytest.mark.parametrize("name", [*GP, "gp:halving"])
@pytest.mark.parametrize("how", ["fails", "is infeasible"])
def test_a_candidate_without_feasible_values_is_not_proposed_for_ever(name, how):
    f, evaluate = objective(seed=2)
    bad = int(np.argmax(f))

    def outcome(row, repeats):
        values = [evaluate(row) for _ in range(repeats)]
        if row != bad:
            return bbopt.Outcome(values)
        if how == "fails":
            return bbopt.Outcome.failure("it broke", repeats)
        return bbopt.Outcome(values, constraints=[1.0])

    optimizer = bbopt.optimizer(name, SPEC, **(KNOWN if name in GP else {"subset": 64}))
    rows = []
    for _ in range(150):
        (trial,) = optimizer.ask()
        rows.append(row_of(trial))
        optimizer.tell(trial, outcome(rows[-1], min(trial.repeats, 5)))
    assert bad not in rows[-30:]
    assert row_of(optimizer.best) != bad


@pytest.mark.parametrize("name", GP)
def test_best_is_the_greatest_lower_bound_with_the_mean_of_its_own_values(name):
    _, evaluate = objective()
    optimizer = bbopt.optimizer(name, SPEC, beta=1.0, **KNOWN)
    rows, values = [], []
    for _ in range(40):
        (trial,) = optimizer.ask()
        told = [evaluate(row_of(trial)) for _ in range(trial.repeats)]
        optimizer.tell(trial, told)
        rows, values = rows + [row_of(trial)] * trial.repeats, values + told
        state = optimizer.state_dict()
        mean, variance = dense(rows, values)
        seen = sorted(set(rows), key=rows.index)
        best = optimizer.best
        assert row_of(best) == seen[int(np.argmax((mean - np.sqrt(variance))[seen]))]
        own = [v for r, v in zip(rows, values, strict=True) if r == row_of(best)]
        assert best.value == pytest.approx(np.mean(own))
        assert best.count == len(own)
        assert optimizer.state_dict()["events"] == state["events"]


@pytest.mark.parametrize("name", [*GP, "gp:halving"])
def test_values_beyond_every_scale_do_no_harm(name):
    optimizer = bbopt.optimizer(name, SPEC)
    values = iter([1e308, -1e308, 1e300, 0.0] * 30)
    play(optimizer, 100, lambda trial: next(values))
    assert np.isfinite(optimizer.best.value)


@pytest.mark.parametrize("name", GP)
def test_equal_rows_are_one_candidate(name):
    twice = {n: np.tile(X[:20, j], 2) for j, n in enumerate(SPACE)}
    spec = bbopt.Spec(space=SPACE, direction="maximize", candidates=twice)
    _, evaluate = objective()
    _, again = objective()
    plain = bbopt.Spec(space=SPACE, direction="maximize", candidates=SPEC.candidates[:20])
    start = bbopt.Trial(None, SPEC.candidates[0])
    made = []
    for s, values in ((spec, evaluate), (plain, again)):
        optimizer = bbopt.optimizer(name, s, beta=1.0, **KNOWN)
        optimizer.tell(start, values(0))
        made.append(drive(optimizer, 60, values))
    assert made[0] == made[1]


@pytest.mark.parametrize("name", [*GP, "gp:halving"])
def test_regret_is_a_small_part_of_that_of_chance(name):
    shares = []
    for seed in range(5):
        f, evaluate = objective(seed)
        few = {"repeats": 4} if name == "gp:fixed" else {}
        optimizer = bbopt.optimizer(name, SPEC, seed=seed, **(KNOWN if name in GP else {}), **few)
        rows = []
        while len(rows) < 400:
            left = bbopt.Budget(evaluations=400 - len(rows))
            for trial in optimizer.ask(1, left):
                told = [evaluate(row_of(trial)) for _ in range(trial.repeats)]
                optimizer.tell(trial, told)
                rows += [row_of(trial)] * trial.repeats
        shares.append(np.mean(f.max() - f[rows]) / np.mean(f.max() - f))
    assert np.median(shares) < 0.35


# --- successive halving ---------------------------------------------------------------


def test_halving_doubles_the_repeats_of_the_better_half_and_repeats_the_winner():
    optimizer = bbopt.optimizer("gp:halving", SPEC, subset=8, share=0.5)
    left = bbopt.Budget(evaluations=96)  # of which 48: three rungs of 16
    rungs, kept = [], None
    for size in (8, 4, 2):
        trials = optimizer.ask(100, left)
        rungs.append([t.repeats for t in trials])
        assert optimizer.ask(1, left) == []  # the rung is not complete
        rows = [row_of(t) for t in trials]
        assert len(rows) == len(set(rows)) == size
        assert kept is None or set(rows) == kept
        for trial in trials:
            optimizer.tell(trial, [float(row_of(trial))] * trial.repeats)
        kept = set(sorted(rows)[size // 2 :])
    assert rungs == [[2] * 8, [4] * 4, [8] * 2]
    assert {row_of(t) for t in optimizer.ask(3, left)} == kept
    assert row_of(optimizer.best) in kept


@pytest.mark.parametrize(
    ("evaluations", "size", "repeats"),
    [(None, 64, 1), (10**6, 64, 10**6 // (4 * 64 * 6)), (100, 8, 1), (8, 2, 1), (3, 1, 1)],
)
def test_halving_draws_as_many_as_its_share_of_the_budget_allows(evaluations, size, repeats):
    for by_setting, by_budget in ((evaluations, None), (None, evaluations)):
        optimizer = bbopt.optimizer("gp:halving", SPEC, evaluations=by_setting)
        trials = optimizer.ask(70, bbopt.Budget(evaluations=by_budget))
        assert len({row_of(t) for t in trials}) == size
        assert trials[0].repeats == repeats


def test_the_other_kernel_is_used():
    _, evaluate = objective()
    optimizer = bbopt.optimizer("gp:ucb", SPEC, kernel="rbf", variance=2.0, beta=1.0, **KNOWN)
    posterior = Posterior(RBF(0.3, 2.0), NOISE, candidates=X)
    rows = drive(optimizer, 5, evaluate)
    _, evaluate = objective()
    for row in rows:
        posterior.update(row, evaluate(row))
    assert row_of(optimizer.ask()[0]) == posterior.argmax(lambda mean, sd: mean + sd)
