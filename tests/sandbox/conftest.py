"""Each test runs at every level that works here."""

import pytest

from bbopt.sandbox import LEVELS, Sandbox, unavailable


@pytest.fixture(params=LEVELS)
def level(request):
    """A level that works here."""
    reason = unavailable(request.param)
    if reason is not None:
        pytest.skip(f"level {request.param}: {reason}")
    return request.param


@pytest.fixture(scope="session")
def strongest():
    """The strongest level that works here: for what is the same at all of them."""
    return next(level for level in LEVELS if unavailable(level) is None)


@pytest.fixture
def confined(level):
    """A level that keeps a program from the rest of the host; ``limits`` does not."""
    if level == "limits":
        pytest.skip("the level 'limits' cannot stop this, as its documentation says")
    return level


@pytest.fixture
def run(strongest):
    """What function ``f`` of a program returns for some arguments, in a fresh sandbox."""

    def run(source, *arguments, **limits):
        with Sandbox(source, level=strongest, **{"seconds": 20.0, **limits}) as box:
            return box.call("f", *arguments)

    return run
