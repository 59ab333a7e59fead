"""Are the rows the journal's, in the order in which a person compares?"""

import csv

from thpsweep.answers.analysis import frame


def test_rows_are_sorted_by_workload_degree_and_the_sweeps_order_of_policies(sweep_of):
    sweep = sweep_of(degrees=(195, 4), policies=("switch", "none"), workloads=("zygote", "captured"))
    found = [(row["workload"], row["sharing.degree"], row["policy"]) for row in frame.rows(sweep)]
    assert found == [
        ("captured", 4, "switch"),
        ("captured", 4, "none"),
        ("captured", 195, "switch"),
        ("captured", 195, "none"),
        ("zygote", 4, "switch"),
        ("zygote", 4, "none"),
        ("zygote", 195, "switch"),
        ("zygote", 195, "none"),
    ]


def test_a_row_has_mean_and_interval(sweep_of):
    (row,) = frame.rows(sweep_of(degrees=(195,), policies=("inplace",), regions=1))
    assert [row[f"cost/pte_updates{end}"] for end in ("", "_low", "_high")] == [199_680, 199_670, 199_690]


def test_a_point_without_a_result_is_a_row(sweep_of):
    sweep = sweep_of(
        degrees=(1,), policies=("copy",), change=lambda record: record if record["type"] != "result" else None
    )
    assert [(row["policy"], row["state"]) for row in frame.rows(sweep)] == [("copy", frame.NOT_RUN)]


def test_the_csv_has_the_rows(sweep_of, tmp_path):
    sweep = sweep_of()
    frame.write_csv(sweep, tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(newline="") as file:
        read_back = list(csv.DictReader(file))
    expected = frame.rows(sweep)
    assert [row["policy"] for row in read_back] == [row["policy"] for row in expected]
    assert [float(row["cost/pte_updates"]) for row in read_back] == [row["cost/pte_updates"] for row in expected]
    assert read_back[1]["tradeoff/payback_s"] == "inf"
