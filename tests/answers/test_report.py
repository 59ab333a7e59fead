"""The report of a small real sweep: what it says, that it needs nothing else, and that every figure leads to a record."""

import dataclasses
import html.parser
import itertools
import math
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.test_api import api
from thpsweep.answers.analysis.inputs import Inputs, inputs
from thpsweep.answers.analysis.prices import prices
from thpsweep.answers.analysis.ranges import Range
from thpsweep.answers.analysis.ranking import ALONE, verdicts
from thpsweep.answers.analysis.sensitivity import sensitivities
from thpsweep.answers.analysis.study import DEGREE, NET, study
from thpsweep.answers.analysis.uncertainty import draws, odds
from thpsweep.answers.report import figures
from thpsweep.answers.report.report import html as page_of
from thpsweep.answers.report.report import report, write_report
from thpsweep.cli import main
from thpsweep.errors import ThpsweepError
from thpsweep.model.simulate import simulate
from thpsweep.profiles import default_file
from thpsweep.sweep.records.journal import FORMAT, read, sealed

WRITES = "workload.worker_cold_writes_per_page_hour"
SCENE = ("workload=prefork", "workload.regions=2", "workload.hot_regions=0", "run.duration_s=600")


def swept(directory: Path, axes: dict[str, list[str]], replicates: int, fixed: tuple[str, ...] = ()) -> Path:
    """Simulate a grid and write its journal, as a sweep would."""
    points, results = [], []
    for levels in itertools.product(*axes.values()):
        words = [f"{key}={level}" for key, level in zip(axes, levels, strict=True)]
        point = api.composed((*SCENE, *fixed, *words, f"run.replicates={replicates}"))
        key = f"{len(points) + 0xABC:064x}"[::-1]
        params = {"policy": point["policy"]["name"], "workload": "prefork", DEGREE: point["sharing"]["degree"]}
        params |= {WRITES: point["workload"][WRITES.split(".")[1]]} if WRITES in axes else {}
        points.append({"type": "point", "id": key, "index": len(points), "params": params, "point": point})
        ended = {
            "state": "done",
            "error": None,
            "host": "h",
            "wall_s": 0.1,
            "attempts": 1,
            "finished": "2026-01-01T00:00:00",
        }
        results.append({"type": "result", "id": key, **ended, "result": simulate(point)})
    header = {"type": "sweep", "format": FORMAT, "sweep": "a" * 64, "name": "small", "thpsweep": "0", "model": "0"}
    header |= {
        "created": "2026-01-01T00:00:00+00:00",
        "overrides": ["experiment=small", "policy=a,b"],
        "n_points": len(points),
    }
    (directory / "journal.jsonl").write_bytes(b"".join(map(sealed, [header, *points, *results])))
    (directory / "config.yaml").write_text("sweep:\n  question: Does <it> pay back?\n")
    return directory


@pytest.fixture(scope="module")
def debate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    axes = {DEGREE: ["2", "195"], WRITES: ["0", "1"], "policy": ["copy", "inplace", "inplace_pmd", "switch"]}
    directory = swept(tmp_path_factory.mktemp("debate"), axes, 3)
    write_report(read(directory))
    return directory


@pytest.fixture(scope="module")
def page(debate: Path) -> str:
    return (debate / "report.html").read_text()


def unillustrated(directory: Path) -> str:
    """Write a page without its pictures, which take most of the time."""
    found = report(read(directory))
    return page_of(found, read(directory), {chart.name: b"" for chart in found.charts})


class Tags(html.parser.HTMLParser):
    """Collect what a page refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def each(self, tag: str, attribute: str) -> list[str]:
        return [found[attribute] or "" for name, found in self.tags if name == tag and attribute in found]


def test_the_page_needs_nothing_else(page: str) -> None:
    tags = Tags(page)
    assert all(source.startswith("data:image/png;base64,") for source in tags.each("img", "src"))
    assert not any(name in ("script", "link", "iframe") for name, _ in tags.tags)
    assert all(link.startswith("#") for link in tags.each("a", "href"))
    assert not re.search(r"url\(|@import|https?://", page)


def test_every_figure_leads_to_a_journal_record(page: str, debate: Path) -> None:
    tags = Tags(page)
    anchors = {found["id"] for _, found in tags.tags if found.get("id")}
    links = {link[1:] for link in tags.each("a", "href")}
    assert links and links <= anchors
    assert {f"p-{key[:12]}" for key in read(debate).points} <= links


def test_every_picture_is_told_in_words_and_kept_as_a_file(page: str, debate: Path) -> None:
    alternatives = Tags(page).each("img", "alt")
    assert alternatives and all(len(text) > 40 for text in alternatives)
    assert len(list(debate.glob("report-*.png"))) == len(alternatives)


def test_it_prints_and_it_quotes_what_users_wrote(page: str) -> None:
    assert "@media print" in page and "Does &lt;it&gt; pay back?" in page


def test_the_commands_repeat_the_sweep(page: str) -> None:
    assert "thpsweep sweep experiment=small policy=a,b" in page and "thpsweep report sweeps/" in page


def test_three_sentences_with_the_closed_form_of_the_hundred_thousand(debate: Path) -> None:
    found = report(read(debate))
    break_even, chances, overturned, winners, cost = found.answers
    assert break_even.startswith("Collapsing gains what it costs") and "% at 195 sharers (`inplace_pmd`)" in break_even
    assert "at 2.0 % of cycles in page walks, the best policy" in winners
    assert "`inplace_pmd` at 2–195 sharers" in winners and "If sharing may be lost, `copy` gains" in winners
    assert "99,840 ptes at 195 sharers" in cost and "within the run" not in cost.split("`inplace_pmd`")[1]
    # 512 pages: two walks each, a copy; 99,840 entries set and restored; one flush with an interrupt; the fixed part; and as
    # every sharer advises, 195 scans.
    inplace_ms = (29_000 + 512 * (2 * 900 + 460) + 99_840 * (450 + 270) + 195 * 512 * 64 + 500 + 14_000) / 1e6
    said = float(re.search(r"`inplace` takes ([\d.]+) ms", cost)[1])  # type: ignore[index]
    assert said == pytest.approx(inplace_ms, rel=0.01)
    assert "does not pay back within the run" in cost.split("`switch`")[0]
    assert "draws of" in chances and "prices and rates" in overturned


def test_the_best_is_the_largest_mean_and_beats_every_other_pair_by_pair(debate: Path) -> None:
    known = study(read(debate))
    for scene, found in verdicts(known, sharing_kept=False).items():
        values = {entry.contender: entry.values[NET] for entry in known.scenes()[scene]} | {ALONE: 0.0}
        lead = min((values[found.best] - other).min() for name, other in values.items() if name != found.best)
        assert found.resolved and lead > 0


def test_with_too_few_replicates_there_is_no_winner(tmp_path: Path) -> None:
    swept(tmp_path, {DEGREE: ["2", "4"], WRITES: ["1"], "policy": ["inplace", "switch"]}, 1)
    found = report(read(tmp_path))
    assert not any(one.resolved for one in found.evidence.judged.values())
    winners, cost = found.answers[-2:]
    assert "not resolved" in winners and "`" not in winners and "interval unknown" in cost
    assert "not resolved" in unillustrated(tmp_path)


def test_prices_are_not_varied_where_a_gate_compared_costs(tmp_path: Path) -> None:
    swept(tmp_path, {DEGREE: ["2", "4"], "policy": ["inplace", "switch"]}, 2, ("policy/gate=payback",))
    found = report(read(tmp_path))
    assert "How sure that is was not computed: a gate compared costs" in found.answers[0]
    assert "Prices could not be varied: a gate compared costs" in found.answers[1]
    assert "Which assumption would overturn the answer" in dict(found.missing)


def test_a_sweep_that_is_no_grid_says_what_it_cannot_show(tmp_path: Path, debate: Path) -> None:
    lines = (debate / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "journal.jsonl").write_bytes(b"".join(lines[:-3]))
    found = report(read(tmp_path))
    assert "full grids" in dict(found.missing)["Which parameters matter"]
    assert "3 of 16 points have no result" in unillustrated(tmp_path)


def test_each_price_of_the_profile_that_ships_says_how_it_is_known() -> None:
    machine = api.composed(SCENE)["machine"]
    found = {one.key: one for one in prices(machine, default_file())}
    assert found["copy_page_ns"].kind == "measured" and found["copy_page_ns"].unit == "ns"
    assert found["pte_switch_ns"].kind == "derived" and found["mglru_pte_ns"].kind == "derived"
    assert {one.kind for one in found.values()} <= {"measured", "derived", "documented", "assumed", "unknown"}
    changed = {one.key: one for one in prices({**machine, "ipi_ns": 1.0}, default_file())}
    assert changed["ipi_ns"].kind == "given in the command"
    assert {one.kind for one in prices(machine, None)} == {"unknown"}


def test_a_file_that_is_no_profile_is_refused(tmp_path: Path, debate: Path) -> None:
    (tmp_path / "no.yaml").write_text("just words\n")
    with pytest.raises(ThpsweepError, match="expected a machine profile"):
        report(read(debate), tmp_path / "no.yaml")


def test_the_verb(debate: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["report", str(tmp_path)])
    assert ended.value.code == 2 and "no sweep there" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "said"), [(math.inf, "not within the run"), (math.nan, "–"), (99840.0, "99,840"), (1.23456, "1.235")]
)
def test_numbers(value: float, said: str) -> None:
    assert figures.numbers(value) == said


def widened(ranges: Mapping[str, Range]) -> dict[str, Range]:
    """Let everything be a thousand times as low and as high."""
    return {key: dataclasses.replace(one, low=one.value / 1000, high=one.value * 1000) for key, one in ranges.items()}


def test_the_price_that_overturns_a_scene_does_so_when_it_is_simulated(debate: Path) -> None:
    known = study(read(debate))
    judged = verdicts(known, sharing_kept=True)
    chosen = next(scene for scene in judged if dict(scene) == {DEGREE: 195, WRITES: 0})
    basis = inputs(known, lambda _: default_file())
    assert isinstance(basis, Inputs)
    basis = dataclasses.replace(basis, ranges={key: widened(ranges) for key, ranges in basis.ranges.items()})
    drawn = draws(basis.keys, 64)
    found = sensitivities(basis, judged, drawn, odds(basis, drawn, sharing_kept=True), chosen)
    (turn, *_) = [(one, value, name) for one in found for value, name in one.turns if one.key.endswith("_ns")]
    key, at, name = turn[0].key.removeprefix("machine."), turn[1], turn[2]

    def winner(value: float) -> str:
        means = {ALONE: 0.0}
        for entry in known.scenes()[chosen]:
            if entry.keeps_sharing:
                machine = {**entry.point["machine"], key: value}
                means[entry.contender] = simulate({**entry.point, "machine": machine})["metrics"][NET]["mean"]
        return max(means, key=lambda one: means[one])

    before, beyond = (at * 0.98, at * 1.02) if at > turn[0].range.value else (at * 1.02, at * 0.98)
    assert winner(before) == judged[chosen].best and winner(beyond) == name
