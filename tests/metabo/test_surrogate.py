"""The model of a search: failures, scales, given noise, refits, and states to the last bit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bbopt.metabo import RBF, Matern52, Posterior, standardisation
from bbopt.metabo import surrogate as module
from bbopt.metabo.domain import Place
from bbopt.metabo.hyperparameters import REPLICATED, refit_due
from bbopt.metabo.surrogate import FAILED_NOISE, KERNELS, LARGEST, Hyperparameters, Surrogate
from bbopt.testing.driving import equal_states, through_files

ROWS = np.random.default_rng(2).random((40, 2))
NOISE = 0.09


def rng(seed=0):
    return np.random.default_rng(seed)


def make(*, table=True, known=True, groups=None, **given):
    defaults = {"lengthscale": 0.3, "variance": 2.0, "noise": NOISE} if known else {}
    values = {
        "kernel": "matern52",
        "lengthscale": None,
        "variance": 1.0,
        "noise": None,
        "heteroscedastic": False,
        "deterministic": None,
    }
    about = Hyperparameters(**{**values, **defaults, **given})
    return Surrogate(2, groups, ROWS if table else None, about)


def place(row, table=True):
    return Place(ROWS[row], row if table else -1)


def tell(surrogate, row, losses, table=True):
    losses = np.atleast_1d(losses)
    m2 = float(np.sum((losses - losses.mean()) ** 2))
    surrogate.observe(place(row, table), len(losses), float(losses.mean()), m2)


def history(surrogate, n, seed=0, table=True, noise=0.3):
    """Losses of a smooth function at rows, with unequal counts."""
    draws = rng(seed)
    for row in draws.integers(0, len(ROWS), n):
        loss = (
            5.0
            + 3.0 * np.sin(6.0 * ROWS[row, 0])
            + noise * draws.normal(size=int(draws.integers(1, 6)))
        )
        tell(surrogate, int(row), loss, table)


def dense(kernel, noise, rows, values, x):
    """Mean and sd at ``x`` with one row an evaluation."""
    m = kernel(rows, rows) + noise * np.eye(len(rows))
    solved = np.linalg.solve(m, np.column_stack([values, kernel(rows, x)]))
    cross = kernel(rows, x)
    variance = kernel.diag(x) - np.einsum("ij,ij->j", cross, solved[:, 1:])
    return cross.T @ solved[:, 0], np.sqrt(variance)


# -- the posterior


@pytest.mark.parametrize("table", [True, False], ids=["table", "box"])
@pytest.mark.parametrize("kernel", sorted(KERNELS))
@given(
    told=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=8),
    seed=st.integers(0, 99),
)
@settings(max_examples=15)
def test_with_known_hyper_parameters_the_model_sees_minus_the_loss_as_it_is(
    table, kernel, told, seed
):
    surrogate, draws = make(table=table, kernel=kernel), rng(seed)
    rows, values = [], []
    for row, count in told:
        losses = draws.normal(2.0, 1.0, count)
        tell(surrogate, row, losses, table)
        rows += [ROWS[row]] * count
        values += (-losses).tolist()
    mean, sd = dense(KERNELS[kernel](0.3, 2.0), NOISE, np.array(rows), np.array(values), ROWS)
    got = surrogate.posterior.predict(ROWS)
    np.testing.assert_allclose(got, (mean, sd), atol=1e-8)
    if table:
        np.testing.assert_allclose(surrogate.posterior.mean, mean, atol=1e-8)
        np.testing.assert_allclose(surrogate.posterior.sd, sd, atol=1e-8)


@pytest.mark.parametrize("table", [True, False], ids=["table", "box"])
def test_learned_the_posterior_is_that_of_a_dense_model_of_the_standardised_values(table):
    surrogate, draws = make(table=table, known=False), rng(3)
    rows, values = [], []
    for step in range(25):
        row = int(draws.integers(12))
        losses = 100.0 + 10.0 * np.sin(6.0 * ROWS[row, 0]) + draws.normal(size=3)
        tell(surrogate, row, losses, table)
        rows += [ROWS[row]] * 3
        values += (-losses).tolist()
        if step in (12, 18):  # what comes after is told to a model that was learned
            surrogate.refit_if_due(rng(4))
            surrogate.keep()
    rows, values = np.array(rows), np.array(values)
    # the scale is that of the data at the first fit, and stays
    _, sd_per_unit = surrogate.loss(0.0, 1.0)
    shift = -surrogate.loss(0.0, 0.0)[0]
    mean, sd = dense(surrogate.kernel, surrogate.noise, rows, (values - shift) / sd_per_unit, ROWS)
    np.testing.assert_allclose(surrogate.posterior.predict(ROWS), (mean, sd), atol=1e-7)
    back, back_sd = surrogate.loss(float(mean[0]), float(sd[0]))
    assert back == pytest.approx(-(shift + sd_per_unit * mean[0]))
    assert back_sd == pytest.approx(sd_per_unit * sd[0])
    assert 50.0 < back < 150.0


def test_moments_at_the_points_are_those_of_the_posterior_there():
    for table in (True, False):
        surrogate = make(table=table)
        history(surrogate, 20, table=table)
        mean, sd = surrogate.at_points()
        expected = surrogate.posterior.predict(surrogate.data.points)
        np.testing.assert_allclose((mean, sd), expected, atol=1e-9)


def test_a_table_and_a_box_with_the_same_data_agree():
    table, box = make(), make(table=False)
    for surrogate, is_table in ((table, True), (box, False)):
        history(surrogate, 30, seed=5, table=is_table)
    np.testing.assert_allclose(
        table.posterior.predict(ROWS), box.posterior.predict(ROWS), atol=1e-9
    )


def test_losses_beyond_all_measure_leave_the_model_finite():
    surrogate = make(known=False)
    history(surrogate, 6)
    surrogate.observe(place(30), 3, 1e300, math.inf)
    surrogate.observe(place(31), 1, -1e308, 0.0)
    assert np.all(np.abs(surrogate.data.mean) <= LARGEST)
    surrogate.refit_if_due(rng())
    assert np.all(np.isfinite(surrogate.posterior.mean))
    assert np.all(surrogate.posterior.sd > 0)


# -- failures


def reference(observed, failed, low):
    """The posterior with one uncertain value ``low`` at each row that failed."""
    posterior = Posterior(Matern52(0.3, 2.0), NOISE)
    for row, losses in observed:
        posterior.update(ROWS[row], [-loss for loss in losses])
    for row in failed:
        posterior.update(ROWS[row], [low], noise=FAILED_NOISE * 2.0)
    return posterior.predict(ROWS)


@pytest.mark.parametrize("table", [True, False], ids=["table", "box"])
def test_a_failed_point_counts_as_one_vague_observation_at_the_lower_quartile(table):
    surrogate = make(table=table)
    observed = [(0, [1.0, 1.4]), (1, [3.0, 5.0]), (2, [-1.0])]
    for row, losses in observed:
        tell(surrogate, row, losses, table)
    surrogate.fail(place(7, table))
    surrogate.fail(place(7, table))  # failing again says nothing new
    # the means are 1.2, 4 and -1: halfway between the worse two
    np.testing.assert_allclose(
        surrogate.posterior.predict(ROWS), reference(observed, [7], -2.6), atol=1e-10
    )
    assert len(surrogate.data) == 3
    assert surrogate.n_evaluations == 5
    assert {x.tobytes() for x in surrogate.points} == {ROWS[i].tobytes() for i in (0, 1, 2, 7)}


@pytest.mark.parametrize("table", [True, False], ids=["table", "box"])
def test_a_value_takes_the_place_of_a_failure(table):
    late, never = make(table=table), make(table=table)
    late.fail(place(7, table))
    for surrogate in (late, never):
        tell(surrogate, 0, [1.0], table)
        surrogate.keep()
        tell(surrogate, 7, [0.5, 0.7], table)
    np.testing.assert_allclose(
        late.posterior.predict(ROWS), never.posterior.predict(ROWS), atol=1e-10
    )
    assert len(late.points) == 2


@pytest.mark.parametrize("table", [True, False], ids=["table", "box"])
def test_a_failure_at_a_point_with_values_takes_nothing_from_them(table):
    surrogate = make(table=table)
    tell(surrogate, 0, [1.0], table)
    before = surrogate.posterior.predict(ROWS)
    surrogate.fail(place(0, table))
    assert np.array_equal(before, surrogate.posterior.predict(ROWS))


def test_the_quartile_is_that_of_the_means_of_today():
    surrogate = make()
    surrogate.fail(place(7))
    assert np.allclose(surrogate.posterior.mean, 0.0)  # before any value: the prior mean
    assert surrogate.posterior.sd[7] < surrogate.posterior.sd[0]
    observed = [(0, [1.0]), (1, [9.0])]
    for row, losses in observed:
        tell(surrogate, row, losses)
    surrogate.fail(place(8))  # computes anew
    np.testing.assert_allclose(
        surrogate.posterior.mean, reference(observed, [7, 8], -7.0)[0], atol=1e-10
    )


# -- hyper-parameters


def test_a_noise_that_is_known_is_held():
    surrogate = make(known=False, noise=0.25)
    history(surrogate, 20, noise=3.0)  # the data would say 9
    surrogate.refit_if_due(rng())
    scale = surrogate.loss(0.0, 1.0)[1]
    assert surrogate.noise * scale**2 == pytest.approx(0.25, rel=1e-9)
    tell(surrogate, 3, rng().normal(size=50) * 3.0)
    history(surrogate, 20, seed=1)
    surrogate.refit_if_due(rng())
    assert surrogate.noise * scale**2 == pytest.approx(0.25, rel=1e-9)


def test_known_hyper_parameters_are_never_fitted():
    surrogate = make()
    history(surrogate, 40)
    surrogate.refit_if_due(rng())
    assert surrogate.kernel == KERNELS["matern52"]([0.3, 0.3], 2.0)
    assert surrogate.noise == NOISE
    assert surrogate.loss(1.0, 1.0) == (-1.0, 1.0)


def test_the_kernel_has_one_lengthscale_a_parameter():
    assert len(make(known=False).kernel.lengthscales) == 2
    assert len(make(known=False, groups=(0, 0)).kernel.lengthscales) == 1
    assert make(known=False, groups=(0, 0)).kernel.groups == (0, 0)
    assert type(make(kernel="rbf").kernel) is RBF


@pytest.mark.parametrize("table", [True, False], ids=["table", "box"])
def test_a_doubter_takes_no_coordinate_for_irrelevant_and_changes_nothing(table):
    surrogate = make(table=table, known=False)
    history(surrogate, 12, table=table)  # of a function of the first coordinate alone
    surrogate.refit_if_due(rng())
    first, second = surrogate.kernel.lengthscales
    assert second > 4.0 * first  # explained away
    doubted = surrogate.doubted()
    longest = module.DOUBT * math.sqrt(first * second)
    expected = min(first, longest), min(second, longest)
    np.testing.assert_allclose(doubted.kernel.lengthscales, expected)
    x = np.array([[0.5, 0.02], [0.5, 0.98]])
    k = type(surrogate.kernel)(expected, surrogate.kernel.variance)
    data = surrogate.data
    scaled = surrogate._standardised()
    gram = k(data.points, data.points) + np.diag(surrogate.noise / data.count)
    mean = k(x, data.points) @ np.linalg.solve(gram, scaled.mean)
    if not table:
        np.testing.assert_allclose(doubted.predict(x)[0], mean, rtol=1e-6, atol=1e-8)
    assert surrogate.posterior.kernel is surrogate.kernel


def test_hyper_parameters_are_fitted_when_that_is_due_and_only_then(monkeypatch):
    fits = []
    fit = module.fit

    def counted(kernel, data, **kwargs):
        fits.append((surrogate.n_batches, len(data)))
        return fit(kernel, data, **{**kwargs, "n_starts": 1})

    monkeypatch.setattr(module, "fit", counted)
    surrogate = make(known=False)
    expected, draws = [], rng(1)
    for _ in range(120):
        tell(surrogate, int(draws.integers(25)), draws.normal(size=2))
        batches, u = surrogate.n_batches, len(surrogate.data)
        is_due = not expected or refit_due(batches, u, *expected[-1])
        if u >= 2 and (is_due or surrogate.is_contradicted):
            expected.append((batches, u))
        surrogate.refit_if_due(rng())
        surrogate.refit_if_due(rng())  # at once again: nothing came since
    assert fits == expected
    assert 3 < len(fits) < 30


def test_the_model_is_ready_once_it_has_data_and_has_learned():
    surrogate = make(known=False)
    assert not surrogate.is_ready
    tell(surrogate, 0, [1.0])
    surrogate.refit_if_due(rng())  # one point teaches nothing
    assert not surrogate.is_ready
    tell(surrogate, 1, [2.0])
    surrogate.refit_if_due(rng())
    assert surrogate.is_ready
    known = make()
    assert not known.is_ready
    tell(known, 0, [1.0])
    assert known.is_ready


def test_a_deterministic_objective_is_recognised_unless_the_spec_denies_it():
    points, evaluations = REPLICATED
    for said, expected in ((None, True), (False, False), (True, True)):
        surrogate = make(known=False, deterministic=said)
        assert surrogate.is_deterministic is (said is True)
        for row in range(points):
            tell(surrogate, row, [float(row)] * evaluations)
        tell(surrogate, points, [float(points)])
        assert surrogate.is_deterministic is expected
        tell(surrogate, 5, [0.0, 0.1])  # a repeat that disagrees
        assert surrogate.is_deterministic is (said is True)


def test_the_best_points_are_repeated_until_the_noise_can_be_told():
    points, evaluations = REPLICATED
    surrogate = make(known=False)
    for row, loss in enumerate([3.0, 1.0, 2.0, 0.0]):
        tell(surrogate, row, [loss])
    assert surrogate.to_replicate({}, thorough=True)[1] == evaluations - 1
    assert surrogate.to_replicate({}, thorough=True)[0].row == 3
    awaited = {ROWS[3].tobytes(): evaluations - 1}
    assert surrogate.to_replicate(awaited, thorough=True)[0].row == 1
    awaited[ROWS[1].tobytes()] = evaluations - 1
    assert surrogate.to_replicate(awaited, thorough=True) is None
    unseen = {ROWS[7].tobytes(): 9}  # which tells nothing
    assert surrogate.to_replicate(unseen, thorough=True)[0].row == 3
    tell(surrogate, 3, [5.0] * (evaluations - 1))
    assert surrogate.to_replicate({}, thorough=True)[0].row == 1
    tell(surrogate, 0, [5.0] * (points * (evaluations - 1)))
    assert surrogate.to_replicate({}, thorough=True) is None


@pytest.mark.parametrize(
    "given",
    [{"known": True}, {"known": False, "noise": 0.1}, {"known": False, "deterministic": True}],
)
def test_where_the_noise_is_known_nothing_is_repeated_to_learn_it(given):
    surrogate = make(**given)
    for row in range(4):
        tell(surrogate, row, [float(row)])
    assert surrogate.to_replicate({}, thorough=True) is None


@pytest.mark.parametrize("has_noise", [True, False])
def test_with_few_evaluations_repeats_end_once_they_show_whether_there_is_noise(has_noise):
    surrogate = make(known=False)
    for row in range(9):
        tell(surrogate, row, [float(row)])
    asked = []
    while (found := surrogate.to_replicate({}, thorough=False)) is not None:
        (where, n), noise = found, 0.5 * has_noise
        asked.append((where.row, n))
        tell(surrogate, where.row, [where.row + noise])
    assert asked == ([(0, 1)] if has_noise else [(0, 1), (1, 1)])
    assert surrogate.is_deterministic is not has_noise


def test_noise_of_each_point_is_its_own_where_that_is_asked_for():
    draws = rng(0)
    for heteroscedastic in (True, False):
        surrogate = make(known=False, heteroscedastic=heteroscedastic)
        for row in range(12):
            tell(surrogate, row, draws.normal(0.0, 3.0 if row < 6 else 0.1, 60))
        surrogate.refit_if_due(rng())
        noise = [surrogate.noise_at(place(row)) for row in range(12)]
        if heteroscedastic:
            assert min(noise[:6]) > 10 * max(noise[6:])
            np.testing.assert_allclose(surrogate.posterior.observations.noise, noise)
        else:
            assert set(noise) == {surrogate.noise}
        assert surrogate.noise_at(place(30)) == surrogate.noise  # never seen


@pytest.mark.parametrize("kind", sorted(KERNELS))
def test_the_kernel_is_chosen_by_what_the_data_say(kind):
    # 40 points and little noise tell smooth functions from rough ones.
    draws, truth = rng(6), KERNELS[kind](0.3)
    chosen = []
    for _ in range(8):
        surrogate = make(known=False, kernel="auto")
        covariance = truth(ROWS, ROWS) + 1e-10 * np.eye(40)
        values = np.linalg.cholesky(covariance) @ draws.normal(size=40)
        for row, value in enumerate(values):
            tell(surrogate, row, value + 0.01 * draws.normal(size=3))
        surrogate.refit_if_due(rng())
        chosen.append(type(surrogate.kernel))
    assert chosen.count(KERNELS[kind]) >= 7


# -- state


def restored(surrogate, **kwargs):
    state = surrogate.to_state()
    other = make(**kwargs)
    other.load_state(through_files(state))
    assert equal_states(other.to_state(), state)
    return other


def assert_same_to_the_last_bit(a, b):
    assert np.array_equal(a.posterior.predict(ROWS), b.posterior.predict(ROWS))
    assert np.array_equal(a.at_points(), b.at_points())
    if a.posterior is not None and hasattr(a.posterior, "candidates"):
        assert np.array_equal(a.posterior.mean, b.posterior.mean)
        assert np.array_equal(a.posterior.sd, b.posterior.sd)
        assert a.posterior.info == b.posterior.info


@pytest.mark.parametrize("kept", [True, False], ids=["kept up to date", "computed at the end"])
@pytest.mark.parametrize("n", [3, 40, 300, 530])
def test_a_restored_table_is_the_same_to_the_last_bit_and_stays_so(n, kept):
    surrogate = make()
    tell(surrogate, 0, [1.0])
    if kept:
        surrogate.keep()
    history(surrogate, n, seed=n)
    surrogate.fail(place(39))
    surrogate.fail(place(38))
    if kept:
        surrogate.keep()
    history(surrogate, n // 2, seed=n + 1)
    other = restored(surrogate)
    assert_same_to_the_last_bit(surrogate, other)
    for model in (surrogate, other):
        history(model, 40, seed=n + 2)
        tell(model, 39, [0.5])  # was a failure
        history(model, 5, seed=n + 3)
    assert_same_to_the_last_bit(surrogate, other)


@pytest.mark.parametrize("table", [True, False], ids=["table", "box"])
@pytest.mark.parametrize("heteroscedastic", [True, False])
@pytest.mark.parametrize("kernel", ["auto", "matern52"])
def test_a_restored_model_that_learns_is_the_same_and_learns_the_same(
    table, heteroscedastic, kernel
):
    given_ = {"table": table, "known": False, "heteroscedastic": heteroscedastic}
    given_["kernel"] = kernel
    surrogate = make(**given_)
    history(surrogate, 20, table=table)
    surrogate.refit_if_due(rng())
    surrogate.keep()
    history(surrogate, 5, seed=1, table=table)
    surrogate.fail(place(33, table))
    other = restored(surrogate, **given_)
    assert_same_to_the_last_bit(surrogate, other)
    for model in (surrogate, other):
        history(model, 40, seed=2, table=table)
        model.refit_if_due(rng(7))
    assert surrogate.kernel == other.kernel
    assert surrogate.noise == other.noise
    assert_same_to_the_last_bit(surrogate, other)


def test_a_fresh_model_can_be_restored():
    for known in (True, False):
        other = restored(make(known=known), known=known)
        assert not other.is_ready
        assert len(other.data) == 0


# -- logarithms


def exact(surrogate, losses):
    for row, loss in enumerate(losses):
        tell(surrogate, row, loss)
    surrogate.refit_if_due(rng())
    return surrogate


def smooth(rows=ROWS):
    return np.sin(6.0 * rows[:, 0]) + (rows[:, 1] - 0.3) ** 2


def test_losses_over_many_orders_of_magnitude_are_seen_as_logarithms():
    given = {"known": False, "deterministic": True}
    orders, plain = 10.0 ** (2.0 * smooth()[:30]), smooth()[:30]
    assert exact(make(**given), orders)._scale.knee is not None
    assert exact(make(**given), plain)._scale.knee is None


def test_logarithms_predict_better_what_varies_over_orders_of_magnitude(monkeypatch):
    losses = 10.0 ** (2.0 * smooth())
    errors = []
    for knees in (standardisation.KNEES, ()):
        monkeypatch.setattr(standardisation, "KNEES", knees)
        surrogate = exact(make(known=False, deterministic=True), losses[:30])
        predicted = [surrogate.loss(float(m), 0.0)[0] for m in surrogate.posterior.mean[30:]]
        errors.append(np.median(np.abs(np.log(np.maximum(predicted, 1e-3) / losses[30:]))))
    assert errors[0] < errors[1] / 2


def test_where_there_is_noise_nothing_is_seen_as_a_logarithm():
    losses = 10.0 ** (2.0 * smooth()[:30])
    assert exact(make(known=False), losses)._scale.knee is None
    assert exact(make(known=False, noise=NOISE, deterministic=True), losses)._scale.knee is None


def test_logarithms_are_given_up_when_repeats_turn_out_to_differ():
    surrogate = make(known=False)
    for row, loss in enumerate(10.0 ** (2.0 * smooth()[:30])):
        tell(surrogate, row, [loss] * 3)
    surrogate.refit_if_due(rng())
    assert surrogate._scale.knee is not None
    tell(surrogate, 0, [1.0, 2.0, 3.0])
    surrogate.refit_if_due(rng())
    assert surrogate._scale.knee is None


@pytest.mark.parametrize("table", [True, False])
def test_a_state_with_logarithms_goes_on_alike(table):
    surrogate = make(known=False, deterministic=True, table=table)
    for row, loss in enumerate(10.0 ** (2.0 * smooth()[:20])):
        tell(surrogate, row, loss, table)
    surrogate.refit_if_due(rng())
    surrogate.keep()
    again = make(known=False, deterministic=True, table=table)
    again.load_state(through_files(surrogate.to_state()))
    for one in (surrogate, again):
        tell(one, 25, 3.5, table)
    assert surrogate._scale.knee is not None
    assert equal_states(surrogate.to_state(), again.to_state())
    assert np.array_equal(surrogate.at_points(), again.at_points())


def test_a_loss_over_a_cliff_leaves_the_others_apart():
    losses = np.where(ROWS[:, 0] > 0.8, 1e90, smooth())
    surrogate = exact(make(known=False, deterministic=True), losses[:30])
    told = [surrogate.loss(float(m), 0.0)[0] for m in surrogate.at_points()[0]]
    good = losses[:30] < 1e3
    np.testing.assert_allclose(np.array(told)[good], losses[:30][good], atol=0.1)


@pytest.mark.parametrize("table", [True, False])
def test_a_failure_beside_good_evaluations_changes_little_and_many_add_up(table):
    surrogate = exact(make(known=False, deterministic=True, table=table), smooth()[:39])
    before = surrogate.posterior.predict(ROWS[39:])[0][0]
    surrogate.fail(place(39, table))
    after = surrogate.posterior.predict(ROWS[39:])[0][0]
    assert after == pytest.approx(before, abs=0.01 * surrogate.kernel.variance**0.5)
    alone = make(known=False, deterministic=True, table=table)
    for row in np.flatnonzero(ROWS[:30, 0] < 0.5):
        tell(alone, row, [smooth()[row]], table)
    alone.refit_if_due(rng())
    far = ROWS[ROWS[:, 0] > 0.8]
    first = alone.posterior.predict(far)[0].mean()
    for row in np.flatnonzero(ROWS[:, 0] > 0.8):
        alone.fail(place(int(row), table))
    assert alone.posterior.predict(far)[0].mean() < first
