"""The numpy forward pass: symmetries, invariances, and torch and a dense mask as references."""

from __future__ import annotations

import numpy as np
import pytest

from bbopt.errors import UsageError
from bbopt.metabo.nap.architecture import Architecture
from bbopt.metabo.nap.forward import Network, padded
from bbopt.metabo.nap.model import Model
from bbopt.metabo.nap.normalise import scale_of
from bbopt.metabo.nap.weights import Metadata, Parameter

ARCHITECTURE = Architecture(6, width=16, layers=2, heads=4, hidden=24, buckets=20)


def random_arrays(architecture=ARCHITECTURE, seed=0):
    """Weights of which none is zero: a layer left out of either pass would be seen."""
    rng = np.random.default_rng(seed)
    shapes = architecture.shapes().items()
    return {name: 0.4 * rng.normal(size=shape).astype(np.float32) for name, shape in shapes}


@pytest.fixture
def network():
    return Network(random_arrays(), Metadata(ARCHITECTURE))


def example(n, m=23, d=6, seed=1):
    rng = np.random.default_rng(seed)
    return rng.random((n, d)), rng.normal(size=n), rng.random((m, d))


@pytest.mark.parametrize("n", [0, 1, 2, 5, 50])
@pytest.mark.parametrize("d", [2, 6])
def test_torch_and_numpy_agree(network, n, d):
    torch = pytest.importorskip("torch")
    x, utility, candidates = example(n, d=d)
    model = Model(ARCHITECTURE, np.random.default_rng(0))
    model.take(random_arrays())
    history = network.read(x, utility)
    found = network.score(history, candidates, 17)
    points = [
        torch.from_numpy(padded(part, np.array(d), ARCHITECTURE.columns))[None]
        for part in (x, candidates)
    ]
    z = torch.tensor(history.z, dtype=torch.float32)[None]
    with torch.no_grad():
        told = model.log_density(points[0], z, points[1])
        state = (torch.tensor([float(v)]) for v in (history.best, n, 17))
        acquisition = model.acquisition(told, *state)[0].numpy()
    log_p = found.logits - np.log(np.exp(found.logits).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(told[0].numpy(), log_p, atol=1e-5)
    np.testing.assert_allclose(acquisition, found.acquisition, atol=3e-5)


def naive_logits(arrays, architecture, x, z, candidates):
    """Attention over all tokens under an explicit (n + m)² mask, one token and head at a time."""
    width, heads, columns = architecture.width, architecture.heads, architecture.columns
    e = width // heads

    def linear(name, v):
        return arrays[f"{name}.weight"].astype(float) @ v + arrays[f"{name}.bias"]

    def silu(v):
        return v / (1 + np.exp(-v))

    def normed(v):
        return v / np.sqrt(np.mean(v**2) + 1e-6)

    n, points = len(x), np.vstack([x, candidates])
    points = (2 * points - 1) * np.sqrt(columns / points.shape[1])
    h = [linear("point.second", silu(linear("point.first", p))) for p in points]
    for i in range(n):
        h[i] = h[i] + linear("value.second", silu(linear("value.first", z[i : i + 1])))
    h[n:] = [v + arrays["candidate"] for v in h[n:]]
    mask = np.zeros((len(h), len(h)), dtype=bool)
    mask[:, :n] = True
    for i in range(architecture.layers):
        block = f"block{i}"
        pooled = np.mean([normed(v) for v in h[:n]], axis=0) if n else np.zeros(width)
        relevance = np.log1p(np.exp(linear(f"{block}.relevance", pooled))).reshape(heads, columns)
        store = [linear(f"{block}.store", normed(v)).reshape(2, heads, e) for v in h]
        prior = arrays[f"{block}.prior"].reshape(2, heads, e)
        after = []
        for a, v in enumerate(h):
            query = linear(f"{block}.query", normed(v)).reshape(heads, e) / e**0.5
            mixed = []
            for head in range(heads):
                logits, values = [query[head] @ prior[0, head]], [prior[1, head]]
                for b in np.flatnonzero(mask[a]):
                    gap = relevance[head] @ (points[a] - points[b]) ** 2
                    logits.append(query[head] @ store[b][0, head] - 0.5 * gap)
                    values.append(store[b][1, head])
                weights = np.exp(logits - np.max(logits))
                mixed.append(weights / weights.sum() @ np.array(values))
            v = v + linear(f"{block}.merge", np.concatenate(mixed))
            after.append(
                v + linear(f"{block}.contract", silu(linear(f"{block}.expand", normed(v))))
            )
        h = after
    return np.array([linear("density", normed(v)) for v in h[n:]])


@pytest.mark.parametrize("n", [0, 1, 5])
def test_attention_over_the_history_is_attention_under_a_dense_mask(network, n):
    x, utility, candidates = example(n, m=4)
    history = network.read(x, utility)
    expected = naive_logits(random_arrays(), ARCHITECTURE, x, history.z, candidates)
    found = network.score(history, candidates, 10).logits
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_order_of_the_history_does_not_matter(network):
    x, utility, candidates = example(9)
    order = np.random.default_rng(2).permutation(9)
    one = network.score(network.read(x, utility), candidates, 5)
    other = network.score(network.read(x[order], utility[order]), candidates, 5)
    np.testing.assert_allclose(one.acquisition, other.acquisition, atol=1e-5)


def test_candidates_do_not_see_each_other(network):
    x, utility, candidates = example(9, m=600)  # more than a chunk
    history = network.read(x, utility)
    whole = network.score(history, candidates, 5).acquisition
    order = np.random.default_rng(2).permutation(600)
    np.testing.assert_allclose(
        network.score(history, candidates[order], 5).acquisition, whole[order], atol=1e-5
    )
    parts = [network.score(history, candidates[i : i + 7], 5) for i in range(0, 70, 7)]
    np.testing.assert_allclose(
        np.concatenate([part.acquisition for part in parts]), whole[:70], atol=1e-5
    )


@pytest.mark.parametrize("a", [1e-3, 7.0])
@pytest.mark.parametrize("b", [-50.0, 0.0, 3.0])
def test_an_affine_map_of_the_utilities_changes_units_and_no_decision(network, a, b):
    x, utility, candidates = example(8)
    one = network.score(network.read(x, utility), candidates, 5)
    other = network.score(network.read(x, a * utility + b), candidates, 5)
    np.testing.assert_allclose(other.acquisition, one.acquisition, atol=1e-4)
    mean, variance = one.utility.mean, one.utility.variance
    np.testing.assert_allclose(other.utility.mean, a * mean + b, rtol=1e-4, atol=1e-4 * a)
    np.testing.assert_allclose(other.utility.variance, a**2 * variance, rtol=2e-4)


@pytest.mark.parametrize("utility", [[2.0], [3.0] * 4, [np.nan], [np.nan, 1.0], [1e150, -1e150]])
def test_whatever_the_history_scores_are_finite(network, utility):
    x = np.random.default_rng(0).random((len(utility), 6))
    found = network.score(network.read(x, np.array(utility)), example(0)[2], 5)
    assert np.isfinite(found.acquisition).all()
    assert np.isfinite(found.z).all()


def test_a_failure_counts_as_worse_than_everything_observed(network):
    history = network.read(example(3)[0], np.array([1.0, np.nan, 5.0]))
    assert history.z[1] == history.z[0] - 1.0 < history.z[2]


def test_a_history_is_normalised_by_itself_and_resolves_its_better_half():
    utility = np.array([-1e6, 1.0, 1.1, 1.2, 1.3, 1.4])
    scale = scale_of(utility)
    z = scale.normalised(utility)
    assert z.mean() == pytest.approx(0.0, abs=1e-9)
    assert z.std() == pytest.approx(1.0)
    assert z[5] - z[4] > 0.05  # plainly standardised: 2.7e-7
    np.testing.assert_allclose(scale.utility(z), utility, rtol=1e-9)


def test_pending_points_count_with_their_predictions_in_the_same_scale(network):
    x, utility, candidates = example(6)
    history = network.read(x, utility)
    longer = network.extend(history, candidates[:2], np.array([0.3, -0.2]))
    assert longer.scale == history.scale
    np.testing.assert_array_equal(longer.z, [*history.z, 0.3, -0.2])
    np.testing.assert_array_equal(longer.x, [*x, *candidates[:2]])


def test_a_point_of_other_size_is_refused(network):
    with pytest.raises(UsageError, match="at most 6 coordinates, got 7"):
        network.read(np.zeros((1, 7)), np.zeros(1))
    space = tuple(Parameter(f"x{i}", 0.0, 1.0, False) for i in range(6))
    fixed = Network(random_arrays(), Metadata(ARCHITECTURE, space))
    with pytest.raises(UsageError, match="exactly 6 coordinates, got 5"):
        fixed.read(np.zeros((1, 5)), np.zeros(1))


def test_an_infinite_utility_is_refused(network):
    with pytest.raises(UsageError, match="utility must be finite or NaN"):
        network.read(np.zeros((1, 6)), np.array([np.inf]))
