"""The fixtures through which the contract's tests get at the optimizer under test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from bbopt.base import Optimizer
from bbopt.errors import UnsupportedSpec
from bbopt.space import Space
from bbopt.spec import Agents, Examples, Spec
from bbopt.testing.driving import Build
from bbopt.testing.spaces import SPACES, spec_for, supported_spaces

Make = Callable[..., Optimizer]
"""``(spec, *, seed=0, worker=0) -> Optimizer``."""


class Subject:
    """Fixtures of the contract: ``make`` is the one to override."""

    n_trials: ClassVar[int] = 12
    """How many trials a test asks for; enough for the method to start learning."""
    n_examples: ClassVar[int] = 15
    """How many random interleavings of asks and tells are tried."""

    @pytest.fixture
    def make(self) -> Make:
        """A factory ``(spec, *, seed=0, worker=0) -> Optimizer``."""
        raise NotImplementedError("override the fixture 'make'")

    @pytest.fixture
    def method(self, make: Make) -> type[Optimizer]:
        """The class under test, whose attributes decide what applies to it."""
        for space in SPACES.values():
            spec = Spec(
                space=space,
                deterministic=True,
                value_range=(-1e6, 1e6),
                examples=Examples(train=(0, 1), validation=(2,)),
                agents=Agents(2, ((0, 1, 1.0),)),
                candidates=None if "text" in space.kinds else [_any_params(space)],  # type: ignore[arg-type]
                switch_cost=1.0,
            )
            try:
                return type(make(spec))
            except UnsupportedSpec:
                continue
        raise AssertionError("the optimizer supports none of bbopt.testing.SPACES")

    @pytest.fixture
    def build(self, make: Make, method: type[Optimizer]) -> Build:
        """Build the optimizer for a space (by default the richest one that it supports)."""

        def build(
            space: Space | None = None, *, spec: dict[str, Any] | None = None, **kwargs: Any
        ) -> Optimizer:
            if space is None:
                supported = supported_spaces(method)
                rich = (name for name in ("mixed", "text and numbers") if name in supported)
                space = supported[next(rich, next(iter(supported)))]
            return make(spec_for(method, space, **(spec or {})), **kwargs)

        return build

    @pytest.fixture(params=list(SPACES))
    def space(self, request: pytest.FixtureRequest, method: type[Optimizer]) -> Space:
        """Each of the ready-made spaces that the method supports."""
        space: Space = SPACES[request.param]
        if not space.kinds <= method.kinds:
            unsupported = ", ".join(sorted(space.kinds - method.kinds))
            pytest.skip(f"the method does not support {unsupported} parameters")
        return space


def _any_params(space: Space) -> dict[str, Any]:
    return space.from_unit([0.5] * space.width)[0]
