"""Kernels: values, gradients, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from bbopt.errors import UsageError
from bbopt.metabo import RBF, Matern52

KERNELS = [
    RBF(0.3, 2.0),
    RBF([0.2, 0.5, 1.0], 0.7),
    Matern52(0.3, 2.0),
    Matern52([0.2, 0.5, 1.0], 0.7),
    RBF([0.2, 0.6], 2.0, groups=(0, 1, 1)),
    Matern52([0.2, 0.6], 0.7, groups=(1, 0, 1)),
    Matern52([0.4], groups=(0, 0, 0)),
]


@pytest.fixture
def points():
    return np.random.default_rng(0).random((7, 3))


def test_values_worked_out_by_hand():
    x, y = np.array([[0.0, 0.0]]), np.array([[0.3, 0.4]])  # r = 0.5 / 0.5 = 1
    assert RBF(0.5, 2.0)(x, y) == pytest.approx(2.0 * np.exp(-0.5), rel=1e-15)
    a = np.sqrt(5.0)
    assert Matern52(0.5)(x, y) == pytest.approx((1 + a + 5 / 3) * np.exp(-a), rel=1e-15)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_matrix_is_symmetric_with_the_exact_variance_on_its_diagonal(kernel, points):
    k = kernel(points, points)
    assert np.array_equal(k, k.T)
    assert np.array_equal(np.diag(k), kernel.diag(points))


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_matrix_is_positive_definite(kernel, points):
    assert np.linalg.eigvalsh(kernel(points, points)).min() > 0


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_gradient_in_x_is_that_of_central_differences(kernel, points):
    x, y = points[:3], points[2:]  # one pair coincides: the gradient there is zero
    gradient = kernel.x_gradient(x, y)
    h = 1e-6
    for axis in range(3):
        step = np.eye(3)[axis] * h
        differences = (kernel(x + step, y) - kernel(x - step, y)) / (2 * h)
        np.testing.assert_allclose(gradient[:, :, axis], differences, atol=1e-8)
    assert np.array_equal(gradient[2, 0], np.zeros(3))


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_gradient_in_log_parameters_is_that_of_central_differences(kernel, points):
    weights = np.random.default_rng(1).normal(size=(7, 7))
    theta = kernel.log_parameters
    h = 1e-6

    def value(t):
        return np.sum(weights * kernel.with_log_parameters(t)(points, points))

    steps = np.eye(len(theta)) * h
    differences = [(value(theta + s) - value(theta - s)) / (2 * h) for s in steps]
    np.testing.assert_allclose(kernel.log_gradient(points, weights), differences, atol=1e-7)


@pytest.mark.parametrize("kind", [RBF, Matern52])
def test_coordinates_of_one_group_share_its_lengthscale(kind, points):
    shared = kind([0.2, 0.6], 2.0, groups=(1, 0, 1))
    spelt_out = kind([0.6, 0.2, 0.6], 2.0)
    weights = np.random.default_rng(2).normal(size=(7, 7))
    assert np.array_equal(shared(points, points), spelt_out(points, points))
    assert np.array_equal(
        shared.x_gradient(points, points[:2]), spelt_out.x_gradient(points, points[:2])
    )
    first, second, third, variance = spelt_out.log_gradient(points, weights)
    np.testing.assert_allclose(
        shared.log_gradient(points, weights), [second, first + third, variance], rtol=1e-12
    )


def test_choices_of_a_category_are_equally_far_apart():
    kernel = Matern52([0.3, 0.7], groups=(0, 1, 1, 1))
    x = np.hstack([np.full((3, 1), 0.5), np.eye(3)])
    k = kernel(x, x)
    assert len({float(v) for v in k[~np.eye(3, dtype=bool)]}) == 1
    assert 0.0 < k[0, 1] < 1.0


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ((0, 2), r"groups: a position must be an integer in \[0, 1\], got 2"),
        ((0, -1), r"groups: a position must be an integer in \[0, 1\], got -1"),
        ((0, 0.5), r"groups: a position must be an integer in \[0, 1\], got 0.5"),
    ],
)
def test_a_group_without_a_lengthscale_is_refused(groups, message):
    with pytest.raises(UsageError, match=message):
        RBF([0.1, 0.2], groups=groups)


def test_groups_of_another_number_of_columns_are_refused():
    with pytest.raises(UsageError, match="got 3 columns"):
        RBF([0.1, 0.2], groups=(0, 1))(np.zeros((1, 3)), np.zeros((1, 3)))


@pytest.mark.parametrize("kernel", KERNELS)
def test_log_parameters_make_the_same_kernel_again(kernel):
    again = kernel.with_log_parameters(kernel.log_parameters)
    assert type(again) is type(kernel)
    np.testing.assert_allclose(again.log_parameters, kernel.log_parameters, rtol=1e-15)
    assert again.groups == kernel.groups


def test_equal_settings_make_equal_kernels():
    assert RBF(np.array([0.2, 0.3])) == RBF((0.2, 0.3), 1.0)
    assert hash(Matern52(0.2)) == hash(Matern52([0.2]))
    assert RBF(0.2) != Matern52(0.2)


@pytest.mark.parametrize("lengthscales", [0.0, -1.0, np.nan, np.inf, [0.1, 0.0], "a", [], [[0.1]]])
def test_lengthscales_that_are_not_positive_numbers_are_refused(lengthscales):
    with pytest.raises(UsageError, match="lengthscales must be"):
        RBF(lengthscales)


@pytest.mark.parametrize("variance", [0.0, -1.0, np.nan, True])
def test_a_variance_that_is_not_a_positive_number_is_refused(variance):
    with pytest.raises(UsageError, match="variance must be"):
        Matern52(0.2, variance)


def test_a_wrong_number_of_columns_is_refused():
    with pytest.raises(UsageError, match=r"one column a lengthscale \(2\), got 3"):
        RBF([0.1, 0.2])(np.zeros((1, 3)), np.zeros((1, 3)))
    with pytest.raises(UsageError, match=r"got shapes \(1, 3\) and \(3,\)"):
        RBF(0.1)(np.zeros((1, 3)), np.zeros(3))
