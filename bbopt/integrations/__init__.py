"""bbopt inside other packages: a sampler of Optuna, spaces of ConfigSpace.

Each module needs its package; import what you use: ``from bbopt.integrations.optuna import ...``.
"""
