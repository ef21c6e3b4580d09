"""Our posterior as a BoTorch model: equal to ours, and to BoTorch's own where that is exact."""

import os
import subprocess
import sys

import numpy as np
import pytest

from bbopt.baselines.quiet import quiet
from bbopt.errors import MissingExtra, UsageError
from bbopt.metabo import RBF, Matern52, Posterior
from bbopt.metabo.kernels import Kernel

torch = pytest.importorskip("torch", reason="the extra 'metabo' is not installed")
with quiet():  # torch.jit is deprecated, and imported
    pytest.importorskip("botorch", reason="the extra 'metabo' is not installed")
    import gpytorch
    from botorch.acquisition import (
        LogExpectedImprovement,
        qKnowledgeGradient,
        qLogNoisyExpectedImprovement,
    )
    from botorch.acquisition.objective import ScalarizedPosteriorTransform
    from botorch.generation import MaxPosteriorSampling
    from botorch.models import SingleTaskGP
    from botorch.optim import optimize_acqf
    from botorch.sampling.normal import SobolQMCNormalSampler
    from gpytorch.utils.warnings import NumericalWarning

    from bbopt.metabo.botorch import PosteriorModel
    from bbopt.metabo.tensors import covariance

KERNELS = [RBF(0.3, 2.0), Matern52([0.25, 0.6], 1.5)]
NOISE = 0.03  # no float32: rounding to one would show
UNIT = torch.tensor([[0.0, 0.0], [1.0, 1.0]], dtype=torch.double)


@pytest.fixture(params=KERNELS, ids=lambda kernel: type(kernel).__name__)
def kernel(request):
    return request.param


@pytest.fixture(autouse=True)
def own_generator():
    """What a test draws from torch's global generator is fixed, and leaves no trace."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def posterior_of(kernel, n=15, counts=1, noise=NOISE, seed=0):
    """A posterior of ``n`` random points, evaluated as often as ``counts`` says in turn."""
    rng = np.random.default_rng(seed)
    posterior = Posterior(kernel, noise)
    for x, count in zip(rng.random((n, 2)), np.resize(counts, n), strict=True):
        mean = np.sin(6.0 * x[0]) + x[1] + rng.normal() * np.sqrt(noise / count)
        posterior.update(x, count=int(count), mean=mean)
    return posterior


def theirs(posterior):
    """BoTorch's own model of the same means, with the same fixed hyper-parameters."""
    ours, data = posterior.kernel, posterior.observations
    base = gpytorch.kernels.RBFKernel if isinstance(ours, RBF) else gpytorch.kernels.MaternKernel
    d = None if len(ours.lengthscales) == 1 else len(ours.lengthscales)
    scaled = gpytorch.kernels.ScaleKernel(base(ard_num_dims=d)).double()
    scaled.base_kernel.lengthscale = double(ours.lengthscales)
    scaled.outputscale = double(ours.variance)
    return (
        SingleTaskGP(
            double(data.points),
            double(data.mean)[:, None],
            double(data.noise / data.count)[:, None],
            covar_module=scaled,
            mean_module=gpytorch.means.ZeroMean(),
            outcome_transform=None,
        )
        .requires_grad_(False)
        .eval()
    )


def double(values):
    return torch.tensor(np.asarray(values), dtype=torch.double)


def random_points(*shape, seed=1):
    return double(np.random.default_rng(seed).random(shape))


def gap(first, second):
    """The largest difference of two posteriors' means and variances, and of their covariances."""
    covariances = [p.distribution.covariance_matrix for p in (first, second)]
    pairs = [(first.mean, second.mean), (first.variance, second.variance), covariances]
    return max(float((a - b).abs().max()) for a, b in pairs)


def conditioned(posterior, x, y, noise=NOISE):
    """A fresh posterior of the same data and more."""
    data = posterior.observations
    again = Posterior(posterior.kernel, posterior.noise)
    for point, count, mean, own in zip(data.points, data.count, data.mean, data.noise, strict=True):
        again.update(point, count=int(count), mean=float(mean), noise=float(own))
    for point, value in zip(np.asarray(x), np.ravel(y), strict=True):
        is_known = again.observations.find(point) is not None
        again.update(point, float(value), noise=None if is_known else noise)
    return again


# --- the kernel and the posterior -----------------------------------------------------


def test_the_kernel_is_the_one_of_numpy(kernel):
    x, y = random_points(40, 2), random_points(30, 2, seed=2)
    y[:10] = x[:10]
    np.testing.assert_allclose(covariance(kernel, x, y), kernel(x.numpy(), y.numpy()), atol=1e-12)


def test_batches_of_points_have_the_kernel_of_each(kernel):
    x, y = random_points(4, 1, 6, 2), random_points(3, 5, 2, seed=2)
    batched = covariance(kernel, x, y)
    assert batched.shape == (4, 3, 6, 5)
    np.testing.assert_allclose(batched[2, 1], kernel(x[2, 0].numpy(), y[1].numpy()), atol=1e-12)


def test_coordinates_of_one_group_share_a_lengthscale(kernel):
    grouped = type(kernel)([0.2, 0.7], 1.5, groups=(0, 1, 1))
    x = random_points(8, 3)
    plain = type(kernel)([0.2, 0.7, 0.7], 1.5)
    np.testing.assert_allclose(covariance(grouped, x, x), covariance(plain, x, x), atol=1e-15)


def test_a_kernel_that_torch_does_not_know_is_refused_by_name():
    class Own(Kernel):
        def _shape(self, squared):
            return 1.0 / (1.0 + squared)

        def _slope(self, squared):
            return 2.0 / (1.0 + squared) ** 2

    with pytest.raises(UsageError, match=r"kernel must be RBF or Matern52, got .*Own"):
        PosteriorModel(Posterior(Own(0.3), NOISE))


def test_points_of_another_dimension_are_refused():
    with pytest.raises(UsageError, match=r"X and Y must have one column a lengthscale \(2\)"):
        PosteriorModel(posterior_of(KERNELS[1])).posterior(random_points(4, 3))


@pytest.mark.parametrize("counts", [1, [1, 30, 10**6]], ids=["single", "up to a million"])
def test_mean_and_sd_are_those_of_predict(kernel, counts):
    posterior = posterior_of(kernel, counts=counts)
    x = np.vstack([random_points(30, 2).numpy(), posterior.observations.points])
    mean, sd = posterior.predict(x)
    result = PosteriorModel(posterior).posterior(double(x))
    np.testing.assert_allclose(result.mean[:, 0], mean, atol=1e-8)
    np.testing.assert_allclose(result.variance.sqrt()[:, 0], sd, atol=1e-8)


def test_nothing_observed_is_the_prior(kernel):
    result = PosteriorModel(Posterior(kernel, NOISE)).posterior(x := random_points(3, 4, 2))
    assert not result.mean.any()
    assert torch.equal(result.distribution.covariance_matrix, covariance(kernel, x, x))


def test_noise_of_evaluation_is_added_to_the_diagonal_alone(kernel):
    model, x = PosteriorModel(posterior_of(kernel)), random_points(5, 2)
    latent = model.posterior(x).distribution.covariance_matrix
    with_noise = model.posterior(x, observation_noise=True).distribution.covariance_matrix
    own = torch.linspace(0.1, 0.5, 5).double()
    with_own = model.posterior(x, observation_noise=own[:, None]).distribution.covariance_matrix
    assert torch.allclose(with_noise - latent, NOISE * torch.eye(5).double(), atol=1e-14)
    assert torch.allclose(with_own - latent, torch.diag(own), atol=1e-14)


def test_noise_that_differs_from_point_to_point_is_kept(kernel):
    posterior = posterior_of(kernel)
    posterior.update([0.5, 0.5], [1.0, 1.1], noise=1e-3)
    x = random_points(9, 2)
    _, sd = posterior.predict(x.numpy())
    variance = PosteriorModel(posterior).posterior(x).variance
    np.testing.assert_allclose(variance.sqrt()[:, 0], sd, atol=1e-8)


def test_later_updates_do_not_change_the_model(kernel):
    posterior, x = posterior_of(kernel), random_points(5, 2)
    model = PosteriorModel(posterior)
    before = model.posterior(x)
    posterior.update([0.5, 0.5], 3.0)
    posterior.update(posterior.observations.points[0], 3.0)
    assert gap(model.posterior(x), before) == 0.0


@pytest.mark.parametrize("at_a_point", [False, True], ids=["anywhere", "at an evaluated point"])
def test_gradients_are_those_of_differences(kernel, at_a_point):
    posterior = posterior_of(kernel)
    model = PosteriorModel(posterior)
    x = double(posterior.observations.points[2:5]) if at_a_point else random_points(3, 2)
    weights = random_points(3, 4, seed=3)

    def scalar(points):
        result = model.posterior(points)
        joint = torch.cat([result.mean, result.distribution.covariance_matrix], dim=-1)
        return (weights * joint).sum()

    exact = torch.func.grad(scalar)(x)
    steps = 1e-5 * torch.eye(6).double().reshape(6, 3, 2)
    central = [(scalar(x + step) - scalar(x - step)) / 2e-5 for step in steps]
    assert torch.allclose(exact.ravel(), torch.stack(central), atol=1e-6)


def test_gradients_are_those_of_the_posterior_itself(kernel):
    posterior, x = posterior_of(kernel), random_points(6, 2)
    _, _, d_mean, d_sd = posterior.gradients(x.numpy())
    points = x[:, None, :].requires_grad_()
    result = PosteriorModel(posterior).posterior(points)
    (mean,) = torch.autograd.grad(result.mean.sum(), points, retain_graph=True)
    (sd,) = torch.autograd.grad(result.variance.sqrt().sum(), points)
    np.testing.assert_allclose(mean[:, 0], d_mean, atol=1e-8)
    np.testing.assert_allclose(sd[:, 0], d_sd, atol=1e-8)


# --- conditioning and fantasies -------------------------------------------------------


@pytest.mark.parametrize("noise", [None, 0.3])
def test_conditioning_is_a_posterior_of_all_data(kernel, noise):
    posterior = posterior_of(kernel, counts=[1, 5])
    x, y, query = random_points(4, 2), random_points(4, 1, seed=3), random_points(7, 2, seed=4)
    given = None if noise is None else double(np.full((4, 1), noise))
    updated = PosteriorModel(posterior).condition_on_observations(x, y, noise=given)
    again = conditioned(posterior, x.numpy(), y.numpy(), NOISE if noise is None else noise)
    assert gap(updated.posterior(query), PosteriorModel(again).posterior(query)) < 1e-11


def test_repeats_are_pooled_with_what_is_known_of_the_point(kernel):
    posterior, query = posterior_of(kernel, counts=[1, 5]), random_points(7, 2)
    known = posterior.observations.points[[3, 3, 8]]
    x, y = double(np.vstack([known, [[0.5, 0.5], [0.5, 0.5]]])), random_points(5, 1)
    updated = PosteriorModel(posterior).condition_on_observations(x, y)
    assert len(updated.points) == len(posterior.observations) + 1
    again = conditioned(posterior, x.numpy(), y.numpy())
    assert gap(updated.posterior(query), PosteriorModel(again).posterior(query)) < 1e-11


def test_repeats_in_batches_are_the_same_posterior_without_pooling(kernel):
    posterior, query = posterior_of(kernel), random_points(7, 2)
    x = torch.stack([double(posterior.observations.points[:3]), random_points(3, 2)])
    y = random_points(5, 2, 3, 1)
    updated = PosteriorModel(posterior).condition_on_observations(x, y)
    assert updated.batch_shape == (5, 2)
    result = updated.posterior(query)
    assert result.mean.shape == (5, 2, 7, 1)
    for i, j in ((0, 0), (4, 0), (2, 1)):
        alone = PosteriorModel(conditioned(posterior, x[j].numpy(), y[i, j].numpy()))
        mean, variance = result.mean[i, j], result.variance[i, j]
        assert torch.allclose(mean, alone.posterior(query).mean, atol=1e-11)
        assert torch.allclose(variance, alone.posterior(query).variance, atol=1e-11)


def test_conditioning_an_empty_model_starts_it(kernel):
    x, y, query = random_points(4, 2), random_points(4, 1), random_points(5, 2)
    started = PosteriorModel(Posterior(kernel, NOISE)).condition_on_observations(x, y)
    posterior = Posterior(kernel, NOISE)
    for point, value in zip(x.numpy(), y.numpy(), strict=True):
        posterior.update(point, value)
    assert gap(started.posterior(query), PosteriorModel(posterior).posterior(query)) < 1e-11


@pytest.mark.parametrize("batch", [(), (6,)])
def test_fantasies_have_their_shapes_and_less_variance(kernel, batch):
    model, x = PosteriorModel(posterior_of(kernel)), random_points(*batch, 3, 2)
    sampler = SobolQMCNormalSampler(torch.Size([8]), seed=1)
    fantasy = model.fantasize(x, sampler)
    assert fantasy.batch_shape == (8, *batch)
    after, before = fantasy.posterior(x), model.posterior(x)
    assert after.mean.shape == after.variance.shape == (8, *batch, 3, 1)
    assert after.rsample(torch.Size([2])).shape == (2, 8, *batch, 3, 1)
    assert (after.variance < before.variance).all()
    assert torch.allclose(after.variance, after.variance[:1].expand_as(after.variance))
    # the draws average to what was expected (8 points of a Sobol' sequence: nearly)
    assert torch.allclose(after.mean.mean(0), before.mean, atol=0.2)


def test_a_fantasy_of_nothing_changes_nothing(kernel):
    model, query = PosteriorModel(posterior_of(kernel)), random_points(5, 2)
    sampler = SobolQMCNormalSampler(torch.Size([4]), seed=1)
    fantasy = model.fantasize(random_points(0, 2), sampler)
    assert torch.allclose(fantasy.posterior(query).mean[3], model.posterior(query).mean)


# --- with BoTorch's acquisitions ------------------------------------------------------


def test_log_ei_is_the_closed_form(kernel):
    posterior, x = posterior_of(kernel), random_points(6, 2)
    mean, sd = posterior.predict(x.numpy())
    z = (torch.tensor(mean) - 1.0) / torch.tensor(sd)
    normal = torch.distributions.Normal(0.0, 1.0)
    expected = torch.tensor(sd) * (z * normal.cdf(z) + normal.log_prob(z).exp())
    acquisition = LogExpectedImprovement(PosteriorModel(posterior), best_f=1.0)
    assert torch.allclose(acquisition(x[:, None, :]).exp(), expected, atol=1e-8)


def test_optimize_acqf_maximises_log_noisy_ei_in_a_batch_of_two(kernel):
    model = PosteriorModel(posterior_of(kernel, counts=[1, 40]))
    sampler = SobolQMCNormalSampler(torch.Size([32]), seed=1)
    acquisition = qLogNoisyExpectedImprovement(
        model, model.points, sampler, X_pending=double([[0.3, 0.9]])
    )
    by_chance = acquisition(random_points(64, 1, 2)).max()
    x, value = optimize_acqf(
        acquisition, UNIT, q=2, num_restarts=2, raw_samples=32, sequential=True
    )
    assert x.shape == (2, 2)
    assert value[0] > by_chance


def test_knowledge_gradient_is_differentiated_through_the_fantasies(kernel):
    model = PosteriorModel(posterior_of(kernel))
    sampler = SobolQMCNormalSampler(torch.Size([3]), seed=1)
    acquisition = qKnowledgeGradient(model, num_fantasies=3, sampler=sampler)
    x = random_points(2, 1 + 3, 2).requires_grad_()
    (exact,) = torch.autograd.grad(acquisition(x).sum(), x)
    step = torch.zeros_like(x)
    step[1, 0, 1] = 1e-5
    with torch.no_grad():
        central = (acquisition(x + step) - acquisition(x - step)).sum() / 2e-5
    assert float(exact[1, 0, 1]) == pytest.approx(float(central), abs=1e-6)


def test_thompson_samples_choose_each_candidate_as_often_as_it_is_best(kernel):
    model = PosteriorModel(posterior_of(kernel, counts=20))
    candidates = random_points(6, 2)
    drawn = MaxPosteriorSampling(model)(candidates, num_samples=4000)
    shares = [(drawn == candidate).all(-1).double().mean() for candidate in candidates]
    joint = model.posterior(candidates).distribution
    draws = np.random.default_rng(0).multivariate_normal(
        joint.mean.numpy(), joint.covariance_matrix.numpy(), size=4000
    )
    expected = np.bincount(draws.argmax(axis=1), minlength=6) / 4000
    np.testing.assert_allclose(shares, expected, atol=0.04)  # 3.6 standard errors


def test_an_objective_of_the_posterior_is_applied(kernel):
    transform = ScalarizedPosteriorTransform(double([-2.0]))
    model, x = PosteriorModel(posterior_of(kernel)), random_points(4, 2)
    turned = model.posterior(x, posterior_transform=transform)
    assert torch.allclose(turned.mean, -2.0 * model.posterior(x).mean)


# --- against BoTorch's own model, and where that is not exact --------------------------


@pytest.mark.parametrize("counts", [1, [1, 1000]])
def test_the_posterior_is_that_of_single_task_gp_on_the_means(kernel, counts):
    posterior, x = posterior_of(kernel, counts=counts), random_points(20, 2)
    ours, own = PosteriorModel(posterior), theirs(posterior)
    assert gap(ours.posterior(x), own.posterior(x)) < 1e-8


def test_gpytorch_ignores_repeats_beyond_its_least_noise_and_ours_does_not(kernel):
    posterior = posterior_of(kernel, counts=[1, 10**6])  # noise / count = 3e-8
    x = double(posterior.observations.points[1:2])
    with pytest.warns(NumericalWarning, match="Very small noise values"):
        capped = theirs(posterior).posterior(x)
    assert float(capped.variance) == pytest.approx(1e-6, rel=0.01)
    ours = PosteriorModel(posterior).posterior(x)
    assert float(ours.variance) == pytest.approx(3e-8, rel=0.01)
    with gpytorch.settings.min_fixed_noise(double_value=1e-12):
        own = theirs(posterior).posterior(x)
    assert float(own.variance) == pytest.approx(float(ours.variance), rel=1e-5)


def test_gpytorch_rounds_small_variances_up_and_ours_does_not(kernel):
    posterior = posterior_of(kernel, counts=[1, 10**6], noise=1e-5)  # noise / count = 1e-11
    result = PosteriorModel(posterior).posterior(double(posterior.observations.points[1:2]))
    assert float(result.variance) == pytest.approx(1e-11, rel=1e-3)
    with pytest.warns(NumericalWarning, match="Negative variance values"):
        assert float(result.distribution.variance) == pytest.approx(1e-10)


def test_a_joint_sample_of_points_that_determine_each_other_is_drawn(kernel):
    result = PosteriorModel(posterior_of(kernel)).posterior(random_points(2, 2)[[0, 1] * 10])
    with quiet():  # GPyTorch warns where rounding made it add a jitter of 1e-8 or more
        samples = result.rsample(torch.Size([50]))
    apart = (samples - samples[:, [0, 1] * 10]).abs().max()
    assert float(apart) < 1e-2 * float(result.variance.sqrt().min())


def test_standardize_rescales_the_noise_that_it_is_given():
    posterior = posterior_of(RBF(0.3, 2.0), counts=[1, 5])
    data = posterior.observations
    variance = double(data.noise / data.count)[:, None]
    model = SingleTaskGP(double(data.points), 10.0 * double(data.mean)[:, None], variance)
    spread = 10.0 * np.std(data.mean, ddof=1)
    told = variance[:, 0] / spread**2
    assert torch.allclose(model.likelihood.noise, told)


def test_iterative_solvers_of_gpytorch_are_far_from_exact_and_off_in_botorch():
    posterior, x = posterior_of(Matern52(0.3), n=900, noise=0.01), random_points(20, 2)
    ours = PosteriorModel(posterior).posterior(x)
    assert gap(ours, theirs(posterior).posterior(x)) < 1e-8
    with (
        gpytorch.settings.max_cholesky_size(800),  # what GPyTorch has without BoTorch
        gpytorch.settings.fast_computations(True, True, True),
    ):
        iterative = theirs(posterior).posterior(x)
        assert float((iterative.mean - ours.mean).abs().max()) > 1e-4


# --- importing ------------------------------------------------------------------------


def test_importing_metabo_loads_no_torch():
    code = "import sys, bbopt.metabo; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_torch_the_constructor_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "botorch", None)
    with pytest.raises(MissingExtra, match=r"PosteriorModel needs the package 'botorch'"):
        PosteriorModel(Posterior(RBF(0.3), NOISE))


def test_the_module_is_imported_without_torch(tmp_path):
    for package in ("torch", "botorch", "gpytorch"):
        (tmp_path / f"{package}.py").write_text(
            f"raise ModuleNotFoundError('No module named {package}', name='{package}')\n"
        )
    code = (
        "import bbopt.errors, bbopt.metabo as m\n"
        "from bbopt.metabo.botorch import PosteriorModel\n"
        "try:\n"
        "    PosteriorModel(m.Posterior(m.RBF(0.3), 0.04))\n"
        "except bbopt.errors.MissingExtra as error:\n"
        "    print(error)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "pip install '.[metabo]'" in run.stdout
