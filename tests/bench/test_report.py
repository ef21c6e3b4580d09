import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import pytest

import bbopt
from bbopt.bench.comparison import Comparison
from bbopt.bench.page import CURVES, interval, number
from bbopt.bench.plots import _apart, looks
from bbopt.bench.report import FILES, make_page, write_report
from bbopt.bench.runner import Bench
from bbopt.bench.verdict import verdict_rows, win_rows
from bbopt.budget import Budget
from bbopt.errors import MissingExtra, UsageError

VOID = {"meta", "br", "wbr"}


class Reader(HTMLParser):
    """Checks that tags are balanced, and gathers what a browser would look at."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.words = [], Counter(), []
        self.ids, self.links, self.uses = [], [], []
        self.figures = []  # how many shapes each has
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags[tag] += 1
        if tag == "svg":
            self.figures.append(0)
        self.figures[-1:] = [n + (tag == "path") for n in self.figures[-1:]]
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            elif name.endswith("href") and tag == "use":
                self.uses.append(value.removeprefix("#"))
            elif name in ("src", "srcset", "data", "action") or name.endswith("href"):
                self.links.append(value)
            self.uses += re.findall(r"url\(#([^)]*)\)", value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data.strip())

    @property
    def text(self):
        return " ".join(word for word in self.words if word)


def page_of(records, *, n_missing=0):
    session = {
        "command": "bbopt bench tiny",
        "started": "2030-01-01 12:00:00 +0000",
        "processor": "A processor",
        "cores": 2,
        "system": "Linux",
        "load": 0.5,
    }
    bench = Bench("A <title>", "What & why.", "tiny", [session], list(records), n_missing)
    return make_page(bench, Comparison.apart(bench.records)).html()


@pytest.fixture(scope="module")
def records(make_record):
    """Nine methods on two problems, one of which knows its optimum."""
    methods = ["random", *(f"family:m{i}" for i in range(8))]
    found = []
    for seed in range(3):
        for i, method in enumerate(methods):
            steps = [(1, 9.0 + seed), (3 + i % 5, 4.0 + 0.3 * i), (10, 1.0 + 0.1 * i + 0.05 * seed)]
            found.append(make_record(method, seed, steps, optimum=0.5, problem="known"))
            steps = [(n, -value) for n, value, *_ in steps]
            test = {"test_value": 0.9 + 0.001 * i}
            found.append(
                make_record(
                    method, seed, steps, direction="maximize", problem="unknown", summary=test
                )
            )
    return found


@pytest.fixture(scope="module")
def page(records):
    """The page of ``records``."""
    return page_of(records)


def test_the_page_is_whole_and_fetches_nothing(page):
    reader = Reader(page)
    assert reader.tags["script"] == 0
    assert sorted(reader.links) == sorted(f"{name}.csv" for name in FILES)
    assert "@import" not in page
    assert len(page.encode()) < 3_000_000
    assert 'name="viewport"' in page


def test_every_figure_has_something_to_see(page):
    reader = Reader(page)
    # a problem each, over evaluations and over seconds; four over all; overhead and its growth
    assert len(reader.figures) == 2 + 2 + 4 + 2
    # nine curves and their bands, axes, ticks and grid
    assert all(n > 20 for n in reader.figures)


def test_methods_that_never_met_have_verdicts_of_their_own(make_record):
    found = [
        make_record(f"{problem}{method}", seed, [(1, 9.0), (9, 1.0 + seed + method)], problem=name)
        for problem, names in (("x", ("one", "two")), ("y", ("three",)))
        for name in names
        for method in range(3)
        for seed in range(2)
    ]
    page = page_of(found)
    for heading in ("Verdict", "All problems together"):
        assert f"<h2>{heading}: one, two</h2>" in page
        assert f"<h2>{heading}: three</h2>" in page
    assert "6 methods on 3 problems" in Reader(page).text
    assert "not run" not in page
    assert "of 6. By its mean" not in page
    assert [name for name, n in Counter(Reader(page).ids).items() if n > 1] == []


def test_identifiers_are_unique_and_what_is_referred_to_is_there(page):
    reader = Reader(page)
    assert [name for name, n in Counter(reader.ids).items() if n > 1] == []
    assert reader.uses
    assert set(reader.uses) <= set(reader.ids)


def test_equal_benches_give_equal_pages(records, page):
    assert page_of(records) == page


def test_every_curve_has_its_name_beside_it(records, page):
    for svg in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)[:5]:
        for method in Comparison.of(records).methods:
            assert re.search(f">{method}</text>", svg)


def test_the_numbers_on_the_axes_are_not_rounded_with_the_coordinates(make_record):
    records = [make_record("a", s, [(1, 0.0171), (5, 0.0152 + 1e-4 * s)]) for s in range(3)]
    svg = re.findall(r"<svg.*?</svg>", page_of(records), flags=re.DOTALL)[0]
    labels = set(re.findall(r">(0\.\d+)</text>", svg))
    assert len(labels) > 3
    assert all(len(label) >= 6 for label in labels)


def test_the_verdict_comes_first_and_says_how_sure_it_is(page):
    text = Reader(page).text
    assert text.index("Verdict") < text.index("Progress")
    assert "random has the best mean rank, 1.00 of 9." in text
    said = "it is the best on 2 and no worse than the best on 0 more of 2 problems."
    assert f"{said} It leads family: m0 by 1.00 [1, 1] in rank." in text
    assert "With 3 runs a method, such intervals come out too short" in text


def test_a_method_that_is_ahead_more_often_by_means_is_named_beside_that_of_the_best_rank(
    make_record,
):
    """a wins two seeds of three everywhere, and loses the third by far on all but one problem."""
    lost = {"p0": 9.0, "p1": 9.0, "p2": 2.5}
    records = [
        make_record(method, seed, [(1, 10.0), (5, end)], problem=problem)
        for problem in lost
        for method, ends in {"a": (1.0, 1.0, lost[problem]), "b": (2.0, 2.0, 2.0)}.items()
        for seed, end in enumerate(ends)
    ]
    text = Reader(page_of(records)).text
    assert "a has the best mean rank" in text
    assert "it is the best on 1 and no worse than the best on 2 more of 3 problems" in text
    assert "By means, b is the best most often: on 2 problems." in text
    some = [record for record in records if record.cell.problem_label == "p2"]
    assert "By means, b" not in Reader(page_of(some)).text


def test_values_to_be_maximised_are_shown_with_their_own_sign(page):
    text = Reader(page).text
    assert "10 evaluations · value ↑ −1.05 best −1.15 −0.1 [−0.1, −0.1]" in text
    assert "10 evaluations · regret ↓ 0.55 best 0.65 +0.1 [0.1, 0.1]" in text


def test_a_verdict_that_is_not_sure_says_so(make_record):
    ends = {"a": (1.0, 2.0, 3.0), "b": (1.1, 1.9, 3.2)}
    records = [
        make_record(method, seed, [(1, 9.0), (5, end)])
        for method in ends
        for seed, end in enumerate(ends[method])
    ]
    text = Reader(page_of(records)).text
    assert "Its lead over b is not certain: 0.33 [−1, 1] in rank." in text
    assert "no worse" in text


@pytest.mark.parametrize(
    ("methods", "seeds", "problems"), [(1, 1, 1), (1, 3, 2), (2, 1, 1), (2, 1, 2)]
)
def test_a_small_bench_has_a_page_too(make_record, methods, seeds, problems):
    records = [
        make_record(f"m{m}", seed, [(1, 3.0), (5, 2.0 + m)], problem=f"p{p}")
        for m in range(methods)
        for seed in range(seeds)
        for p in range(problems)
    ]
    reader = Reader(page_of(records, n_missing=7))
    assert "7 runs of the grid still to come." in reader.text
    assert all(n > 5 for n in reader.figures)


def test_a_run_that_only_ever_had_the_optimum_is_drawn_all_the_same(make_record):
    records = [make_record("a", seed, [(1, 0.0)], optimum=0.0) for seed in range(2)]
    assert all(n > 5 for n in Reader(page_of(records)).figures)


def test_names_are_text_and_never_markup(make_record):
    records = [make_record("<b>&", 0, [(1, 3.0)], problem="<script>alert()</script>")]
    reader = Reader(page_of(records))
    assert reader.tags["script"] == reader.tags["b"] - 1 == 0, "one <b> is the page's own"
    assert "<script>alert()</script>" in reader.text


def test_what_failed_was_stopped_or_skipped_is_listed_once_a_reason(make_record):
    records = [make_record("a", 0, [(1, 3.0)])]
    records += [make_record("b", s, [], status="failed", error="ValueError: no") for s in (0, 1)]
    records.append(make_record("c", 0, [(1, 4.0)], status="stopped", stop_reason="time limit"))
    records.append(make_record("d", 0, [], status="skipped", error="pip install '.[metabo]'"))
    text = Reader(page_of(records)).text
    assert "b p failed 2 ValueError: no" in text
    assert "c p stopped 1 time limit" in text
    assert "d p skipped 1 pip install '.[metabo]'" in text


def test_without_trouble_there_is_no_list_of_it(page):
    assert "Failed, stopped" not in Reader(page).text


def test_spend_is_the_mean_of_a_run_for_each_budget(records, page):
    assert "LLM calls" not in Reader(page).text
    counts = [{"llm_calls": 3, "tokens": 40}, {"llm_calls": 4, "tokens": 1040}]
    spent = [replace(r, summary=r.summary | c) for r, c in zip(records, counts, strict=False)]
    other = replace(records[0], cell=replace(records[0].cell, budget=Budget(evaluations=7)))
    text = Reader(page_of([*spent, *records[2:], other])).text
    head = "Evaluations LLM calls Tokens Unique Seconds"
    n_runs = sum(r.cell.optimizer_label == "random" for r in records)
    calls, tokens = number(7 / n_runs, 3), number(1080 / n_runs, 3)
    assert f"10 evaluations {head} random 10 {calls} {tokens} 10 1" in text
    assert f"7 evaluations {head} random 10 0 0 10 1" in text


def test_estimates_are_shown_beside_the_truth(make_record):
    records = [
        make_record("a", seed, [(1, 0.9, 0.6 + 0.1 * seed)], problem="up", direction="maximize")
        for seed in range(2)
    ]
    records += [make_record("a", seed, [(1, 0.25, 0.5)], problem="down") for seed in range(2)]
    records.append(make_record("b", 0, [(1, 1.0, 1.5)], problem="down"))
    _, _, table = Reader(page_of(records)).text.partition("What they say of their results")
    assert "up 10 evaluations 0.25 [0.2, 0.3] says 0.9, is 0.65 –" in table
    assert "down 10 evaluations 0.25 [0.25, 0.25] says 0.25, is 0.5 0.5 says 1, is 1.5" in table


def test_estimates_are_left_out_where_the_truth_is_unknown(make_record):
    records = [make_record("a", 0, [(1, 3.0, None)])]
    assert "What they say" not in Reader(page_of(records)).text


def test_scores_on_data_never_shown_are_those_of_the_problems_that_have_such(page):
    _, _, table = Reader(page).text.partition("On data never shown")
    assert "unknown 10 evaluations ↑ 0.9 [0.9, 0.9] 0.901" in table
    assert "known 10 evaluations · regret" not in table


def test_nothing_to_report_says_why(tmp_path, make_cell, make_record):
    from bbopt.bench.record import dumps
    from bbopt.bench.runner import open_bench

    cell = make_cell()
    words = {"title": "T", "description": "", "suite": "s", "command": "c"}
    open_bench(tmp_path, [cell], **words)
    record = replace(make_record("random", 0, [], status="failed", error="E: no"), cell=cell)
    (tmp_path / "cells" / f"{cell.key}.json").write_text(dumps(record))
    with pytest.raises(UsageError, match="no run gave a value; the first error is: E: no"):
        write_report(tmp_path)


def test_without_matplotlib_the_extra_is_named(records, tmp_path, monkeypatch):
    (tmp_path / "matplotlib.py").write_text(
        "raise ModuleNotFoundError('No module', name='matplotlib')"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "matplotlib", raising=False)
    with pytest.raises(MissingExtra, match=r"pip install '\.\[bench\]'"):
        page_of(records)


# --- words and places ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (53.87654, "53.88"),
        (12345.6, "12350"),
        (0.000123456, "0.0001235"),
        (-0.5, "−0.5"),
        (3.2e-7, "3.2e−7"),
        (-1.23e9, "−1.2e9"),
        (float("inf"), "∞"),
        (float("nan"), "–"),
        (None, "–"),
    ],
)
def test_numbers_for_people(value, text):
    assert number(value) == text


def test_an_unknown_interval_is_left_out():
    assert interval(float("nan"), float("nan")) == ""
    assert interval(-1.0, 0.25) == "[−1, 0.25]"


def test_names_are_moved_apart_as_little_as_needed():
    assert _apart([0.1, 0.5, 0.9], 0.2) == pytest.approx([0.1, 0.5, 0.9])
    assert _apart([0.5, 0.5], 0.2) == pytest.approx([0.4, 0.6])
    crowded = _apart([0.0, 0.0, 0.0, 0.15, 0.9], 0.1)
    assert crowded == pytest.approx([-0.1125, -0.0125, 0.0875, 0.1875, 0.9])


def test_every_method_has_its_own_look_and_random_search_is_grey():
    methods = ["sobol", "random", *(f"m{i}" for i in range(20))]
    found = looks(methods)
    assert len(set(found.values())) == len(methods)
    assert found["random"].colour == "#8c8c8c"
    assert looks(methods[:3])["sobol"] == found["sobol"]


def test_the_page_names_the_version_that_wrote_it(page):
    assert f"Written by bbopt {bbopt.__version__}." in Reader(page).text


def test_the_numbers_of_page_and_figures_lie_beside_it(records):
    bench = Bench("T", "", "t", [], records, 0)
    comparison = Comparison.of(records)
    page = make_page(bench, [comparison])
    curves = [dict(zip(CURVES, row, strict=True)) for row in page.numbers]
    final = [
        row
        for row in curves
        if (row["figure"], row["problem"], row["axis"], row["x"])
        == ("progress", "known", "evaluations", 10.0)
    ]
    (task, _) = comparison.tasks
    assert {row["optimizer"]: row["y"] for row in final} == {
        method: pytest.approx(task.standings[method].final.mean) for method in comparison.methods
    }
    assert all(row["low"] <= row["y"] <= row["high"] for row in final)
    figures = {"progress", "mean rank", "targets reached", "performance profile", "overhead"}
    assert {row["figure"] for row in curves} == figures
    head, *rows = verdict_rows([comparison])
    assert {len(row) for row in rows} == {len(head)}
    (best,) = (row for row in rows if row[0] == "known" and row[3] == "best")
    assert best[2] == "random"
    assert best[4] == pytest.approx(0.55)
    wins = win_rows([comparison])
    assert wins[1] == ["random", "family:m0", 6, 0, 0]
    assert len(wins) == 1 + 9 * 8


def test_the_growth_of_the_overhead_is_a_slope(page):
    # (n^1.5)' grows as the square root of n
    assert re.search(r"family: m0 1 0\.5\d? 100 % 90 % 0 %", Reader(page).text)


@pytest.mark.slow
def test_a_page_of_many_figures_stays_small(make_record):
    records = [
        make_record(
            f"m{m}",
            seed,
            [(n, 10.0 / n + 0.01 * m + 0.001 * seed) for n in range(1, 100, 2)],
            problem=f"p{p}",
            evaluations=100,
            optimum=0.0,
        )
        for m in range(8)
        for p in range(24)
        for seed in range(2)
    ]
    text = page_of(records)
    assert len(Reader(text).figures) == 24 * 2 + 4 + 2
    assert len(text.encode()) < 3_000_000
