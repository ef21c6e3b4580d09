"""The baselines ``gp:...`` over a finite table of candidates, under their family's name."""

from bbopt.baselines.gp.batches import BBKB, BUCB
from bbopt.baselines.gp.halving import Halving
from bbopt.baselines.gp.ucb import UCB, Fixed

__all__ = ["BBKB", "BUCB", "UCB", "Fixed", "Halving"]
