import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbopt.cli.pairs import read_pairs
from bbopt.errors import UsageError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.3", 0.3),
        ("1e-4", 1e-4),
        ("-7", -7),
        ("true", True),
        ("False", False),
        ("None", None),
        ("null", None),
        ("[1, 2]", [1, 2]),
        ('"7"', "7"),
        ("linear", "linear"),
        ("", ""),
        ("a=b", "a=b"),
    ],
)
def test_a_value_is_json_where_it_parses_else_text(text, value):
    got = read_pairs("--set", [f"key={text}"])["key"]
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", "nan", "inf"])
def test_what_is_not_finite_stays_a_text_that_checks_refuse(text):
    assert read_pairs("--set", [f"key={text}"]) == {"key": text}


@given(st.text(), st.floats(allow_nan=False, allow_infinity=False))
def test_no_text_breaks_it_and_numbers_come_back(text, number):
    read_pairs("--set", [f"key={text}"])
    assert read_pairs("--set", [f"key={number!r}"]) == {"key": number}


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (["noise"], "--with must be KEY=VALUE, got 'noise'"),
        (["=3"], "--with must be KEY=VALUE, got '=3'"),
        (["a=1", "a=2"], "--with: 'a' is given twice"),
    ],
)
def test_a_pair_that_is_none_is_refused(pairs, said):
    with pytest.raises(UsageError, match=said):
        read_pairs("--with", pairs)
