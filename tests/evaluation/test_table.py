"""The table shows every measure of every column, with its interval."""

from poet.evaluation.intervals import Estimate
from poet.evaluation.row import Row
from poet.evaluation.table import table


def test_a_line_per_measure_and_a_column_per_row():
    rows = {
        "sft": Row(
            loss=Estimate(4.5, (4.25, 4.75)),
            longest_copy=1234,
            forms={"五言絕句": Estimate(0.5, (0.4, 0.6))},
        ),
        "poets": Row(forms={"七言絕句": Estimate(1.0, (0.9, 1.0))}),
    }
    assert table(rows) == "\n".join(
        [
            "| | better | sft | poets |",
            "|---|---|---|---|",
            "| loss of text | lower | 4.500 (4.250 to 4.750) |  |",
            "| longest copy, characters | lower | 1,234 |  |",
            "| form: 5-character jueju | as the poets | 0.500 (0.400 to 0.600) |  |",
            "| form: 7-character jueju | as the poets |  | 1.000 (0.900 to 1.000) |",
        ]
    )
