"""What an optimizer may know of a problem, and the table of allowed params."""

import math

import numpy as np
import pytest

from bbopt import Categorical, Float, Int, Space, Spec, Text
from bbopt.errors import SpaceError, UsageError
from bbopt.spec import Agents, Examples, Table

SPACE = Space({"a": Float(0, 1), "b": Int(0, 9)})
ROWS = [{"b": 3, "a": 0.5}, {"a": 1, "b": 4.0}, {"a": 0.25, "b": 9}]


def test_a_bare_space_leaves_the_rest_unknown():
    spec = Spec(space={"a": Float(0, 1)})
    assert spec.space == Space({"a": Float(0, 1)})
    assert spec.direction == "minimize"
    unknown = ("deterministic", "value_range", "examples", "agents", "candidates", "switch_cost")
    assert [getattr(spec, field) for field in unknown] == [None] * 6


@pytest.mark.parametrize(("direction", "sign"), [("minimize", 1.0), ("maximize", -1.0)])
def test_the_sign_turns_values_into_losses(direction, sign):
    assert Spec(space=SPACE, direction=direction).sign == sign


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"direction": "max"}, "direction must be one of 'minimize', 'maximize', got 'max'"),
        ({"direction": None}, "direction must be one of 'minimize', 'maximize', got None"),
        ({"direction": ["minimize", "maximize"]}, "several objectives are out of scope .*pymoo"),
        ({"objective": 3}, "objective must be of type str, got 3"),
        ({"deterministic": 1}, "deterministic must be one of True, False, None, got 1"),
        ({"deterministic": "yes"}, "deterministic must be one of"),
        ({"value_range": (1, 0)}, r"value_range must be \(low, high\), got \(1, 0\)"),
        ({"value_range": (0, 1, 2)}, r"value_range must be \(low, high\)"),
        ({"value_range": 3}, r"value_range must be \(low, high\), got 3"),
        ({"value_range": (0, math.inf)}, "value_range: a bound must be a finite number, got inf"),
        ({"switch_cost": -1}, "switch_cost must be a finite number >= 0, got -1"),
        ({"examples": (1, 2)}, r"examples must be of type Examples, got \(1, 2\)"),
        ({"agents": 3}, "agents must be of type Agents, got 3"),
        ({"space": [1]}, "space must map at least one name"),
    ],
)
def test_a_bad_field_is_refused_by_name(fields, message):
    with pytest.raises(UsageError, match=message):
        Spec(**{"space": SPACE, **fields})


def test_fields_become_plain_values():
    spec = Spec(
        space=SPACE, deterministic=np.True_, value_range=[np.int64(0), 1], switch_cost=np.int8(2)
    )
    assert spec.deterministic is True
    assert spec.value_range == (0.0, 1.0)
    assert type(spec.switch_cost) is float


def test_a_spec_is_frozen_and_hashable():
    spec = Spec(space=SPACE, examples=Examples((0, 1)), agents=Agents(2, ((0, 1, 1),)))
    with pytest.raises(AttributeError):
        spec.direction = "maximize"
    same = Spec(space=SPACE, examples=Examples((0, 1)), agents=Agents(2, ((0, 1, 1),)))
    assert len({spec, same}) == 1


# --- examples and agents --------------------------------------------------------------


def test_ids_of_examples_are_plain_integers():
    examples = Examples(np.arange(3), range(3, 5))
    assert examples == Examples((0, 1, 2), (3, 4))
    assert all(type(i) is int for i in examples.train + examples.validation)
    with pytest.raises(
        UsageError, match=r"examples\.validation: an id must be an integer, got 'x'"
    ):
        Examples((0,), ("x",))


def test_edges_are_turned_and_sorted_and_made_of_plain_numbers():
    agents = Agents(np.int64(3), [[2, 0, 1], (np.int64(0), 1.0, np.float32(0.5))])
    assert agents.edges == ((0, 1, 0.5), (0, 2, 1.0))
    assert [type(value) for value in agents.edges[0]] == [int, int, float]
    assert type(agents.n) is int


@pytest.mark.parametrize(
    ("n", "edges", "message"),
    [
        (0, (), "agents.n must be an integer >= 1, got 0"),
        (2, ((0, 2, 1.0),), r"agents.edges: an agent must be an integer in \[0, 1\], got 2"),
        (2, None, r"agents.edges must be edges \(i, j, weight\), got None"),
        (2, (0, 1), r"agents.edges: an edge must be \(i, j, weight\), got 0"),
        (2, ((0, 1),), r"agents.edges: an edge must be \(i, j, weight\), got \(0, 1\)"),
        (2, ((0, 1, math.nan),), "agents.edges: a weight must be a finite number, got nan"),
        (2, ((1, 1, 0.5),), r"agents.edges: an edge must join two agents, got \(1, 1, 0.5\)"),
        (2, ((0, 1, 1), (1, 0, 2)), r"agents.edges: an edge must be given once, got \(0, 1\) t"),
    ],
)
def test_bad_agents_are_refused_in_words(n, edges, message):
    with pytest.raises(UsageError, match=message):
        Agents(n, edges)


# --- the table ------------------------------------------------------------------------


def test_rows_and_columns_make_the_same_table():
    by_rows = Spec(space=SPACE, candidates=ROWS).candidates
    columns = {"b": [3, 4, 9], "a": [0.5, 1.0, 0.25]}
    for table in (by_rows, Table(SPACE, columns)):
        assert list(table) == [{"a": 0.5, "b": 3}, {"a": 1.0, "b": 4}, {"a": 0.25, "b": 9}]
        assert [[type(v) for v in row.values()] for row in table] == [[float, int]] * 3
        assert table[-1] == {"a": 0.25, "b": 9}
        assert table[1:] == [table[1], table[2]]
        assert len(table) == 3
        assert np.array_equal(table.x, SPACE.to_unit(ROWS))
        assert table.to_json() == {"a": [0.5, 1.0, 0.25], "b": [3, 4, 9]}
        with pytest.raises(IndexError):
            table[3]


@pytest.mark.parametrize("as_column", [list, np.array, lambda c: np.array(c, dtype=object)])
def test_choices_keep_their_type_in_a_column(as_column):
    space = Space({"flag": Categorical([True, False]), "name": Categorical(["a", "b"])})
    table = Table(space, {"flag": as_column([True, False]), "name": as_column(["b", "a"])})
    assert list(table) == [{"flag": True, "name": "b"}, {"flag": False, "name": "a"}]
    assert all(type(row["flag"]) is bool and type(row["name"]) is str for row in table)
    assert table.x.tolist() == [[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0]]


@pytest.mark.parametrize(
    "choices", [[1, True, 1.0, None, "a"], [1, 2.5], [1, True], ["a", 1], [False, 0.5]]
)
def test_choices_of_several_types_share_a_column(choices):
    table = Table(Space({"c": Categorical(choices)}), {"c": choices})
    assert [(type(row["c"]), row["c"]) for row in table] == [(type(c), c) for c in choices]
    assert np.array_equal(table.x, np.eye(len(choices)))


def test_integers_beyond_two_to_the_53_are_exact_in_a_column():
    space = Space({"seed": Int(0, 2**62)})
    seeds = [2**53 + 1, 2**62 - 1]
    assert [row["seed"] for row in Table(space, {"seed": seeds})] == seeds
    assert [row["seed"] for row in Table(space, [{"seed": s} for s in seeds])] == seeds


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "candidates must hold at least one row, got none"),
        ({"a": [], "b": []}, "candidates must hold at least one row, got none"),
        ([{"a": 0.5, "b": 10}], r"parameter 'b' must be in \[0, 9\], got 10"),
        ({"a": [0.5]}, "candidates must have the columns a, b, got a"),
        ({"a": [0.5], "b": [1], "value": [2]}, "must have the columns a, b, got a, b, value"),
        ({"a": [0.5, 0.5], "b": [1]}, r"candidates must have columns of one length, got \[1, 2\]"),
        ({"a": [0.5], "b": [10]}, r"candidates: parameter 'b' must be in \[0, 9\], got 10"),
        ({"a": [math.nan], "b": [1]}, r"parameter 'a' must be in \[0.0, 1.0\], got nan"),
        ({"a": [0.5], "b": [1.5]}, "parameter 'b' must be an integer, got 1.5"),
        ({"a": ["0.5"], "b": [1]}, r"parameter 'a' must be a column of numbers, got \['0.5'\]"),
        ({"a": 0.5, "b": 1}, "parameter 'a' must be a column of numbers, got 0.5"),
    ],
)
def test_a_bad_table_is_refused_in_words(rows, message):
    with pytest.raises(SpaceError, match=message):
        Spec(space=SPACE, candidates=rows)


def test_an_unknown_choice_in_a_column_is_refused_by_name():
    space = Space({"c": Categorical([1, 2])})
    with pytest.raises(SpaceError, match=r"parameter 'c' must be one of \(1, 2\), got True"):
        Table(space, {"c": [1, True]})


def test_a_table_of_another_space_is_refused():
    other = Table(Space({"a": Float(0, 2), "b": Int(0, 9)}), ROWS)
    with pytest.raises(UsageError, match="candidates must be a table of the spec's own space"):
        Spec(space=SPACE, candidates=other)


def test_a_table_of_texts_has_no_encoding():
    table = Table(Space({"prompt": Text("Say yes.")}), [{"prompt": "Say no."}])
    assert list(table) == [{"prompt": "Say no."}]
    with pytest.raises(SpaceError, match="parameter 'prompt' is a text"):
        _ = table.x
