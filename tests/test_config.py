"""The schema: what conf/ may say, and what a user is told who says something else."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from thpsweep.config.explain import BASE, explain, unknown_key
from thpsweep.config.plan import plan_of
from thpsweep.config.point import point_of
from thpsweep.config.register import register
from thpsweep.config.schema import GROUPS
from thpsweep.errors import ThpsweepError
from thpsweep.model import registry
from thpsweep.model.setting import check
from thpsweep.shipped import conf_dir


@pytest.fixture(scope="module", autouse=True)
def hydra() -> Iterator[None]:
    """Give Hydra the schema and conf/."""
    register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield
    GlobalHydra.instance().clear()


def options(group: str) -> list[str]:
    return sorted(file.stem for file in (conf_dir() / group).glob("*.yaml"))


def composed(*overrides: str) -> DictConfig:
    return compose("config", overrides=list(overrides))


@pytest.mark.parametrize(
    "choice",
    [
        f"{group}={name}"
        for group in ("workload", "sharing", "policy", "machine", "memory", "experiment")
        for name in options(group)
    ],
)
def test_every_file_of_conf_makes_a_point_that_can_run(choice: str) -> None:
    before_the_fork = choice in ("policy=copy_before_fork", "policy=thp_at_fault")  # a capture is of what came after it
    check(point_of(composed(choice, *(["workload=prefork"] if before_the_fork else []))))


@pytest.mark.parametrize("family", GROUPS)
def test_every_member_is_an_option_or_the_base_of_one(family: str) -> None:
    group = GROUPS[family]
    texts = [(conf_dir() / group / f"{name}.yaml").read_text() for name in options(group)]
    bases = {entry for text in texts for entry in yaml.safe_load(text)["defaults"] if isinstance(entry, str)}
    for name in registry.options(family):
        if group.startswith("policy/"):
            assert point_of(composed(f"{group}={name}"))["policy"][family]["kind"] == name
        else:
            assert f"{BASE}{name}" in bases


def test_nothing_in_conf_names_code() -> None:
    assert [file for file in conf_dir().rglob("*.yaml") if "_target_" in file.read_text()] == []


def test_point_says_what_was_chosen_in_plain_types() -> None:
    point = point_of(composed("policy=copy", "policy/trigger=khugepaged", "policy.trigger.max_ptes_shared=511"))
    assert point["policy"]["mechanism"] == {"kind": "copy", "order": 9}
    assert point["policy"]["trigger"]["max_ptes_shared"] == 511
    assert set(point) == {"workload", "sharing", "policy", "machine", "memory", "run"}


def test_where_a_sweep_is_recorded_changes_no_point() -> None:
    assert point_of(composed("sweep.name=other", "sweep.dir=/elsewhere")) == point_of(composed())


@pytest.mark.parametrize(
    ("override", "wanted"),
    [
        ("sharing.degreee=3", ["sharing.degreee=3", "degree"]),
        ("foo=3", ["foo=3", "workload", "sharing", "policy"]),
        ("+foo=3", ["foo=3", "workload", "sharing", "policy"]),
        ("++sharing.bar=3", ["sharing.bar=3", "degree"]),
        ("policy=foo", ["policy='foo'", "copy", "inplace", "switch"]),
        ("policy/trigger=foo", ["policy/trigger='foo'", "khugepaged", "madvise"]),
        ("sharing.degree=many", ["sharing.degree='many'", "int"]),
        ("sharing.degree=null", ["sharing.degree=null", "int"]),
        ("sharing.degree=1.5", ["sharing.degree=1.5", "int"]),
        ("policy.trigger.at_s=3", ["policy.trigger.at_s=3", "list[float]"]),
        ("policy.trigger.at_s=[x]", ["policy.trigger.at_s[0]='x'", "float"]),
        ("sharing.degree=0", ["sharing.degree=0", "1..2000"]),
        ("policy.mechanism.walk=x", ["policy.mechanism.walk='x'", "per_page", "per_range"]),
        ("sharing=base_fixed", ["sharing.degree", "not set"]),
        ("~workload", ["workload=None", "workload=NAME"]),
        ("run.seed=${nowhere}", ["run.seed", "nowhere"]),
        ("sharing.degree=[1", ["sharing.degree=[1", "KEY=VALUE"]),
        ("sharing.degree=1,2", ["sharing.degree=1,2", "thpsweep sweep"]),
        ("policy.mechanism=copy", ["policy.mechanism='copy'", "policy/mechanism=NAME", "inplace"]),
        ("policy.gate=budget", ["policy.gate='budget'", "policy/gate=NAME"]),
        ("policy.trigger=null", ["policy.trigger=None", "policy/trigger=NAME", "madvise"]),
        ("~run", ["run=None", "run.KEY=VALUE"]),
        ("~policy.gate", ["~policy.gate", "policy.gate=VALUE"]),
        ("run=3", ["run=3", "run.NAME=VALUE"]),
        ("experiment=nothing", ["experiment='nothing'", "first_light"]),
    ],
)
def test_one_line_names_the_key_its_value_and_what_is_allowed(override: str, wanted: list[str]) -> None:
    with pytest.raises(Exception) as raised:
        point_of(composed("policy=inplace", override))
    error = raised.value
    line = str(error) if isinstance(error, ThpsweepError) else explain(error)
    assert line and "\n" not in line
    assert [word for word in wanted if word not in line] == []
    assert [word for word in (BASE, "DictConfig", "<class", "typing") if word in line] == []


def test_errors_of_ours_stay_as_they_are() -> None:
    assert explain(RuntimeError("a mistake in the program")) is None
    assert explain(ValueError("another")) is None


@pytest.mark.parametrize("name", ["a/b", "..", "", "-x"])
def test_sweeps_name_is_a_folders(name: str) -> None:
    config = composed(f"sweep.name='{name}'")
    with pytest.raises(ThpsweepError, match=r"sweep\.name"):
        plan_of(config, OmegaConf.create({"runtime": {"choices": {}}}), [], lambda _: {})  # type: ignore[arg-type]


def test_conf_is_found_beside_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "thpsweep"
    (package / "conf").mkdir(parents=True)
    (package / "conf" / "config.yaml").touch()
    monkeypatch.setattr("thpsweep.shipped.__file__", str(package / "shipped.py"))
    assert conf_dir() == package / "conf"
    (package / "conf" / "config.yaml").unlink()
    with pytest.raises(ThpsweepError, match="incomplete"):
        conf_dir()


def test_gates_presets_and_wrapping_make_a_point_that_can_run() -> None:
    """CBMM's constants are a preset of `payback`; `all_of` wraps other gates."""
    cbmm = point_of(composed("policy/gate=cbmm"))
    assert cbmm["policy"]["gate"]["kind"] == "payback" and cbmm["policy"]["gate"]["gains"] == ["tlb"]
    check(cbmm)
    inner = "policy.gate.gates=[{kind:max_ptes,max_ptes:99840},{kind:budget,cpu_ms_per_s:10}]"
    wrapped = point_of(composed("policy/gate=all_of", inner))
    assert wrapped["policy"]["gate"]["gates"][0] == {"kind": "max_ptes", "max_ptes": 99840}
    check(wrapped)


def test_a_key_that_some_policies_have_is_asked_for_there() -> None:
    """A gate without options has no keys, so that `+` would only be told the same again."""
    for key in ("policy.gate.beer", "policy.mechanism.beer"):
        assert (
            unknown_key(key, 1, [])
            == f"{key}=1: no such key; {key}?=VALUE sets it in those policies alone that have it"
        )
    assert "expected +metrics.mine=1" in unknown_key("metrics.mine", 1, [])
