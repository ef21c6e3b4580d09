"""The baselines ``gp:...`` over a finite table of candidates, under their family's name."""

from bbopt.baselines.gp_batches import BBKB, BUCB
from bbopt.baselines.gp_ucb import UCB, Fixed
from bbopt.baselines.halving import Halving

__all__ = ["BBKB", "BUCB", "UCB", "Fixed", "Halving"]
