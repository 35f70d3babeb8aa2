"""The benchmarks run, say what they have found, and notice what got worse."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from docutils.core import publish_doctree

from benchmarks import calls
from benchmarks.gate import TOLERANCE, compared
from benchmarks.gate_paths import KERNEL
from benchmarks.results import Results, page, shown
from benchmarks.rounds import Cell, Table, ratio, turns
from benchmarks.targets import TARGETS, Target
from benchmarks.walk import climbs, stays_of, way_of_a_changed_key
from tests.tools.servers import ROOT


def table(**values):
    """Return a table with one case, from the values of each candidate."""
    cells = [Cell("1 thread", name, tuple(of)) for name, of in values.items()]
    return Table("durable set", "operations/s", more_is_better=True, cells=cells)


def test_candidates_take_turns_and_another_one_begins_each_round():
    order = []
    works = {name: lambda name=name: order.append(name) or 1.0 for name in "abc"}
    table = Table("a table", "s", more_is_better=False)
    table.measure("a case", works, 3, lambda: None)
    assert "".join(order) == "abcbcacab"
    assert [len(cell.probes) for cell in table.cells] == [3, 3, 3]
    assert [*turns([], 1)] == []


def test_a_ratio_is_the_median_of_the_rounds_ratios():
    ours, theirs = Cell("", "", (10.0, 2.0, 30.0)), Cell("", "", (1.0, 1.0, 10.0))
    assert ratio(ours, theirs, more_is_better=True) == 3
    assert ratio(theirs, ours, more_is_better=False) == 3
    assert ratio(ours, Cell("", "", (1.0, 0.0, 1.0)), more_is_better=True) is None


def test_a_target_is_found_in_the_table_it_is_for():
    target = Target("durable set", "1 thread", "other", 2)
    assert target.reached([table(litesess=[30], other=[10])]) == 3
    assert target.reached([table(litesess=[30])]) is None
    assert target.reached([]) is None


def test_what_was_measured_is_kept_as_it_is(tmp_path):
    results = Results("python -m benchmarks", {"cores": "2"}, [table(litesess=[1.5, 2.0])])
    results.save(tmp_path / "results.json")
    assert Results.load(tmp_path / "results.json") == results


@pytest.mark.parametrize(
    ("number", "text"),
    [(None, ""), (0.0, "0"), (0.0123, "0.012"), (0.85, "0.85"), (12.34, "12.3"), (9876, "9 876")],
)
def test_numbers_are_shown_with_the_digits_that_count(number, text):
    assert shown(number) == text


@pytest.mark.parametrize(("times", "is_good"), [(1.0, True), (1.05, True), (1.2, False)])
def test_a_path_that_takes_much_more_work_than_before_is_noticed(times, is_good, capsys):
    before = {KERNEL: 1.0, "load": 0.5}
    assert compared({KERNEL: 2000.0, "load": 1000.0 * times}, before) is is_good
    assert ("much more work" in capsys.readouterr().out) is not is_good
    assert 1.05 < TOLERANCE < 1.2


@pytest.mark.slow
def test_the_benchmarks_run_and_write_their_page(tmp_path):
    results = tmp_path / "results.json"
    command = [sys.executable, "-m", "benchmarks", "--rounds", "1", "--seconds", "0.02"]
    command += ["--sessions", "300", "--only", "stores", "million", "middleware", "moving"]
    command += ["--results", str(results), "--docs", str(tmp_path)]
    run = subprocess.run(
        command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    names = [it["name"] for it in json.loads(results.read_text())["tables"]]
    assert {
        "durable set",
        "get",
        "touch",
        "memory",
        "read request",
        "copy",
        "very many sessions, waiting",
    } <= {*names}
    measured = {target.table for target in TARGETS} - {"gunicorn, 1 worker x 16 threads"}
    assert measured <= {*names}
    text = (tmp_path / "benchmarks.rst").read_text()
    publish_doctree(text, settings_overrides={"halt_level": 2, "report_level": 5})
    assert text == page(
        Results.load(results), [each.name for each in tmp_path.glob("benchmarks/*.svg")]
    )


def test_a_changed_key_goes_straight_down_to_the_disk(tmp_path):
    stays = stays_of(way_of_a_changed_key(tmp_path))
    modules = [stay[0].module for stay in stays]
    assert (modules[0], modules[-1]) == ("litesess.web.session", "litesess.engine.fs")
    assert climbs(stays) <= 5, modules


def test_the_functions_that_a_request_calls_are_counted_by_kind():
    def work():
        for number in range(3):
            abs(number)
        one_more()
        one_more()

    def one_more():
        pass

    assert calls.functions(work) == {"Python": 3, "different": 2, "ours": 0, "C": 3}


def test_a_request_that_calls_more_than_before_is_told_of(capsys):
    recorded = {"a request": {"Python": 100, "C": 100, "system": 2}}
    found = {"a request": {"Python": 102, "C": 50, "system": 2}, "a new one": {"Python": 5}}
    assert calls.compared(found, recorded)
    found["a request"]["system"] = 5
    assert not calls.compared(found, recorded)
    assert "more than before: system" in capsys.readouterr().out
