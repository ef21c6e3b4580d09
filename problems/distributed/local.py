"""A problem that agents have parts of."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from bbopt import checks
from bbopt.base import Problem
from bbopt.space import Array, Params, Space
from bbopt.spec import Agents, Spec
from bbopt.trial import MAX_VALUES, Trial


class Local(Problem):
    """Minimise the mean over agents of what each can query alone.

    One query of agent i at x gives f_i(x), rounded to a multiple of ``rounding`` where that is
    not 0, plus ``noise`` times a standard normal number. ``truth`` is the mean of f_i over the
    agents, rounded likewise and without noise. A trial without an agent in its context asks for
    the mean of one query of each agent.

    Values of a row of ``evaluate_array`` may depend on the other rows to rounding, since matrix
    products are computed in blocks; of one shape they are equal to the last bit, on one BLAS
    thread.

    Parameters
    ----------
    space : Space
        Floats.
    agents : Agents
        Who queries and who hears whom.
    objective : str
        What the agents look for, in one sentence.
    noise, rounding : float
        See above; >= 0, in the units of f.
    """

    block = MAX_VALUES

    def __init__(
        self,
        space: Space,
        agents: Agents,
        objective: str,
        noise: float = 0.0,
        rounding: float = 0.0,
    ) -> None:
        self.noise = checks.number("noise", noise, 0)
        self.rounding = checks.number("rounding", rounding, 0)
        self._spec = Spec(
            space=space, objective=objective, agents=agents, deterministic=self.noise == 0
        )

    @abstractmethod
    def local(self, x: Array, agent: int) -> Array:
        """f_i of one agent, ``(n,)``, at ``(n, d)`` native points: neither rounded nor noisy."""

    def mean(self, x: Array) -> Array:
        """The mean of f_i over the agents, ``(n,)``, at ``(n, d)`` native points."""
        total = np.zeros(len(x))
        for agent in range(self.n_agents):
            total += self.local(x, agent)
        return total / self.n_agents

    @property
    def spec(self) -> Spec:
        """Floats, to be minimised, and the agents."""
        return self._spec

    @property
    def n_agents(self) -> int:
        """How many agents there are."""
        assert self._spec.agents is not None
        return self._spec.agents.n

    def evaluate_array(self, x: Array, agent: int, rng: np.random.Generator) -> Array:
        """One query of ``agent`` at each of ``(n, d)`` native points, ``(n,)``."""
        values = self._rounded(self.local(x, agent))
        return values + self.noise * rng.standard_normal(len(x)) if self.noise else values

    def evaluate(self, trial: Trial, rng: np.random.Generator) -> Array:
        """The queries of the agent of ``trial.context``, or of all agents, as a mean."""
        x, agent = self._point(trial.params), trial.context.get("agent")
        if agent is not None:
            agent = checks.integer("context: agent", agent, 0, self.n_agents - 1)
        value = self._true(x) if agent is None else self._rounded(self.local(x, agent))[0]
        values = np.full(trial.repeats, value)
        if self.noise:
            sd = self.noise if agent is not None else self.noise / np.sqrt(self.n_agents)
            values += sd * rng.standard_normal(trial.repeats)
        return values

    def truth(self, params: Params) -> float:
        """The mean over agents at ``params``, without noise."""
        return self._true(self._point(params))

    def _true(self, x: Array) -> float:
        if not self.rounding:
            return float(self.mean(x)[0])
        each = [self._rounded(self.local(x, agent))[0] for agent in range(self.n_agents)]
        return float(np.mean(each))

    def _rounded(self, values: Array) -> Array:
        return np.rint(values / self.rounding) * self.rounding if self.rounding else values

    def _point(self, params: Params) -> Array:
        return np.array([[params[name] for name in self._spec.space]], dtype=float)

    def _params(self, x: Array) -> Params:
        """One native point as params."""
        return dict(zip(self._spec.space, x.tolist(), strict=True))
