"""BibTeX of the methods and of what they build on."""

from __future__ import annotations

from bbopt.errors import UnknownName

_BIBLIOGRAPHY = {
    "bbopt": """@software{bbopt,
  title = {bbopt: LLM-driven black-box optimisation behind one ask/tell interface},
  year  = {2026}
}""",
    "polca": """@article{polca2026,
  title   = {POLCA: Stochastic Generative Optimization with LLM},
  journal = {arXiv preprint arXiv:2603.14769},
  year    = {2026}
}""",
}
