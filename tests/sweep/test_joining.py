"""What stands between a sweep and a cluster: the token, the head, and whether the other side computes the same."""

import os
import socket
from pathlib import Path

import pytest

from thpsweep.errors import SweepError
from thpsweep.sweep.ray import join
from thpsweep.sweep.ray.join import Head, cannot_join, reachable, secure
from thpsweep.sweep.records import identity as identity_module
from thpsweep.sweep.records.identity import difference, identity


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.delenv("THPSWEEP_INSECURE_RAY", raising=False)
    return monkeypatch


@pytest.mark.parametrize("mode", [None, "token", "TOKEN"])
def test_the_token_is_on_unless_somebody_turned_it_off(environment: pytest.MonkeyPatch, mode: str | None) -> None:
    if mode:
        environment.setenv("RAY_AUTH_MODE", mode)
    assert secure()
    assert os.environ["RAY_AUTH_MODE"] == "token"


@pytest.mark.parametrize("mode", ["disabled", "", "off"])
def test_it_is_not_off_in_silence(
    environment: pytest.MonkeyPatch, mode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setenv("RAY_AUTH_MODE", mode)
    with pytest.raises(SweepError, match=f"RAY_AUTH_MODE='{mode}': expected token"):
        secure()
    environment.setenv("THPSWEEP_INSECURE_RAY", "1")
    assert not secure()
    assert "WITHOUT A TOKEN" in capsys.readouterr().err


def test_versions_of_ray_are_told_apart_in_one_line() -> None:
    problem = RuntimeError(
        "Version mismatch: The cluster was started with:\n    Ray: 2.60.0\n    Python: 3.12.1\n"
        "This process on node 10.0.0.1 was started with:\n    Ray: 2.59.0\n    Python: 3.11.7\n"
    )
    said = str(cannot_join("auto", problem))
    assert "the cluster runs Ray 2.60.0 on Python 3.12.1, this process Ray 2.59.0 on Python 3.11.7" in said
    assert "\n" not in said


def test_a_head_that_is_gone_ends_it_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        reachable(address)
        head = Head(address)
        assert head.answers()
    assert not head.answers()
    monkeypatch.setattr(join, "GONE_S", -1.0)
    with pytest.raises(SweepError, match=f"head at {address} is gone.*the same command goes on"):
        head.answers()
    with pytest.raises(SweepError, match="nobody answers there"):
        reachable(address)


def test_the_same_process_is_no_different() -> None:
    assert difference(identity(), identity()) == ""


@pytest.mark.parametrize("name", ["Python", "thpsweep", "model", "source", "numpy", "scipy"])
def test_whatever_numbers_depend_on_makes_a_difference(name: str) -> None:
    here = identity()
    assert difference({**here, name: "0.0"}, here) == f"{name} 0.0 there and {here[name]} here"
    assert "unknown there" in difference({key: value for key, value in here.items() if key != name}, here)


def test_any_changed_source_is_another(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def hashed(**files: str) -> str:
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(text)
        identity_module.source_hash.cache_clear()
        return identity_module.source_hash()

    monkeypatch.setattr(identity_module.thpsweep, "__file__", str(tmp_path / "__init__.py"))
    try:
        first = hashed(a="1", b="2")
        assert hashed() == first
        assert len({first, hashed(a="12", b=""), hashed(a="1", b="2", c=""), hashed(b="3")}) == 4
    finally:
        identity_module.source_hash.cache_clear()
