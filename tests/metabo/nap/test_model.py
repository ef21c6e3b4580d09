"""The network in training: gradients, what it learns of a known process, how it starts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import cho_factor, cho_solve

from bbopt.metabo.nap.architecture import Architecture
from bbopt.metabo.nap.batches import Batch
from bbopt.metabo.nap.distribution import BucketDensity, uniform_edges
from bbopt.metabo.nap.forward import LEAST_LOG, Network, padded
from bbopt.metabo.nap.weights import Metadata

torch = pytest.importorskip("torch")

from bbopt.metabo.nap.model import Model, log_improvements  # noqa: E402
from bbopt.metabo.nap.supervised import Supervised, negative_log_likelihood  # noqa: E402

SMALL = Architecture(1, width=32, layers=2, heads=2, hidden=64, buckets=60)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_improvements_in_torch_are_those_of_the_densities():
    edges = uniform_edges(30, 6.0)
    logits = np.random.default_rng(0).normal(size=(2, 5, 30))
    best = np.array([-1.03, 2.47])
    found = log_improvements(
        torch.tensor(logits).log_softmax(-1), torch.tensor(best), torch.tensor(edges)
    )
    for i in range(2):
        density = BucketDensity(logits[i], edges)
        np.testing.assert_allclose(found[0][i], np.log(density.ei(best[i])), rtol=1e-9)
        np.testing.assert_allclose(found[1][i], np.log(density.pi(best[i])), rtol=1e-9)


def test_an_incumbent_beyond_the_buckets_leaves_improvements_finite():
    edges = torch.tensor(uniform_edges(30, 6.0))
    for part in log_improvements(torch.zeros(1, 4, 30).double(), torch.tensor([9.0]), edges):
        assert torch.isfinite(part).all()


@pytest.mark.parametrize("n", [0, 1, 7])
def test_every_weight_of_the_densities_gets_a_gradient(n):
    model = Model(SMALL, np.random.default_rng(0))
    x, z, q = torch.rand(2, n, 1), torch.randn(2, n), torch.rand(2, 5, 1)
    loss = -model.log_density(x, z, q)[..., 30].mean()
    loss.backward()
    unused = {"acquisition"} | (set() if n else {"value", "store", "relevance"})
    for name, tensor in model.tensors.items():
        if any(part in name for part in unused):
            continue
        assert tensor.grad is not None, name
        assert torch.isfinite(tensor.grad).all()
        if n:  # without a history there is one value to mix, and no key matters
            assert tensor.grad.abs().max() > 0, name


def test_a_new_network_chooses_as_expected_improvement_does():
    architecture = Architecture(3, width=16, layers=1, heads=2, hidden=16, buckets=40)
    model = Model(architecture, np.random.default_rng(0))
    network = Network(model.arrays(), Metadata(architecture))
    rng = np.random.default_rng(1)
    for n in (0, 1, 9):
        history = network.read(rng.random((n, 3)), rng.normal(size=n))
        found = network.score(history, rng.random((200, 3)), 10)
        assert (found.log_ei > LEAST_LOG).all()
        np.testing.assert_array_equal(np.argsort(found.acquisition), np.argsort(found.log_ei))


class Process:
    """Draws of a Gaussian process over [0, 1] with a known kernel, not normalised at all."""

    scale, noise = 0.2, 0.1

    def batch(self, rng, b, n, m, bound):
        x = rng.random((b, n + m, 1))
        u = np.stack([np.linalg.cholesky(self.covariance(p)) @ rng.normal(size=n + m) for p in x])
        points = padded(x, np.ones(b, dtype=int), 1)
        u = u.astype(np.float32)
        parts = points[:, :n], u[:, :n], points[:, n:], np.clip(u[:, n:], -bound, bound)
        return Batch(*map(np.ascontiguousarray, parts))

    def covariance(self, x):
        return np.exp(-0.5 * ((x - x.T) / self.scale) ** 2) + self.noise**2 * np.eye(len(x))

    def exact_loss(self, batch, n):
        """Of the process's own posterior."""
        total = []
        x = 0.5 + 0.5 * np.concatenate([batch.x, batch.candidates], axis=1).astype(float)
        for points, z, targets in zip(x, batch.z, batch.targets, strict=True):
            k = self.covariance(points)
            factor = cho_factor(k[:n, :n])
            mean = k[n:, :n] @ cho_solve(factor, z.astype(float))
            variance = np.diag(k)[n:] - (k[n:, :n] * cho_solve(factor, k[:n, n:]).T).sum(axis=1)
            gaps = (targets - mean) ** 2 / variance
            total.append(0.5 * (gaps + np.log(2 * np.pi * variance)))
        return float(np.mean(total))


@pytest.mark.slow
def test_trained_on_a_process_it_comes_near_the_posterior_of_that_process():
    process, larger = Process(), Architecture(1, layers=3)
    model = Model(larger, np.random.default_rng(0))
    trainer = Supervised(model, process, 1500, seed=0)
    batch = process.batch(np.random.default_rng(10), 200, 10, 30, larger.bound)
    with torch.no_grad():
        before = float(negative_log_likelihood(model, batch))
    for i in range(1500):
        trainer.step(i)
    with torch.no_grad():
        after = float(negative_log_likelihood(model, batch))
    exact = process.exact_loss(batch, 10)
    uniform = np.log(2.0 * larger.bound)
    assert exact < uniform - 1.0  # a density that knows nothing fails
    assert before > exact + 1.0
    assert exact - 0.05 < after < exact + 0.15
