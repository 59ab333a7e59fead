"""What is said of page walks where there are counters, and where there are none."""

import pytest

from thpsweep.linux.activity.counters import page_walks


@pytest.mark.parametrize(
    ("pmus", "vendor", "said"),
    [
        (["software", "tracepoint", "msr"], "AuthenticAMD", "no hardware counters here"),
        (["software", "cpu"], "AuthenticAMD", "counts page walks, but not the cycles"),
        (["cpu_core", "cpu_atom"], "GenuineIntel", "`perf stat -e dtlb_load_misses.walk_active,"),
        (["armv8_pmuv3_0"], "0x41", "counts page walks, but not the cycles"),
    ],
)
def test_how_to_learn_the_share_of_cycles_in_page_walks(tmp_path, pmus, vendor, said):
    for name in pmus:
        (tmp_path / "devices" / name).mkdir(parents=True)
    (tmp_path / "cpuinfo").write_text(f"vendor_id : {vendor}\n")
    assert said in page_walks(tmp_path / "devices", tmp_path / "cpuinfo")


def test_a_machine_without_such_a_list_has_none(tmp_path):
    assert page_walks(tmp_path / "nowhere", tmp_path / "cpuinfo").startswith("no hardware counters")
