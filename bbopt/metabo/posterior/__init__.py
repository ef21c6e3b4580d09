"""The exact posterior of a Gaussian process over unique points, in four forms.

``cholesky`` for any point of the unit cube; ``rows``, ``unique`` and ``lazy`` keep mean and
standard deviation at the candidates of a finite set up to date.
"""

from bbopt.metabo.posterior.model import Posterior

__all__ = ["Posterior"]
