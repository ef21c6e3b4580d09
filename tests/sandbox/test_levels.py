"""Which level is taken, and what is said where none works."""

import os
import subprocess
import sys

import pytest

from bbopt.errors import UsageError
from bbopt.sandbox import LEVELS, Sandbox, bubblewrap, levels, unavailable
from bbopt.sandbox.interpreter import readable


def broken(script, scratch, memory):
    return [sys.executable, "-c", "raise SystemExit('no name spaces')"]


def other_python(script, scratch, memory):
    start = (
        "sys.version = '2'; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], None, '__main__')"
    )
    return [sys.executable, "-B", "-c", f"import sys, runpy; {start}", *script]


LIMITS = levels.WRAPS["limits"]


@pytest.fixture
def set_levels(monkeypatch):
    """Replace how levels run, and forget what the probes found before and after."""

    def set_levels(**wraps):
        unavailable.cache_clear()
        monkeypatch.setattr(levels, "WRAPS", {**levels.WRAPS, **wraps})

    yield set_levels
    unavailable.cache_clear()


def test_limits_work_everywhere():
    assert unavailable("limits") is None


def test_auto_takes_the_strongest_level_that_works(set_levels):
    set_levels(bubblewrap=broken)
    assert unavailable("bubblewrap") == "no name spaces"
    if unavailable("landlock") is None:
        with Sandbox("", level="auto") as box:
            assert box.level == "landlock"


def test_auto_never_falls_back_to_limits(set_levels):
    set_levels(bubblewrap=broken, landlock=broken)
    message = (
        r"no sandbox works here \(bubblewrap: no name spaces; landlock: no name spaces\); "
        r"level 'limits' .* has to be asked for"
    )
    with pytest.raises(UsageError, match=message):
        Sandbox("")
    with pytest.raises(UsageError, match=r"level 'landlock' does not work here: no name spaces"):
        Sandbox("", level="landlock")
    with Sandbox("", level="limits") as box:
        assert box.level == "limits"


def test_a_level_that_confines_nothing_is_found_out(set_levels):
    set_levels(bubblewrap=LIMITS)
    reason = unavailable("bubblewrap")
    assert reason.startswith("a program in it can read files and write files and reach the network")


def test_a_level_that_starts_another_python_is_found_out(set_levels):
    set_levels(bubblewrap=other_python)
    assert unavailable("bubblewrap") == "it starts another Python"


def test_a_level_is_probed_once(set_levels):
    calls = []

    def counted(script, scratch, memory):
        calls.append(scratch)
        return LIMITS(script, scratch, memory)

    set_levels(limits=counted)
    assert (unavailable("limits"), unavailable("limits")) == (None, None)
    assert len(calls) == 1


def test_a_missing_program_is_named(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(bubblewrap.SandboxError, match=r"'bwrap' is not installed"):
        bubblewrap.wrap([], "/tmp/x", 1)


def test_no_readable_path_lies_in_another_and_the_interpreter_in_one():
    paths = readable()
    for path in paths:
        assert not any(path.startswith(f"{other}/") for other in paths)
    for needed in (sys.executable, os.__file__, sys.prefix):
        assert any(f"{needed}/".startswith(f"{path}/") for path in paths)


@pytest.mark.skipif(os.geteuid() != 0, reason="all tests run as an ordinary user already")
@pytest.mark.parametrize("level", LEVELS)
def test_an_ordinary_user_gets_the_level_too(level, tmp_path):
    script = (
        "import os; os.chdir('/tmp'); from bbopt.sandbox import Sandbox, unavailable\n"
        f"reason = unavailable({level!r})\n"
        f"box = reason or Sandbox('def f(x): return x + 1', level={level!r})\n"
        "print(reason or (os.getuid(), box.call('f', 1)))\n"
        "reason or box.close()"
    )
    nobody = {"user": 65534, "group": 65534, "extra_groups": []}
    command = [sys.executable, "-c", script]
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", **nobody)
    except PermissionError:
        pytest.skip("another user cannot reach this interpreter")
    if done.returncode:
        pytest.skip(f"another user cannot use this environment: {done.stderr.splitlines()[-1:]}")
    if unavailable(level) is None:
        assert done.stdout.strip() == "(65534, 2)"
