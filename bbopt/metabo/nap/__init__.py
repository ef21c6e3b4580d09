"""NAP: a transformer neural process trained end to end to be the acquisition function.

One network reads a history of evaluations and a set of candidates, and gives each candidate
an acquisition value and a predicted density of its outcome (Maraval, Zimmer, Grosnit and Bou
Ammar 2023, *End-to-End Meta-Bayesian Optimisation with Transformer Neural Processes*,
arXiv:2305.15930). Training needs torch, use needs numpy.

Departures from the paper: nothing is normalised by what an optimizer cannot know, the
acquisition head starts out as the expected improvement of the predicted density, attention
also weighs distances between points, and history enters through what it says alone, never
its order.
"""
