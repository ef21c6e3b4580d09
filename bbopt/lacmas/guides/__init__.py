"""Guides of the swarms: who sets the coefficients of their momentum, and the neighbours' weights.

All stand behind one call, :meth:`Guide.advise`, once a round; what they advise is held to one
contract (:mod:`bbopt.lacmas.guides.contract`).
"""

from __future__ import annotations

from typing import Any

from bbopt import checks
from bbopt.lacmas.draws import Draws
from bbopt.lacmas.guides.bandit import Bandit
from bbopt.lacmas.guides.base import Advice, Context, Guide, GuideSettings
from bbopt.lacmas.guides.fixed import Fixed, NoGuide
from bbopt.lacmas.guides.imitation import Imitation
from bbopt.lacmas.guides.llm import LLMGuide
from bbopt.lacmas.guides.rules import Rules
from bbopt.lacmas.network import Network

__all__ = ["NAMES", "Advice", "Context", "Guide", "GuideSettings", "make"]

_GUIDES: dict[str, type[Guide]] = {
    "none": NoGuide,
    "fixed": Fixed,
    "rules": Rules,
    "imitation": Imitation,
    "bandit": Bandit,
}
NAMES = (*_GUIDES, "llm")
"""What :func:`make` knows."""


def make(
    name: str, network: Network, draws: Draws, settings: GuideSettings, llm: Any = None
) -> Guide:
    """The guide of that name.

    Parameters
    ----------
    name : str
        One of :data:`NAMES`; "llm" is "rules" where no language model has the role "guide".
    network, draws, settings
        See :class:`Guide`.
    llm : Client, optional
        A :class:`bbopt.llm.Client`.

    Raises
    ------
    UsageError
        If there is no guide of that name.
    """
    if checks.one_of("guide", name, NAMES) == "llm":
        if llm is not None and "guide" in llm.roles:
            return LLMGuide(network, draws, settings, llm)
        name = "rules"
    return _GUIDES[name](network, draws, settings)
