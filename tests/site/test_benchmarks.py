"""The benchmarks run, say what they have found, and notice what got worse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from xml.etree import ElementTree

import pytest
from docutils.core import publish_doctree

from benchmarks import app_peers, calls, pictures, servers, store_candidates
from benchmarks.answers import answers, as_fast
from benchmarks.gate import TOLERANCE, compared
from benchmarks.gate_paths import KERNEL
from benchmarks.labels import label
from benchmarks.page import bound, page
from benchmarks.results import Results, shown
from benchmarks.rounds import Cell, Table, ratio, turns
from benchmarks.serving import COMMON
from benchmarks.targets import SERVED, TARGETS, Target
from benchmarks.walk import climbs, stays_of, way_of_a_changed_key
from tests.tools.servers import ROOT


def table(name="durable set", case="1 thread", more_is_better=True, /, **values):
    """Return a table with one case, from the values of each candidate."""
    cells = [Cell(case, candidate, tuple(of)) for candidate, of in values.items()]
    return Table(name, "operations/s", more_is_better=more_is_better, cells=cells)


def well_formed(text):
    """Return the document of a page; raise if it is no good reStructuredText."""
    return publish_doctree(text, settings_overrides={"halt_level": 2, "report_level": 5})


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


def test_a_target_for_shares_is_the_share_itself():
    assert {it.case for it in TARGETS if it.table == SERVED} == {"untouched", "read", "counter"}
    target = Target(SERVED, "read", None, 0.8)
    assert target.reached([table(SERVED, "read", litesess=[0.7, 0.9, 0.8])]) == 0.8


def test_a_share_compares_with_the_bare_app_of_the_same_round():
    ours, bare = Cell("read", "litesess", (50.0, 8.0)), Cell("read", "bare app", (100.0, 10.0))
    assert servers.share(ours, bare).values == (0.5, 0.8)


def test_a_part_that_is_measured_again_loses_its_old_tables():
    results = Results("", {}, [table(), table("get"), table("read request")])
    for each, part in zip(results.tables, ("stores", "stores", "middleware"), strict=True):
        each.part = part
    results.drop_old("stores", ["get"])
    assert [each.name for each in results.tables] == ["get", "read request"]


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


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (11.2, "11 times as fast"),
        (1.7, "1.7 times as fast"),
        (1.08, "about as fast"),
        (0.9, "about as fast"),
        (1.0, "about as fast"),
        (0.5, "2.0 times as slow"),
    ],
)
def test_a_sentence_is_true_of_every_ratio(times, words):
    assert as_fast(times) == words


def test_a_sentence_without_its_figures_is_left_out():
    assert [*answers([])] == []
    (sentence,) = answers([table(SERVED, "read", litesess=[0.8])])
    assert sentence.endswith("without sessions: 80 % if it reads one value.")
    redis = {"litesess": [3000], "Redis, always": [1000]}
    (sentence,) = answers([table("durable set", "16 threads", **redis)])
    assert "3.0 times as fast with 16 threads (3 000 against 1 000 writes a second)" in sentence
    large = [table("open", "2 000", litesess=[0.02]), table("memory", "2 000", litesess=[1024])]
    (sentence,) = answers(large)
    assert "**2 000 sessions** are open after 20.0 ms" in sentence
    assert "1.95 MiB" in sentence


def test_bars_are_sorted_and_the_text_alternative_tells_their_order_and_figures():
    values = {"SQLite, FULL": [2000], "litesess": [3000], "Redis, always": [5000]}
    (picture,) = pictures.every([table("durable set", "16 threads", **values)])
    assert picture.title == (
        "Durable writes of 16 threads: litesess is 2nd of 3, with 3 000 a second."
    )
    assert picture.alt == (
        "Bars, the best first. Redis, always, durable 5 000; litesess, durable 3 000;"
        " SQLite, FULL, durable 2 000."
    )
    assert [bar.value for bar in picture.panels[0].bars] == [5000, 3000, 2000]


def test_the_shortest_bar_is_the_best_where_less_is_better():
    values = {"Beaker, files": [300], "litesess": [200], "Django, files": [-1]}
    (picture,) = pictures.every([table("counter request", "over the bare app", False, **values)])
    assert [bar.candidate for bar in picture.panels[0].bars] == [
        "Django, files", "litesess", "Beaker, files"
    ]  # fmt: skip
    assert "Django, files (not synced) 0;" in picture.alt


def test_a_bar_that_dwarfs_the_rest_is_named_in_the_caption_instead():
    values = {"litesess": [10], "Redis, always": [9], "SQLite, FULL": [1000]}
    (picture,) = pictures.every([table("durable set", "16 threads", **values)])
    assert [bar.candidate for bar in picture.panels[0].bars] == ["litesess", "Redis, always"]
    assert "SQLite, FULL, durable (1 000)" in picture.caption


@pytest.fixture
def plot():
    """Return the function that draws a picture."""
    return pytest.importorskip("benchmarks.plots", reason="no matplotlib").plot


def texts_of(path):
    """Return the texts in a picture."""
    root = ElementTree.parse(path).getroot()
    return {each.text for each in root.iter("{http://www.w3.org/2000/svg}text")}


def test_an_axis_begins_at_zero_and_its_marks_are_evenly_spaced(plot, tmp_path):
    values = {"litesess": [3000], "Redis, always": [900]}
    (picture,) = pictures.every([table("durable set", "16 threads", **values)])
    texts = texts_of(tmp_path / plot(picture, tmp_path))
    assert {"0", "500", "1 000", "1 500", "2 000", "2 500", "3 000"} <= texts


def test_each_label_has_room_beside_its_bar(tmp_path):
    names = [*app_peers.CANDIDATES]
    names += [it.name for it in store_candidates.candidates(tmp_path)]
    for each in ("always", "everysec"):
        names += [it.name for it in store_candidates.redis_candidates("redis://", each)]
    assert [name for name in names if len(label(name)) > 42] == []


def test_a_number_stays_on_one_line_with_its_groups_and_its_unit():
    assert bound("1 000 000 sessions in 23 ms, 7 files") == (
        "1\N{NO-BREAK SPACE}000\N{NO-BREAK SPACE}000 sessions in 23\N{NO-BREAK SPACE}ms, 7 files"
    )


def test_a_page_has_its_answers_before_its_pictures_and_its_tables():
    tables = [
        table("unheard of", "a case", litesess=[1.0], other=[0.0]),
        table("durable set", "16 threads", **{"litesess": [3000], "Redis, always": [1000]}),
        table("very many sessions, memory", "2 000 sessions", **{"at rest": [1], "in use": [2]}),
        table(SERVED, "counter", **{"litesess": [0.6], "Beaker, files": [0.3]}),
    ]
    results = Results("python -m benchmarks", {"cores": "2"}, tables)
    names = [f"{each.name}.svg" for each in pictures.every(tables)]
    text = page(results, names)
    well_formed(text)
    places = [
        "**Under gunicorn**",
        "share-of-the-bare-app.svg",
        "durable-writes.svg",
        ".. contents::",
        "Under gunicorn\n=====",
        "Stores\n=====",
        "Very many sessions in use\n=====",
        "More tables\n=====",
        "What was to be reached\n=====",
        "How it was measured\n=====",
    ]
    assert [text.index(each) for each in places] == sorted(map(text.index, places))


@pytest.mark.slow
def test_a_bare_app_answers_the_same_headers_as_the_app_with_sessions(tmp_path):
    names = ("litesess", "Pyramid, signed cookie")
    candidates = {name: app_peers.CANDIDATES[name] for name in names}
    shape = "1 worker x 16 threads"
    with (
        servers.serving(candidates, tmp_path, shape) as running,
        servers.answering_alike(running, tmp_path, shape) as twins,
    ):
        assert {*twins} == {(name, case) for name in candidates for case in servers.REQUESTS}
        for (name, case), twin in twins.items():
            wanted = running[name].headers(servers.REQUESTS[case])
            client = twin.server.client()
            client.need(f"untouched?{twin.query}")
            client.close()
            found = [each for each in client.headers if each[0].lower() not in COMMON]
            sizes = partial(map, lambda header: (header[0], len(header[1])))
            assert [*sizes(found)] == [*sizes(wanted)], (name, case)
        renewed = running["Pyramid, signed cookie"].headers("read")
        assert [name for name, _ in renewed] == ["Set-Cookie"]


@pytest.mark.parametrize(("times", "is_good"), [(1.0, True), (1.05, True), (1.2, False)])
def test_a_path_that_takes_much_more_work_than_before_is_noticed(times, is_good, capsys):
    before = {KERNEL: 1.0, "load": 0.5}
    assert compared({KERNEL: 2000.0, "load": 1000.0 * times}, before) is is_good
    assert ("much more work" in capsys.readouterr().out) is not is_good
    assert 1.05 < TOLERANCE < 1.2


@pytest.mark.long
@pytest.mark.usefixtures("plot")
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
    measured = {target.table for target in TARGETS} - {SERVED, "gunicorn, 1 worker x 16 threads"}
    assert measured <= {*names}
    text = (tmp_path / "benchmarks.rst").read_text()
    well_formed(text)
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
