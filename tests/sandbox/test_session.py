"""What travels between a program and its caller, and what the caller is told of errors."""

import math
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbopt.errors import UsageError
from bbopt.sandbox import ProgramError, Sandbox
from bbopt.sandbox.child import HEAD, decode, encode

ECHO = "def f(x): return x"


def there_and_back(value):
    frame = encode(value)
    text_size, data_size = HEAD.unpack(frame[: HEAD.size])
    text = frame[HEAD.size : HEAD.size + text_size]
    data = frame[HEAD.size + text_size :]
    assert len(data) == data_size
    return decode(text, data)


def same(a, b):
    if isinstance(b, np.ndarray):
        kind = np.int64 if b.dtype.kind in "biu" else np.float64
        return a.dtype == kind and a.flags.writeable and np.array_equal(a, b, equal_nan=True)
    if isinstance(b, list | tuple):
        return type(a) is list and len(a) == len(b) and all(map(same, a, b))
    if isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in b)
    return type(a) is type(b) and (a == b or (a != a and b != b))


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
SHAPES = st.lists(st.integers(0, 3), max_size=3)
ARRAYS = st.builds(
    lambda shape, kind, seed: np.array(
        np.random.default_rng(seed).uniform(0, 100, shape), dtype=kind
    ),
    SHAPES,
    st.sampled_from(["f8", "f4", "i8", "i2", "?", "u4"]),
    st.integers(0, 9),
)
VALUES = st.recursive(
    SCALARS | ARRAYS,
    lambda v: st.lists(v, max_size=4) | st.dictionaries(st.text(max_size=3), v, max_size=4),
)


@given(VALUES)
def test_every_json_value_with_arrays_survives_a_frame(value):
    assert same(there_and_back(value), value)


@given(st.binary(max_size=60) | VALUES.map(lambda v: encode(v)[HEAD.size :]), st.binary(max_size=9))
def test_no_frame_makes_decoding_fail_otherwise_than_documented(text, data):
    with suppress(TypeError, ValueError, OverflowError, RecursionError):
        decode(text, data)


@pytest.mark.parametrize(
    "array",
    [
        b'{"__ndarray__": ["f8", [-1]]}',
        b'{"__ndarray__": ["f8", [1e3]]}',
        b'{"__ndarray__": ["f8", [0, 1000000000000000000000]]}',
        b'{"__ndarray__": ["f8", [4294967295, 4294967295]]}',
        b'{"__ndarray__": ["O", [1]]}',
        b'{"__ndarray__": ["f8", [2]]}',
        b'{"__ndarray__": ["f8", [1]], "other": 1}',
        b'{"__ndarray__": "f8"}',
        b'{"__ndarray__": [{}, []]}',
        b"[" * 100_000,
    ],
)
def test_a_forged_array_is_refused(array):
    with pytest.raises((TypeError, ValueError, OverflowError, RecursionError)):
        decode(array, b"12345678")


def test_arguments_and_results_are_the_same_on_both_sides(run):
    value = [None, True, -3, 2.5, "ü\n", [1, [2]], {"a": {"b": []}}, math.inf]
    assert run(ECHO, value) == value
    array = np.arange(12.0).reshape(3, 4)[:, ::2]
    np.testing.assert_array_equal(run("def f(x): return x.T + 1", array), array.T + 1)


def test_a_program_gets_arrays_that_it_can_change_and_the_caller_keeps_its_own(run):
    mine = np.zeros(3)
    assert run("def f(x):\n    x[0] = 5\n    return float(x.sum())", mine) == 5.0
    assert mine.sum() == 0


def test_map_gives_the_results_of_its_calls_in_their_order(level):
    with Sandbox("def f(x, y): return x - y", level=level) as box:
        assert box.map("f", ((i, 1) for i in range(100))) == list(range(-1, 99))
        assert box.map("f", []) == []
        assert box.call("f", 5, 3) == 2
        assert box.level == level


def test_requests_larger_than_a_pipe_arrive(run):
    array = np.random.default_rng(0).normal(size=300_000)
    assert run("def f(x): return x.size, float(x[-1])", array) == [300_000, array[-1]]
    result = run("import numpy as np\ndef f(n): return np.arange(n)", 100_000, output=10**6)
    np.testing.assert_array_equal(result, np.arange(100_000))


def test_a_program_that_draws_repeats_itself(run):
    source = (
        "import random, numpy as np\n"
        "def f(): return random.random(), np.random.rand(), list({'a', 'b', 'c', 'd', 'e'})"
    )
    assert run(source) == run(source)


def test_a_program_keeps_its_state_between_calls_and_shares_none(level):
    source = "n = 0\ndef f():\n    global n\n    n += 1\n    return n"
    with Sandbox(source, level=level) as one, Sandbox(source, level=level) as other:
        assert [one.call("f"), one.call("f"), other.call("f")] == [1, 2, 1]


def test_installed_packages_can_be_imported(run):
    pytest.importorskip("scipy")
    assert run("from scipy.optimize import brentq\ndef f(): return brentq(lambda x: x - 1, 0, 3)")


# --- errors --------------------------------------------------------------------------------


def test_what_a_program_raises_is_told_with_its_own_lines_only(level):
    source = "def g(x):\n    return 1 / x\n\ndef f(x):\n    return g(x) + 1\n"
    with Sandbox(source, level=level) as box:
        with pytest.raises(ProgramError) as error:
            box.call("f", 0)
        lines = str(error.value).splitlines()
        assert [line for line in lines if set(line) - set(" ~^")] == [
            "Traceback (most recent call last):",
            '  File "<program>", line 5, in f',
            "    return g(x) + 1",
            '  File "<program>", line 2, in g',
            "    return 1 / x",
            "ZeroDivisionError: division by zero",
        ]
        assert box.call("f", 1) == 2  # it can still be called


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def f(:", r'File "<program>", line 1\n.*def f\(:\n.*\nSyntaxError: invalid syntax'),
        ("import no_such_module", r"line 1, in <module>\n.*\nModuleNotFoundError: No module named"),
        ("x = '\ud800'", r"UnicodeEncodeError"),
        ("x = 1\0", r"(Syntax|Value)Error: source code .*null bytes"),
        ("raise SystemExit(3)", r"SystemExit: 3"),
    ],
)
def test_a_program_that_cannot_be_loaded_is_told_why(strongest, source, message):
    with pytest.raises(ProgramError, match=message):
        Sandbox(source, level=strongest)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("g = 1", r"must define a function 'f'"),
        ("f = 1", r"must define a function 'f'"),
        ("def f(x): return 1", r"TypeError: f\(\) missing 1 required positional argument"),
        ("def f(): return {1}", r"set is neither a JSON value nor an array of numbers"),
        ("def f(): return 1j", r"complex is neither"),
        ("def f(): return b''", r"bytes is neither"),
        ("def f():\n    x = []\n    x.append(x)\n    return x", r"Circular reference"),
        ("import numpy as np\ndef f(): return np.array(['a'])", r"TypeError: Cannot cast array"),
        ("import numpy as np\ndef f(): return np.array([1j])", r"TypeError: Cannot cast array"),
        ("import numpy as np\ndef f(): return np.array([2**63], 'u8')", r"TypeError: Cannot cast"),
        ("def f():\n    raise ValueError('a\\x1b\\ud800\\x00b')", r"ValueError: a\ufffd+b"),
    ],
)
def test_a_wrong_function_or_result_is_named(run, source, message):
    with pytest.raises(ProgramError, match=message):
        run(source)


def test_a_long_complaint_is_cut_in_the_middle(run):
    with pytest.raises(ProgramError) as error:
        run("def f(): raise ValueError('x' * 10**6)")
    assert len(str(error.value)) < 2100
    assert "[...]" in str(error.value)
    with pytest.raises(ProgramError, match="RecursionError: maximum recursion depth") as error:
        run("def f(): return f()")
    assert len(str(error.value)) < 2100


def test_a_sandbox_that_is_over_says_again_why(level):
    with Sandbox("import os\ndef f(): os._exit(7)", level=level) as box:
        for _ in range(2):
            with pytest.raises(ProgramError, match=r"ended the interpreter \(exit status 7\)"):
                box.call("f")
    with pytest.raises(ProgramError, match="ended the interpreter"):
        box.call("f")
    with Sandbox(ECHO, level=level) as box:
        pass
    with pytest.raises(ProgramError, match="the sandbox is closed"):
        box.call("f", 1)
    box.close()


def test_time_is_counted_over_all_calls_and_not_between_them(level):
    # the two calls sleep for 0.6 of 1 second each; a sleep is never shorter than asked
    with Sandbox("from time import sleep\ndef f(t): sleep(t)", level=level, seconds=1.0) as box:
        box.call("f", 0.6)
        with pytest.raises(ProgramError, match="ran longer than 1 s"):
            box.call("f", 0.6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": 3}, "source must be a str, got 3"),
        ({"seconds": 0}, r"seconds must be a finite number in \[0.001, 1000000.0\], got 0"),
        ({"memory": 10}, "memory must be an integer in"),
        ({"output": 10}, "output must be an integer in"),
        ({"level": "docker"}, "level must be one of 'auto', 'bubblewrap', 'landlock', 'limits'"),
    ],
)
def test_a_wrong_argument_is_named(arguments, message):
    with pytest.raises(UsageError, match=message):
        Sandbox(**{"source": "", **arguments})


def test_arguments_that_cannot_travel_are_refused_and_the_program_lives(level):
    with Sandbox(ECHO, level=level) as box:
        with pytest.raises(UsageError, match="arguments must be JSON values and arrays: set is"):
            box.call("f", {1})
        assert box.call("f", 1) == 1
