"""What a run has seen and spent, and whether that reaches one of its goals."""

from __future__ import annotations

import math
import time
from collections.abc import Hashable
from dataclasses import replace

from bbopt.archive import Archive
from bbopt.budget import Meter
from bbopt.running.options import Options
from bbopt.running.result import Evaluation
from bbopt.space import Params
from bbopt.spec import Spec
from bbopt.trial import Best, Outcome, Trial, Usage


class Account:
    """Counts evaluations, switches and time; keeps the running best of all methods alike.

    Parameters
    ----------
    spec : Spec
        Of the problem.
    options : Options
        Holds target, patience and the failures that are tolerated.
    """

    def __init__(self, spec: Spec, options: Options) -> None:
        self.meter = Meter()
        self.archive = Archive(spec.space, deterministic=spec.deterministic is True)
        self.evaluations: list[Evaluation] = []
        self.best: Best | None = None
        """The best candidate by pooled observations, in the user's direction."""
        self.waited = 0.0
        """Seconds of this session spent waiting for evaluations."""
        self._space, self._sign = spec.space, spec.sign
        self._options = options
        self._record: float | None = None  # least loss of ``best`` so far, and when
        self._record_at = 0
        self._last: Hashable = None  # the key of the params opened last
        self._started = time.monotonic()
        self._earlier = (0.0, 0.0)  # seconds and overhead of earlier sessions

    def resume_clock(self, seconds: float, overhead: float) -> None:
        """Go on from the clock of earlier sessions."""
        self._earlier = (seconds, overhead)

    def clock(self) -> tuple[float, float]:
        """Seconds of all sessions, and those not spent waiting for evaluations."""
        now = time.monotonic() - self._started
        self.meter.seconds = self._earlier[0] + now
        self.meter.overhead_seconds = self._earlier[1] + now - self.waited
        return self.meter.seconds, self.meter.overhead_seconds

    def opened(self, params: Params) -> None:
        """A trial of these params follows the one before it."""
        self.meter.switches += self.is_switch(params)
        self._last = self._space.key(params)

    def is_switch(self, params: Params) -> bool:
        """Whether evaluating these params next is a switch; the first trial is free."""
        return self._last is not None and self._space.key(params) != self._last

    def told(self, worker: int, trial: Trial, outcome: Outcome, *, counts: bool = True) -> None:
        """An outcome was told; ``counts`` is False for those that this study did not pay."""
        self.archive.add(trial.params, outcome if self._sign > 0 else outcome.negated())
        top = self.archive.top(1)
        self.best = replace(top[0], value=self._sign * top[0].value + 0.0) if top else None
        if not counts:
            return
        self.meter.add(outcome)
        self.evaluations.append(Evaluation(worker, trial, outcome, self.best))
        if self.best is not None:
            loss = self._sign * self.best.value
            if self._record is None or loss < self._record:
                self._record, self._record_at = loss, self.meter.evaluations

    def goal(self) -> str | None:
        """Which of target, patience and the tolerated failures was reached, if any."""
        o = self._options
        best = math.inf if self.best is None else self._sign * self.best.value
        if o.target is not None and best <= self._sign * o.target:
            return "target"
        if o.patience is not None and self.meter.evaluations - self._record_at >= o.patience:
            return "patience"
        if o.max_failures is not None and self.meter.failures > o.max_failures:
            return "max_failures"
        return None

    def spent(self, proposals: Usage) -> Meter:
        """What was spent, ``proposals`` of the optimizer included."""
        return replace(self.meter, usage=self.meter.usage + proposals)

    def each(self) -> dict[str, float]:
        """What an evaluation itself takes of language models on average."""
        n, usage = max(self.meter.evaluations, 1), self.meter.usage
        return {"llm_calls": usage.llm_calls / n, "tokens": usage.tokens / n}

    def initial_value(self) -> float | None:
        """The mean observed at the space's ``initial``, in the user's direction."""
        initial = self._space.initial
        loss = None if initial is None else self.archive.mean(initial)
        return None if loss is None else self._sign * loss + 0.0  # 0.0: never -0.0
