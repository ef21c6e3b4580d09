from __future__ import annotations

import io
import math
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

import bbopt
from bbopt.errors import UsageError
from bbopt.testing import ProblemContract

NAMES = ["share", "eta", "weight"]
LOW = np.float32([0.05, 1e-5, 0.0])
HIGH = np.float32([1.0, 1.0, 10.0])

CSV = """\
lr,depth,booster,noise level,value
0.1,3,tree,0.5,0.25
0.01,4,tree,1,0.125
0.001,3,linear,0.25,0.75
0.1,8,linear,0.5,0.5
"""


def arrays(n=40, **changes):
    rng = np.random.default_rng(0)
    x = np.column_stack(
        [rng.uniform(0.05, 1, n), 10 ** rng.uniform(-5, 0, n), rng.uniform(0, 10, n)]
    ).astype(np.float32)
    x[0], x[1] = LOW, HIGH  # rows on the bounds, as single precision rounds them
    contents = {
        "X": x,
        "y": np.round(rng.random(n), 2).astype(np.float32),
        "names": np.array(NAMES),
        "low": LOW,
        "high": HIGH,
        "log": np.array([False, True, False]),
        "minimise": np.array(True),
    }
    return {key: value for key, value in (contents | changes).items() if value is not None}


@pytest.fixture
def npz(tmp_path):
    def write(**changes):
        path = tmp_path / "table.npz"
        np.savez_compressed(path, **arrays(**changes))
        return str(path)

    return write


@pytest.fixture
def csv(tmp_path):
    def write(text=CSV, name="table.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def table(path, **arguments):
    return bbopt.problem("hpo/table", path=path, **arguments)


class TestNpzTable(ProblemContract):
    @pytest.fixture
    def problem(self, npz):
        return table(npz())


class TestMaximisedNpzTable(ProblemContract):
    @pytest.fixture
    def problem(self, npz):
        return table(npz(minimise=np.array(False)))


class TestCsvTable(ProblemContract):
    @pytest.fixture
    def problem(self, csv):
        return table(csv(), direction="maximize", log="lr, depth")


class TestSharedTable(ProblemContract):
    @pytest.fixture
    def problem(self):
        file = "hpobench_xgb/task_00.npz"
        folder = os.environ.get("BBOPT_DATA")
        if not folder or not (Path(folder) / file).is_file():
            pytest.skip(f"no {file} in the folder that BBOPT_DATA names ({folder})")
        return table(file)

    def test_it_holds_a_thousand_rows_with_the_values_of_the_file(self, problem):
        with np.load(Path(os.environ["BBOPT_DATA"]) / "hpobench_xgb/task_00.npz") as data:
            x, y, names = data["X"], data["y"], data["names"].tolist()
        candidates = problem.spec.candidates
        assert len(candidates) == len(y) == 1000
        for row, value in zip(x, y, strict=True):
            assert problem.truth(dict(zip(names, map(float, row), strict=True))) == float(value)
        assert problem.optimum == float(y.min())
        ranges = [(d.low, d.high, d.log) for d in problem.spec.space.values()]
        assert ranges[0] == (0.05, 1.0, False)
        assert ranges[2:] == [(1e-5, 1.0, True), (0.05, 10, True), *[(1e-5, 2.0, True)] * 2]


# --- npz -----------------------------------------------------------------------------------


def test_every_row_is_valid_and_has_exactly_its_value(npz):
    problem, contents = table(npz()), arrays()
    for i, (row, value) in enumerate(zip(contents["X"], contents["y"], strict=True)):
        params = dict(zip(NAMES, map(float, row), strict=True))
        assert problem.spec.candidates[i] == params
        assert problem.spec.space.validate(params) == params
        assert problem.truth(params) == float(value)


def test_a_range_says_what_was_meant_and_holds_the_rows_that_rounding_puts_outside(npz):
    space = table(npz()).spec.space
    assert float(np.float32(1e-5)) < 1e-5
    assert space["eta"] == bbopt.Float(float(np.float32(1e-5)), 1.0, log=True)
    assert float(np.float32(0.05)) > 0.05
    assert space["share"] == bbopt.Float(0.05, 1.0)
    unit = table(npz()).spec.candidates.x
    assert unit[:2].tolist() == [[pytest.approx(0, abs=1e-7), 0, 0], [1, 1, 1]]


def test_direction_and_optimum_follow_minimise(npz):
    y = arrays()["y"].astype(float)
    least, greatest = table(npz()), table(npz(minimise=np.array(False)))
    assert (least.spec.direction, least.optimum) == ("minimize", y.min())
    assert (greatest.spec.direction, greatest.optimum) == ("maximize", y.max())


def test_the_spec_gives_nothing_away(npz):
    spec = table(npz()).spec
    assert spec.value_range is None
    assert spec.deterministic is True


def test_optimal_params_are_all_rows_with_the_best_value(npz):
    y = arrays()["y"].copy()
    y[[3, 17]] = -1
    problem = table(npz(y=y))
    assert problem.optimal_params == [problem.spec.candidates[i] for i in (3, 17)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": None}, r"lacks y; it has X, names, low"),
        ({"low": None, "names": None}, r"lacks names, low; it has X, y, high"),
        ({"X": np.ones(3)}, r"X must have shape \(n, d\), both at least 1, got \(3,\)"),
        ({"X": np.ones((0, 3))}, r"X must have shape \(n, d\), both at least 1, got \(0, 3\)"),
        ({"y": np.ones(7)}, r"y must have shape \(40,\), got \(7,\)"),
        ({"names": np.array(["a"])}, r"names must have shape \(3,\), got \(1,\)"),
        ({"names": np.array([1, 2, 3])}, r"names must hold texts, got int64"),
        ({"names": np.array(["a", "b", "a"])}, r"two columns are called 'a'"),
        ({"names": np.array(["a", "", "c"])}, r"a column has no name"),
        ({"log": np.array([0.5, 1, 1])}, r"log must hold booleans, got float64"),
        ({"minimise": np.array([True])}, r"minimise must have shape \(\), got \(1,\)"),
        ({"y": np.full(40, np.nan)}, r"y must be finite, got NaN or infinity"),
        ({"X": np.full((40, 3), np.inf)}, r"X must be finite, got NaN or infinity"),
        ({"X": np.full((40, 3), "a")}, r"X must hold numbers, got <U1"),
        ({"high": np.ones(3)}, r"parameter 'weight': must be in \[0.0, 1.0\], got 10.0"),
        ({"low": np.array([0.5, 1e-5, 0])}, r"'share': must be in \[0.5, 1.0\], got 0.05"),
        ({"log": np.ones(3, bool)}, r"parameter 'weight': Float: low must be > 0 when log=True"),
        ({"y": np.array([None] * 40)}, r"cannot be read: Object arrays cannot be loaded"),
    ],
)
def test_a_faulty_npz_file_is_named_with_its_fault(npz, changes, message):
    path = npz(**changes)
    with pytest.raises(UsageError, match=message) as error:
        table(path)
    assert path in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"", "is no npz file"),
        (lambda data: b"hello", "is no npz file"),
        (lambda data: data[:-30], "is no npz file"),
        (lambda data: data[:100] + bytes(40) + data[140:], "is damaged|cannot be read"),
    ],
)
def test_a_damaged_npz_file_is_refused(npz, damage, message):
    path = Path(npz())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UsageError, match=message):
        table(str(path))


def test_an_npz_entry_that_is_no_array_is_refused(npz):
    path = npz(y=None)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("y", "hello")
    with pytest.raises(UsageError, match=r"y must have shape \(40,\), got \(\)"):
        table(path)


def test_an_npy_file_is_no_npz_file(tmp_path):
    stream = io.BytesIO()
    np.save(stream, np.ones(3))
    (tmp_path / "table.npz").write_bytes(stream.getvalue())
    with pytest.raises(UsageError, match="is no npz file"):
        table(str(tmp_path / "table.npz"))


# --- CSV -----------------------------------------------------------------------------------


def test_columns_of_a_csv_file_have_the_kind_of_their_cells(csv):
    space = table(csv(), log="lr").spec.space
    assert dict(space) == {
        "lr": bbopt.Float(0.001, 0.1, log=True),
        "depth": bbopt.Int(3, 8),
        "booster": bbopt.Categorical(("linear", "tree")),
        "noise level": bbopt.Float(0.25, 1.0),
    }


def test_every_row_of_a_csv_file_has_its_value(csv):
    problem = table(csv())
    row = {"lr": 0.01, "depth": 4, "booster": "tree", "noise level": 1.0}
    assert problem.truth(row) == problem.optimum == 0.125
    assert problem.spec.candidates[1] == row
    assert problem.evaluate(bbopt.Trial(0, row), np.random.default_rng(0)) == [0.125]


def test_the_objective_is_the_named_column_else_value_else_the_last(csv):
    text = "a,value,b\n1,10,5\n2,20,3\n"
    assert table(csv(text)).optimum == 10
    assert table(csv(text), value="a", direction="maximize").optimum == 2
    assert table(csv("a,b,c\n1,10,5\n2,20,3\n")).optimum == 3


def test_equal_rows_with_equal_values_count_once(csv):
    problem = table(csv("a,b,value\n1,x,5\n2,x,6\n1,x,5\n"))
    assert len(problem.spec.candidates) == 2


def test_a_csv_file_from_a_spreadsheet_is_read(tmp_path):
    path = tmp_path / "sheet.csv"
    path.write_bytes('\ufeffname, value\r\n"a, b",1\r\n\r\nc,2e0\r\n'.encode())
    problem = table(str(path))
    assert list(problem.spec.space) == ["name"]
    assert problem.truth({"name": "a, b"}) == 1.0


def test_text_that_python_would_read_as_a_number_stays_text(csv):
    space = table(csv("size,value\n1_0,1\n2_0,2\n")).spec.space
    assert space["size"] == bbopt.Categorical(("1_0", "2_0"))


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        (CSV, {"value": "loss"}, r"value: .* has no column 'loss'; it has lr, depth, booster"),
        (CSV, {"log": "eta"}, r"log: .* has no column 'eta'; it has lr, depth"),
        (CSV, {"log": "value"}, r"log: .* has no column 'value'; it has lr"),
        (CSV, {"log": "booster"}, r"column 'booster': a log scale needs numbers, got texts"),
        ("a,value\n0,1\n1,2\n", {"log": "a"}, r"column 'a': Int: low must be > 0 when log=True"),
        (CSV, {"value": "booster"}, r"the objective 'booster' must be numbers"),
        ("a,value\n1,nan\n", {}, r"line 2: column 'value' must be finite numbers"),
        ("a,value\n1,2\n\n1e999,2\n", {}, r"line 4: column 'a' must be finite numbers"),
        ("a,value\n1,2\n3,\n", {}, r"line 3: column 'value' is empty"),
        ("a,value\n1,2\n3\n", {}, r"line 3: 1 cells for 2 columns"),
        ("a,a,value\n1,2,3\n", {}, r"two columns are called 'a'"),
        ("a,,value\n1,2,3\n", {}, r"a column has no name"),
        ("a,value\n", {}, r"needs a header and at least one row"),
        ("", {}, r"needs a header and at least one row"),
        ("value\n1\n", {}, r"needs a column besides the objective 'value'"),
        ("a,b,value\n1,x,5\n1,x,6\n", {}, r"{'a': 1, 'b': 'x'} has two values, 5.0 and 6.0"),
        ('a,value\n"1,2\n', {}, r"cannot be read: unexpected end of data"),
    ],
)
def test_a_faulty_csv_file_is_named_with_its_fault(csv, text, arguments, message):
    path = csv(text)
    with pytest.raises(UsageError, match=message) as error:
        table(path, **arguments)
    assert path in str(error.value)
    assert "\n" not in str(error.value)


def test_a_csv_file_of_bytes_is_refused(tmp_path):
    (tmp_path / "table.csv").write_bytes(b"a,value\n\xff\xfe,1\n")
    with pytest.raises(UsageError, match=r"table\.csv: cannot be read: .*utf-8"):
        table(str(tmp_path / "table.csv"))


# --- arguments and paths -------------------------------------------------------------------


def test_a_point_that_is_no_row_is_refused(csv):
    problem = table(csv())
    with pytest.raises(UsageError, match=r"table\.csv has no row {'lr': 0.05"):
        problem.truth({"lr": 0.05, "depth": 3, "booster": "tree", "noise level": 0.5})


@pytest.mark.parametrize("argument", ["value", "direction", "log"])
def test_an_argument_for_csv_files_is_refused_with_an_npz_file(npz, argument):
    given = {"value": "y", "direction": "minimize", "log": "eta"}[argument]
    with pytest.raises(UsageError, match=f"{argument} is for CSV files"):
        table(npz(), **{argument: given})


def test_a_wrong_direction_is_refused(csv):
    with pytest.raises(UsageError, match=r"direction must be one of 'minimize', .*got 'up'"):
        table(csv(), direction="up")


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "table.json").write_text("[]")
    with pytest.raises(UsageError, match=r"path must end in \.npz or \.csv, got '.*table\.json'"):
        table(str(tmp_path / "table.json"))


@pytest.mark.parametrize("path", [3, None, True])
def test_a_path_that_is_no_text_is_refused(path):
    with pytest.raises(UsageError, match="path must be the path of a file"):
        table(path)


def test_the_path_is_required():
    with pytest.raises(UsageError, match="problem 'hpo/table' needs the argument 'path'"):
        bbopt.problem("hpo/table")


def test_a_relative_path_is_looked_up_here_then_in_the_data_folder(csv, tmp_path, monkeypatch):
    here, data = tmp_path / "here", tmp_path / "data"
    here.mkdir()
    (data / "sub").mkdir(parents=True)
    csv("a,value\n1,1\n", "data/sub/t.csv")
    monkeypatch.chdir(here)
    monkeypatch.delenv("BBOPT_DATA", raising=False)
    with pytest.raises(UsageError, match=r"no such file: sub/t\.csv \(BBOPT_DATA is not set\)"):
        table("sub/t.csv")
    monkeypatch.setenv("BBOPT_DATA", str(data))
    assert table("sub/t.csv").optimum == 1
    (here / "sub").mkdir()
    csv("a,value\n1,2\n", "here/sub/t.csv")
    assert table("sub/t.csv").optimum == 2
    with pytest.raises(UsageError, match=r"no such file: other\.csv or .*data/other\.csv$"):
        table("other.csv")


def test_a_table_keeps_its_contents_when_the_file_goes(csv):
    path = csv()
    problem = table(path)
    Path(path).unlink()
    assert math.isclose(problem.optimum, 0.125)
    assert len(problem.spec.candidates) == 4
