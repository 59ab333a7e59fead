"""A sweep of fully mapped regions with the closed forms of the model as its results."""

import math

import pytest

from thpsweep.sweep.records.journal import FORMAT, read, sealed

P = 512


def closed_form(policy, degree, regions):
    """Give what fully mapped regions cost and bring, counted by hand for each mechanism."""
    updates = {"none": 0, "copy": 1, "inplace": 2, "inplace_pmd": 3, "switch": 1}[policy] * P * degree
    removed = {"none": 0, "copy": P - degree}.get(policy, P - 1)
    lost_pages = P * (degree - 1) if policy == "copy" else 0
    entries = P * degree if policy.startswith("inplace") else 0
    return {
        "cost/pte_updates": updates * regions,
        "cost/pte_updates_worst_region": updates,
        "cost/migration_entries_set_worst_region": entries,
        "cost/ptes_restored_worst_region": entries,
        "cost/ptes_switched_worst_region": P * degree if policy == "switch" else 0,
        "cost/collapses": {"none": 0, "copy": degree}.get(policy, 1) * regions,
        "cost/cpu_ms": updates * regions * 60e-6,
        "cost/sharing_lost_bytes": lost_pages * regions * 4096,
        "benefit/lru_entries_removed": removed * regions,
        "tradeoff/pte_updates_per_lru_entry": updates / removed if removed > 0 else math.nan,
        "tradeoff/net_cpu_ms": -updates * regions * 60e-6,
        "tradeoff/payback_s": math.inf if updates else math.nan,
    }


@pytest.fixture
def sweep_of(tmp_path):
    """Write and read the journal of a sweep; `change(record)` may alter or drop (None) any record."""

    def build(
        degrees=(1, 195),
        policies=("none", "copy", "inplace", "switch"),
        workloads=("prefork",),
        regions=2,
        facts=None,
        outcomes=None,
        change=lambda record: record,
    ):
        points, results = [], []
        for workload in workloads:
            for degree in degrees:
                for policy in policies:
                    key = f"{len(points):064x}"
                    params = {"policy": policy, "workload": workload, "sharing.degree": degree}
                    points.append(
                        {
                            "type": "point",
                            "id": key,
                            "index": len(points),
                            "params": params,
                            "point": {
                                "workload": {"kind": workload},
                                "sharing": {"kind": "fixed", "degree": degree},
                                "policy": {
                                    "name": policy,
                                    "mechanism": {"kind": policy},
                                    "trigger": {"kind": "khugepaged"},
                                },
                                "machine": {"kind": "profile", "name": "x86_64"},
                                "run": {"seed": 0, "replicates": 2, "duration_s": 1.0, "tick_s": 0.1},
                            },
                        }
                    )
                    half = {"cost/pte_updates": 10, "benefit/lru_entries_removed": 1, "tradeoff/net_cpu_ms": 0.5}
                    metrics = {
                        name: {"mean": mean, "low": mean - half.get(name, 0), "high": mean + half.get(name, 0)}
                        for name, mean in closed_form(policy, degree, regions).items()
                    }
                    results.append(
                        {
                            "type": "result",
                            "id": key,
                            "state": "done",
                            "error": None,
                            "host": "h",
                            "wall_s": 0.1,
                            "attempts": 1,
                            "finished": "2026-01-01T00:00:00+00:00",
                            "result": {
                                "metrics": metrics,
                                "replicates": {},
                                "units": {},
                                "outcomes": (outcomes or {}).get(policy, {}),
                                "facts": facts(policy, degree) if facts else {},
                            },
                        }
                    )
        header = {
            "type": "sweep",
            "format": FORMAT,
            "sweep": "a" * 64,
            "name": "closed_forms",
            "thpsweep": "0",
            "model": "0",
            "created": "2026-01-01T00:00:00+00:00",
            "overrides": [],
            "n_points": len(points),
        }
        kept = [record for record in map(change, [header, *points, *results]) if record is not None]
        (tmp_path / "journal.jsonl").write_bytes(b"".join(map(sealed, kept)))
        return read(tmp_path)

    return build
