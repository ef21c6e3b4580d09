"""What travels between an optimizer and a problem: Trial, Outcome, Best, and their JSON."""

from __future__ import annotations

import math
import reprlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from numbers import Real
from typing import Any, TypeAlias

import numpy as np

from bbopt import checks
from bbopt.errors import UsageError
from bbopt.space import Params

MAX_VALUES = 1000
"""Single values and feedback are kept up to this many evaluations a trial."""

LARGEST = sys.float_info.max
"""What stands in for a sum of squares that is beyond every double."""

Moments: TypeAlias = tuple[int, float, float]
"""Count, mean and sum of squared deviations from the mean."""

Feedback: TypeAlias = str | Mapping[str, str]


@dataclass(frozen=True)
class Trial:
    """A request to evaluate params.

    Parameters
    ----------
    number : int or None
        Unique within a worker; None for a foreign trial (evaluated without being asked).
    params : dict
        Native values; not to be modified.
    repeats : int
        How often to evaluate them, >= 1.
    context : mapping
        What else the evaluation depends on, such as ``{"agent": 3}`` or
        ``{"examples": (4, 17)}``; the latter has one id a repeat, and evaluation j is of
        example j (an id may occur twice).
    """

    number: int | None
    params: Params
    repeats: int = 1
    context: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.number is not None:
            object.__setattr__(self, "number", checks.integer("trial number", self.number, 0))
        object.__setattr__(self, "repeats", checks.integer("repeats", self.repeats, 1))
        if self.context.get("examples") is not None:
            ids = self.context["examples"]
            examples = tuple(checks.integer("context['examples']: an id", i) for i in ids)
            if len(examples) != self.repeats:
                raise UsageError(
                    f"context['examples'] must have one id a repeat ({self.repeats}), "
                    f"got {len(examples)}"
                )
            object.__setattr__(self, "context", {**self.context, "examples": examples})

    def slice(self, start: int, stop: int) -> Trial:
        """The same trial cut to the repeats ``start`` ... ``stop - 1`` (and their examples)."""
        context = self.context
        if context.get("examples") is not None:
            context = {**context, "examples": context["examples"][start:stop]}
        return replace(self, repeats=stop - start, context=context)

    def to_json(self) -> dict[str, Any]:
        """JSON values that :meth:`from_json` reads back."""
        data: dict[str, Any] = {"number": self.number, "params": self.params}
        if self.repeats != 1:
            data["repeats"] = self.repeats
        if self.context:
            data["context"] = dict(self.context)
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Trial:
        """The trial that :meth:`to_json` described."""
        context = dict(data.get("context", {}))
        return cls(data["number"], dict(data["params"]), data.get("repeats", 1), context)


@dataclass(frozen=True)
class Usage:
    """What language models were used for something.

    Parameters
    ----------
    llm_calls : int
        Requests sent.
    tokens : int
        Prompt and completion tokens together.
    cost : float
        Money, in the currency of the price list.

    Raises
    ------
    UsageError
        If one of them is no number or negative.
    """

    llm_calls: int = 0
    tokens: int = 0
    cost: float = 0.0

    def __post_init__(self) -> None:
        for axis, value in self.__dict__.items():
            if not isinstance(value, Real) or not float(value) >= 0:  # NaN is not; inf may be
                raise UsageError(f"usage: {axis} must be a number >= 0, got {value!r}")

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.llm_calls + other.llm_calls, self.tokens + other.tokens, self.cost + other.cost
        )

    def at_least(self, other: Usage) -> Usage:
        """The greater of both, axis by axis."""
        return Usage(
            max(self.llm_calls, other.llm_calls),
            max(self.tokens, other.tokens),
            max(self.cost, other.cost),
        )

    def to_json(self) -> dict[str, Any]:
        """JSON values, the keyword arguments of this class."""
        return {"llm_calls": self.llm_calls, "tokens": self.tokens, "cost": self.cost}


NO_USAGE = Usage()


@dataclass(frozen=True, init=False)
class Outcome:
    """What came of a trial.

    ``Outcome(0.3)``, ``Outcome([0.3, math.nan])``; NaN (or an infinity) means that nothing was
    observed, a truth value counts as 0 or 1. Values are in the user's direction.

    Parameters
    ----------
    values : float or sequence of float
        One a repeat, in order; ``evaluate`` gives all of them, NaN where there is nothing. In a
        ``tell``, fewer than ``repeats`` mean that the rest was not evaluated.
    feedback : sequence of str or mapping of str
        One a value, or empty: all that a proposer will ever see of that evaluation.
    cost : float
        What the evaluation cost, in the problem's unit, >= 0.
    usage : Usage
        What language models it used.
    error : str, optional
        Why values are missing.
    constraints : sequence of float
        Feasible where all are <= 0; infeasible params never become ``best``.
    info : mapping of str to float
        Other scalars to log: a latency, an accuracy per class.

    Raises
    ------
    UsageError
        If a value, the cost, a constraint or an info is no number, the cost is negative, or
        feedback is not one text (or mapping of texts) a value.

    Attributes
    ----------
    count : int
        Number of finite values.
    failed : int
        Number of evaluations that gave no finite value; ``count + failed`` were paid for.
    mean : float
        Mean of the finite values; NaN where there is none.
    m2 : float
        Their sum of squared deviations from ``mean``.
    values : tuple of float
        Kept up to 1,000 evaluations, then empty.
    """

    count: int
    failed: int
    mean: float
    m2: float
    values: tuple[float, ...]
    feedback: tuple[Feedback, ...]
    cost: float
    usage: Usage
    error: str | None
    constraints: tuple[float, ...]
    info: Mapping[str, float]

    def __init__(
        self,
        values: float | Sequence[float] | np.ndarray,
        *,
        feedback: Sequence[Feedback] = (),
        cost: float = 0.0,
        usage: Usage = NO_USAGE,
        error: str | None = None,
        constraints: Sequence[float] = (),
        info: Mapping[str, float] | None = None,
    ) -> None:
        numbers: tuple[float, ...]
        if type(values) is float:
            numbers = (values if math.isfinite(values) else math.nan,)
        else:
            numbers = _values(values)
        finite = [v for v in numbers if not math.isnan(v)]
        count = len(finite)
        mean, m2 = _mean_m2(finite)
        texts = _feedback(feedback, len(numbers)) if feedback else ()
        kept = len(numbers) <= MAX_VALUES
        self._fill(
            count=count,
            failed=len(numbers) - count,
            mean=mean,
            m2=m2,
            values=numbers if kept else (),
            feedback=texts if kept else (),
            cost=_float("cost", cost),
            usage=usage,
            error=error,
            constraints=tuple(_constraint(c) for c in constraints),
            info={n: _float(f"info[{n!r}]", v) for n, v in info.items()} if info else {},
        )
        if self.cost < 0:
            raise UsageError(f"cost must be >= 0, got {cost!r}")

    def _fill(self, **fields: Any) -> None:
        self.__dict__.update(fields)  # the dataclass is frozen

    @classmethod
    def summary(
        cls, count: int, mean: float, m2: float, *, failed: int = 0, **others: Any
    ) -> Outcome:
        """An outcome of many evaluations, given by its statistics alone (no single values).

        Raises
        ------
        UsageError
            If a count or ``m2`` is negative, or ``mean`` or ``m2`` is not finite.
        """
        outcome = cls((), **others)
        count, failed = checks.integer("count", count, 0), checks.integer("failed", failed, 0)
        if count:
            mean, m2 = checks.number("mean", mean), checks.number("m2", m2, 0)
        else:
            mean, m2 = math.nan, 0.0
        outcome._fill(count=count, failed=failed, mean=mean, m2=m2)
        return outcome

    @classmethod
    def failure(cls, error: str, repeats: int = 1, **others: Any) -> Outcome:
        """An outcome without any observation, and why."""
        return cls((math.nan,) * repeats, error=error, **others)

    @classmethod
    def coerce(cls, value: Any) -> Outcome:
        """``value`` itself if it is an Outcome, else the outcome with that value or values.

        Raises
        ------
        UsageError
            If it is neither an Outcome, a number, nor a sequence of numbers.
        """
        return value if isinstance(value, Outcome) else cls(value)

    @property
    def evaluations(self) -> int:
        """How many evaluations were carried out, failed ones included."""
        return self.count + self.failed

    @property
    def is_failure(self) -> bool:
        """Whether evaluations were carried out and none gave a finite value."""
        return self.count == 0 and self.failed > 0

    @property
    def feasible(self) -> bool:
        """Whether every constraint is satisfied (<= 0; NaN is not)."""
        return all(c <= 0 for c in self.constraints)

    def negated(self) -> Outcome:
        """The same outcome with the sign of every value changed."""
        other = object.__new__(Outcome)
        other._fill(**self.__dict__)
        other._fill(mean=-self.mean, values=tuple(-v for v in self.values))
        return other

    def to_json(self) -> dict[str, Any]:
        """JSON values that :meth:`from_json` reads back; NaN is null."""
        single = self.values == (self.mean,)
        data: dict[str, Any] = {"mean": _null(self.mean)}
        if not single:
            data |= {"count": self.count, "failed": self.failed, "m2": self.m2}
            data["values"] = [_null(v) for v in self.values]
        if self.feedback:
            data["feedback"] = [f if isinstance(f, str) else dict(f) for f in self.feedback]
        if self.cost:
            data["cost"] = _null(self.cost)
        if self.usage != NO_USAGE:
            data["usage"] = self.usage.to_json()
        if self.error is not None:
            data["error"] = self.error
        if self.constraints:
            data["constraints"] = [_null(c) for c in self.constraints]
        if self.info:
            data["info"] = {name: _null(value) for name, value in self.info.items()}
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Outcome:
        """The outcome that :meth:`to_json` described."""
        single = [data["mean"]]
        outcome = cls(
            tuple(_nan(v) for v in data.get("values", single)),
            feedback=data.get("feedback", ()),
            cost=_nan(data.get("cost", 0.0)),
            usage=Usage(**data.get("usage", {})),
            error=data.get("error"),
            constraints=[_nan(c) for c in data.get("constraints", ())],
            info={name: _nan(value) for name, value in data.get("info", {}).items()},
        )
        if "count" in data:  # the statistics as they were, to the last bit
            outcome._fill(
                count=data["count"], failed=data["failed"], mean=_nan(data["mean"]), m2=data["m2"]
            )
        return outcome


def merge(outcomes: Iterable[Outcome]) -> Outcome:
    """The outcome of a trial from those of its blocks, in block order.

    Means and squared deviations are pooled pairwise (Chan, Golub and LeVeque 1983), so a
    million values need no list. Each constraint is that of its worst block, info is averaged
    over the blocks that report it, and the first error is kept.
    """
    parts = list(outcomes)
    if len(parts) == 1:
        return parts[0]
    total = sum(part.evaluations for part in parts)
    count, mean, m2 = _pooled([(part.count, part.mean, part.m2) for part in parts])
    values = tuple(v for part in parts for v in part.values)
    kept = len(values) == total <= MAX_VALUES
    merged = Outcome(
        values if kept else (),
        feedback=_merged_feedback(parts) if kept else (),
        cost=sum(part.cost for part in parts),
        usage=sum((part.usage for part in parts), NO_USAGE),
        error=next((part.error for part in parts if part.error is not None), None),
        constraints=_worst([part.constraints for part in parts if part.constraints]),
        info=_averages([part.info for part in parts]),
    )
    merged._fill(count=count, failed=total - count, mean=mean, m2=m2)
    return merged


def _pooled(moments: list[Moments]) -> Moments:
    """Pool neighbours, then neighbouring pairs, and so on: rounding grows with log n."""
    while len(moments) > 1:
        pairs = zip(moments[::2], moments[1::2], strict=False)
        rest = moments[-1:] if len(moments) % 2 else []
        moments = [pool_moments(*a, *b) for a, b in pairs] + rest
    return moments[0] if moments else (0, math.nan, 0.0)


def pool_moments(
    n_a: int, mean_a: float, m2_a: float, n_b: int, mean_b: float, m2_b: float
) -> Moments:
    """Count, mean and sum of squared deviations of two samples together; always finite."""
    if not n_a:
        return n_b, mean_b, m2_b
    if not n_b:
        return n_a, mean_a, m2_a
    n, gap = n_a + n_b, mean_b - mean_a
    if math.isinf(gap):
        return n, mean_a * (n_a / n) + mean_b * (n_b / n), LARGEST
    m2 = m2_a + m2_b + gap * gap * (n_a * (n_b / n))
    return n, mean_a + gap * (n_b / n), min(m2, LARGEST)


@dataclass(frozen=True)
class Best:
    """The candidate to deploy and an honest estimate of it.

    Parameters
    ----------
    params : dict
        Native values.
    value : float
        Estimated objective, in the user's direction.
    stderr : float or None
        Standard error of ``value``; None where a single observation tells nothing of it.
    count : int
        Number of finite evaluations behind the estimate.
    """

    params: Params
    value: float
    stderr: float | None
    count: int

    def to_json(self) -> dict[str, Any]:
        """JSON values, the keyword arguments of this class."""
        return {
            "params": self.params,
            "value": _null(self.value),
            "stderr": self.stderr,
            "count": self.count,
        }


def _values(values: Any) -> tuple[float, ...]:
    try:
        array = np.asarray(values)
        if array.dtype.kind == "O" and all(isinstance(v, Real) for v in array.flat):
            array = array.astype(float)  # integers beyond 64 bits, fractions
    except (ValueError, OverflowError):
        array = None
    if array is None or array.ndim > 1 or array.dtype.kind not in "biuf":
        raise UsageError(
            f"a value must be a number or a sequence of numbers, got {reprlib.repr(values)}"
        )
    numbers = array.astype(float).reshape(-1).tolist()
    return tuple(v if math.isfinite(v) else math.nan for v in numbers)


def _mean_m2(finite: list[float]) -> tuple[float, float]:
    if not finite:
        return math.nan, 0.0
    if min(finite) == max(finite):  # their rounded mean may be another number
        return finite[0], 0.0
    scale = max(1.0, max(abs(v) for v in finite) / 1e150)  # squares of huge values overflow
    array = np.array(finite) / scale
    mean = math.fsum(array) / len(finite)
    m2 = math.fsum((array - mean) ** 2) * scale * scale
    return max(-LARGEST, min(mean * scale, LARGEST)), min(m2, LARGEST)


def _feedback(given: Any, n: int) -> tuple[Feedback, ...]:
    items = (given,) if isinstance(given, str | Mapping) else tuple(given)
    if len(items) != n:
        raise UsageError(f"feedback must have one item a value ({n}), got {len(items)}")
    for item in items:
        if not isinstance(item, str | Mapping):
            raise UsageError(f"feedback must be texts or mappings of texts, got {item!r}")
    return items


def _constraint(given: Any) -> float:
    # an infinity would be NaN, so infeasible, once it was JSON
    return max(min(_float("a constraint", given), LARGEST), -LARGEST)


def _float(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise UsageError(f"{name} must be a number, got {reprlib.repr(value)}") from None


def _merged_feedback(parts: Sequence[Outcome]) -> tuple[Feedback, ...]:
    if not any(part.feedback for part in parts):
        return ()
    return tuple(f for part in parts for f in (part.feedback or ("",) * part.evaluations))


def _worst(constraints: Sequence[Sequence[float]]) -> tuple[float, ...]:
    columns = zip_longest(*constraints, fillvalue=-math.inf)
    return tuple(float(np.max(column)) for column in columns)  # np.max keeps NaN: not feasible


def _averages(infos: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = {name: None for info in infos for name in info}
    found = {name: [info[name] for info in infos if name in info] for name in names}
    return {name: sum(values) / len(values) for name, values in found.items()}


def _null(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _nan(value: float | None) -> float:
    return math.nan if value is None else value


NOTHING = Outcome(())
"""No evaluation was carried out: closes a trial without telling anything about it."""
