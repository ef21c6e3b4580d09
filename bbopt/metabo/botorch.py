"""A posterior of ours as a model of BoTorch, for its acquisition functions and optimisers.

::

    model = PosteriorModel(posterior)
    acquisition = qLogNoisyExpectedImprovement(model, X_baseline=model.points)
    x, _ = optimize_acqf(acquisition, bounds, q=4, num_restarts=10, raw_samples=512)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from bbopt.baselines.quiet import quiet
from bbopt.errors import require
from bbopt.metabo.kernels import Kernel
from bbopt.metabo.posterior import Posterior
from bbopt.metabo.posterior.cholesky import FLOOR
from bbopt.metabo.tensors import covariance, joined, lengthscales, pooled

if TYPE_CHECKING:  # optional packages: mypy need not find them
    torch: Any
    MultivariateNormal: Any
    DenseLinearOperator: Any
    Tensor: TypeAlias = Any
    MCSampler: TypeAlias = Any
    Model: TypeAlias = Any
    FantasizeMixin: TypeAlias = Any
    GPyTorchPosterior: TypeAlias = Any
else:
    try:
        with quiet():
            import torch
            from botorch.models.model import FantasizeMixin, Model
            from botorch.posteriors import GPyTorchPosterior
            from gpytorch.distributions import MultivariateNormal
            from linear_operator.operators import DenseLinearOperator
    except ModuleNotFoundError:  # the constructor says what to install
        Model, FantasizeMixin, GPyTorchPosterior = (type("Absent", (), {}) for _ in range(3))


class JointPosterior(GPyTorchPosterior):  # type: ignore[misc]
    """A joint normal distribution whose variances are what was computed.

    GPyTorch rounds variances up to 1e-10, which is no little where the evaluations of a point
    are many.
    """

    @property
    def variance(self) -> Tensor:
        """Variance at each point, ``(batch..., q, 1)``."""
        diagonal: Tensor = self.distribution.lazy_covariance_matrix.diagonal(dim1=-1, dim2=-2)
        return diagonal.unsqueeze(-1)


class PosteriorModel(Model, FantasizeMixin):  # type: ignore[misc]
    """A :class:`~bbopt.metabo.Posterior` as it stands, as a BoTorch model of one output.

    Exact, in double precision, over unique points, however often they were evaluated. Nothing
    is added to the covariance matrix of the data; a joint *sample* of points that determine
    each other may need the jitter with which GPyTorch factorises the covariance it draws from.
    The prior mean is zero and BoTorch maximises: tell the posterior standardised values of
    which larger ones are better.

    Parameters
    ----------
    posterior : Posterior
        Its kernel, noise and data are copied; later updates do not change the model.

    Raises
    ------
    MissingExtra
        If torch, botorch or gpytorch is not installed.
    UsageError
        If the kernel is none of ours.
    """

    points: Tensor
    """Evaluated points ``(batch..., u, d)``."""
    values: Tensor
    """Mean of the evaluations of each point, ``(batch..., u)``."""
    precision: Tensor
    """``count / noise`` of each point, ``(batch..., u)``."""

    def __init__(self, posterior: Posterior) -> None:
        for package in ("torch", "botorch", "gpytorch"):
            require(package, extra="metabo", needed_by="PosteriorModel")
        super().__init__()
        data = posterior.observations
        if data is None:
            rows = [np.empty((0, len(lengthscales(posterior.kernel)))), np.empty(0), np.empty(0)]
        else:
            rows = [data.points, data.mean, data.count / data.noise]
        points, values, precision = (torch.tensor(row, dtype=torch.double) for row in rows)
        self._fill(posterior.kernel, posterior.noise, points, values, precision)

    def _fill(
        self, kernel: Kernel, noise: float, points: Tensor, values: Tensor, precision: Tensor
    ) -> None:
        """Take the data, and factorise ``B = I + S K S`` (see ``posterior/factor.py``)."""
        self.kernel, self.noise = kernel, noise
        scale = precision.sqrt()
        b = scale.unsqueeze(-1) * covariance(kernel, points, points) * scale.unsqueeze(-2)
        lower = torch.linalg.cholesky(b + torch.eye(b.shape[-1]).to(b))
        whitened = torch.linalg.solve_triangular(lower, (scale * values).unsqueeze(-1), upper=False)
        data = {"points": points, "values": values, "precision": precision}
        solved = {"_scale": scale, "_lower": lower, "_whitened": whitened}
        for name, tensor in (data | solved).items():
            self.register_buffer(name, tensor)

    @property
    def num_outputs(self) -> int:
        """One."""
        return 1

    @property
    def batch_shape(self) -> torch.Size:
        """That of the fantasies; empty where there are none."""
        return torch.broadcast_shapes(
            self.points.shape[:-2], self.values.shape[:-1], self.precision.shape[:-1]
        )

    def posterior(
        self,
        X: Tensor,  # noqa: N803
        output_indices: list[int] | None = None,
        observation_noise: bool | Tensor = False,
        posterior_transform: Any = None,
    ) -> Any:
        """The joint distribution of the latent function at ``X``, differentiable in ``X``.

        Parameters
        ----------
        X : (batch..., q, d) tensor
            Points of the unit cube.
        output_indices : list of int, optional
            There is one output.
        observation_noise : bool or tensor
            True adds the variance of one evaluation (the posterior's ``noise``), a tensor
            ``(batch..., q or 1, 1)`` adds itself.
        posterior_transform : PosteriorTransform, optional
            Applied to the result.

        Returns
        -------
        GPyTorchPosterior
            Mean and variance ``(batch..., q, 1)``.
        """
        X = X.to(self.points)  # noqa: N806
        v = self._whiten(X)
        mean = (v.mT @ self._whitened).squeeze(-1)
        joint = covariance(self.kernel, X, X) - v.mT @ v
        least = FLOOR * self.kernel.variance
        added = (least - joint.diagonal(dim1=-2, dim2=-1)).clamp_min(0.0).detach()
        if isinstance(observation_noise, torch.Tensor):
            added = added + observation_noise.to(X).squeeze(-1)
        elif observation_noise:
            added = added + self.noise
        joint = joint + torch.diag_embed(added.expand(mean.shape))
        result = JointPosterior(MultivariateNormal(mean, DenseLinearOperator(joint)))
        return result if posterior_transform is None else posterior_transform(result, X=X)

    def condition_on_observations(
        self,
        X: Tensor,  # noqa: N803
        Y: Tensor,  # noqa: N803
        noise: Tensor | None = None,
        **kwargs: Any,
    ) -> PosteriorModel:
        """The model after more evaluations, one a row; exact.

        Rows of a plain ``X`` are pooled with those known of the same point. Those of a batch of
        sets, or of a set with a gradient, become rows of their own: the same posterior.

        Parameters
        ----------
        X : (batch..., m, d) tensor
            Points.
        Y : (batch..., m, 1) tensor
            What was observed there; may have more batch dimensions than ``X``.
        noise : tensor, optional
            Variance of each, in a shape that broadcasts to that of ``Y``; by default that of
            the posterior.
        **kwargs
            Ignored; BoTorch passes options of GPyTorch here.
        """
        X, Y = X.to(self.points), Y.to(self.points).squeeze(-1)  # noqa: N806
        if noise is None:
            added = X.new_full(X.shape[-2:-1], 1.0 / self.noise)
        else:
            added = 1.0 / noise.to(X).squeeze(-1)
        points = self.points if self.points.shape[-2] else X[..., :0, :]
        points = joined(points, X, -2)
        values = joined(self.values, Y, -1)
        precision = joined(self.precision, added.expand(*added.shape[:-1], X.shape[-2]), -1)
        if points.dim() == 2 and precision.dim() == 1 and not points.requires_grad:
            points, values, precision = pooled(points, values, precision)
        model = PosteriorModel.__new__(PosteriorModel)
        Model.__init__(model)
        model._fill(self.kernel, self.noise, points, values, precision)
        return model

    def fantasize(
        self,
        X: Tensor,  # noqa: N803
        sampler: MCSampler,
        observation_noise: Tensor | None = None,
        **kwargs: Any,
    ) -> PosteriorModel:
        """Models after evaluations of ``X`` ``(batch..., m, d)`` drawn by ``sampler``."""
        if observation_noise is None:
            observation_noise = self.points.new_full((1, 1), self.noise)
        model: PosteriorModel = super().fantasize(X, sampler, observation_noise, **kwargs)
        return model

    def _whiten(self, X: Tensor) -> Tensor:  # noqa: N803
        """``L⁻¹ S k(points, X)``."""
        points = self.points if self.points.shape[-2] else X[..., :0, :]
        cross = self._scale.unsqueeze(-1) * covariance(self.kernel, points, X)
        return torch.linalg.solve_triangular(self._lower, cross, upper=False)
