"""Gaussian processes for noisy evaluations that are cheap to repeat: mini-GP-UCB, mini-GP-EI.

The posterior is exact and costs a function of the number of *unique* points, whatever the
number of evaluations (Calandriello et al. 2022, arXiv:2201.12909).
"""

from bbopt.metabo.kernels import RBF, Matern52
from bbopt.metabo.posterior import Posterior

__all__ = ["RBF", "Matern52", "Posterior"]
