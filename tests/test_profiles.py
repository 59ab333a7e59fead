"""Is there one reading of what a profile says behind its figures, and does every command use it?"""

import dataclasses
import math
import re
import warnings
from pathlib import Path

import pytest
import yaml

from thpsweep import api, profiles, shipped
from thpsweep.answers.advise import basis
from thpsweep.answers.analysis.prices import prices
from thpsweep.errors import ThpsweepError
from thpsweep.linux.prototype import derive, table
from thpsweep.model.capture import files
from thpsweep.model.checks import MOST
from thpsweep.model.machines.profile import Profile
from thpsweep.model.simulate import simulate

SHIPPED = shipped.options("machine")


def by_eye(file: Path) -> dict[str, str]:
    """Read kinds without our reader: cut each line that begins with a key at its comment."""
    found = {}
    for line in file.read_text().splitlines():
        figure, _, comment = line.partition("#")
        if (
            comment.strip()
            and figure[:1].isalpha()
            and isinstance(next(iter(yaml.safe_load(figure).values())), int | float)
        ):
            word = re.split(r"\W", comment.strip())[0]
            found[figure.partition(":")[0]] = word if word in profiles.KINDS else "documented"
    return found


@pytest.mark.parametrize("name", SHIPPED)
def test_report_advice_and_validation_agree_on_how_each_price_is_known(name: str) -> None:
    file = shipped.machine_file("--machine", name)
    truth = by_eye(file)
    assert len(truth) > 30
    assert {key: source.kind for key, source in profiles.sources(file).items()} == truth
    machine = api.composed(("workload=prefork", f"machine={name}"))["machine"]
    explained = {price.key: price.kind for price in prices(machine, file)}
    assert {key: kind for key, kind in explained.items() if kind != "unknown"} == truth
    layout = files.load(files.find("", "redis_bgsave"))
    said = "\n".join(
        basis.lines(profiles.load(file), file, False, layout, api.composed(("workload=captured",))["workload"])
    )
    for kind in set(truth.values()):
        assert f"{list(truth.values()).count(kind)} {kind}" in said, said


def test_the_figure_behind_one_without_a_comment_keeps_its_own(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(
        "name: mine  # measured: no figure\ncpus: 2\npte_scan_ns: 41.1    # measured: a loop\nipi_ns: 3 # CPUID 1\n"
    )
    found = profiles.sources(file)
    assert {key: (source.kind, source.about) for key, source in found.items()} == {
        "pte_scan_ns": ("measured", "a loop"), "ipi_ns": ("documented", "CPUID 1"),
    }  # fmt: skip


@pytest.mark.parametrize(("name", "of"), [("milan_vm", {}), ("zen5_vm", {
    "fork_pte_small_ns": "fork of small pages that an earlier fork protected, ns a pte",
    "fork_pte_compound_ns": "the same, pte-mapped folios, ns a pte",
})])  # fmt: skip
def test_prices_by_instructions_follow_from_what_the_profile_measured(name: str, of: dict[str, str]) -> None:
    """The table's forks are of memory that an earlier fork protected: of these, where there is a figure of them."""
    file = shipped.machine_file("--machine", name)
    beside = file.read_text().partition("Measured too")[2].partition("first touch of a THP")[2]
    known = {key: float(getattr(profiles.load(file), key)) for key in derive.MEASURED}
    known |= {key: float(beside.partition(f"{about}: ")[2].split()[0]) for key, about in of.items()}
    expected = derive.derivable(known, table.load()["6.12"])
    assert set(expected) == set(derive.DERIVABLE)
    for key, derived in expected.items():
        assert getattr(profiles.load(file), key) == pytest.approx(derived.ns, rel=0.005)
        assert profiles.sources(file)[key].text.startswith(derived.source)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_machine_is_found_by_name_and_by_path(name: str) -> None:
    file = shipped.machine_file("--machine", name)
    assert profiles.load(file).name == name and shipped.machine_file("--machine", str(file)) == file


def test_a_name_that_does_not_ship_is_refused_with_those_that_do() -> None:
    with pytest.raises(ThpsweepError, match="--machine zen9: expected an existing file, or one of i5_laptop, milan_vm"):
        shipped.machine_file("--machine", "zen9")


FIGURES = [field.name for field in dataclasses.fields(Profile) if field.type is float]


@pytest.mark.parametrize("key", FIGURES)
@pytest.mark.parametrize("value", [1e308, -1e308, math.inf, math.nan])
def test_a_figure_that_no_machine_has_is_refused_with_what_is_expected(key: str, value: float) -> None:
    figures = dataclasses.asdict(profiles.load(shipped.machine_file("--machine", "milan_vm")))
    with pytest.raises(ThpsweepError, match=rf"machine\.{key}={re.escape(repr(value))}: expected .*\d"):
        Profile(**{**figures, key: value})


@pytest.mark.parametrize("policy", ["copy", "inplace", "inplace_pmd", "deferred"])
def test_the_highest_prices_give_numbers(policy: str) -> None:
    prices = [f"machine.{key}={MOST}" for key in FIGURES if key.endswith("_ns")]
    small = ("workload=prefork", "workload.regions=2", "run.duration_s=300", "run.replicates=2", f"policy={policy}")
    point = api.composed((*small, *prices))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metrics = simulate(point)["metrics"]
    assert math.isfinite(metrics["cost/cpu_ms"]["mean"]) and metrics["cost/cpu_ms"]["mean"] > 0
