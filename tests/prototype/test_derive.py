"""A price that is derived from others lies where the ratio of instructions puts it, with the range of leave-one-out."""

import pytest

from thpsweep.linux.prototype.derive import DERIVABLE, MEASURED, derive, left_out
from thpsweep.linux.prototype.errors import PrototypeError
from thpsweep.linux.prototype.table import InstructionTable, load

COUNTED = {operation: 100.0 * number for number, operation in enumerate([*MEASURED.values(), *DERIVABLE.values()], 1)}
TABLE = InstructionTable("6.12", "2026-11-30", "gcc", "qemu", COUNTED)


def test_where_every_instruction_lasts_as_long_the_price_is_exact_and_has_no_range():
    prices = {name: 0.25 * COUNTED[operation] for name, operation in MEASURED.items()}
    for key, operation in DERIVABLE.items():
        derived = derive(key, prices, TABLE)
        exact = pytest.approx(0.25 * COUNTED[operation])
        assert derived.ns == exact and derived.low_ns == exact and derived.high_ns == exact


def test_the_range_is_what_leaving_one_out_gives():
    # Rates 1, 1 and 8: without the 8 it is predicted as 1/8 of itself, without a 1 as sqrt(8) of itself.
    names = list(MEASURED)[:3]
    prices = {name: rate * COUNTED[MEASURED[name]] for name, rate in zip(names, (1, 1, 8), strict=True)}
    assert left_out(dict(zip(names, (1, 1, 8), strict=True))) == pytest.approx(
        {names[0]: 8**0.5, names[1]: 8**0.5, names[2]: 0.125}
    )
    derived = derive("pte_switch_ns", prices, TABLE)
    assert derived.ns == pytest.approx(2 * COUNTED["switch"])
    assert (derived.low_ns, derived.high_ns) == pytest.approx((derived.ns / 8**0.5, derived.ns * 8))


def test_prices_that_nobody_measured_are_left_out():
    names = list(MEASURED)
    prices = {name: 0.5 * COUNTED[MEASURED[name]] for name in names[:4]} | {names[5]: 0.0}
    assert derive("pte_switch_ns", prices, TABLE).of == tuple(names[:4])
    with pytest.raises(PrototypeError, match="at least 3 measured prices"):
        derive("pte_switch_ns", {names[0]: 1.0, names[1]: 2.0}, TABLE)
    with pytest.raises(PrototypeError, match="expected one of pte_switch_ns"):
        derive("fork_pmd_ns", prices, TABLE)


def test_the_shipped_tables_have_every_operation_and_agree_on_their_order():
    tables = load()
    assert {"6.12", "7.3"} <= set(tables)
    for table in tables.values():
        assert set(MEASURED.values()) | set(DERIVABLE.values()) <= set(table.per_pte)
        assert table.ratio("switch", "set_entry") == pytest.approx(0.18, abs=0.02)
        assert table.per_pte["switch"] < table.per_pte["switch_per_page"] < table.per_pte["set_entry"]


def test_a_table_that_is_none_is_refused(tmp_path):
    (tmp_path / "x.yaml").write_text("6.12: 3\n")
    with pytest.raises(PrototypeError, match="expected a table"):
        load(tmp_path / "x.yaml")
