"""Writes and reads the Parquet files of a stage. It knows rows. It does not know their folder."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from poet.data.rows import Row


def write_rows(rows: Sequence[Row], stage: str, path: Path) -> None:
    """Writes rows of a stage to a Parquet file."""
    import datasets
    import pyarrow.parquet

    text = datasets.Value("string")
    columns = {"pretrain": ["text"], "sft": ["prompt", "completion"]}
    names = columns.get(stage, ["prompt", "chosen", "rejected"])
    messages = [{"role": text, "content": text}]
    features = datasets.Features({name: text if name == "text" else messages for name in names})
    values = {name: [row[name] for row in rows] for name in names}
    table = datasets.Dataset.from_dict(values, features=features).data.table
    # Streaming holds one group of rows in memory at a time.
    pyarrow.parquet.write_table(table, path, row_group_size=10_000)


class ParquetRows:
    """Reads the rows of a stage while they are used. `half` is "train" or "test"."""

    def __init__(self, folder: Path, half: str):
        self.paths = sorted(folder.glob(f"{half}*.parquet"))

    def __len__(self) -> int:
        import pyarrow.parquet

        return sum(pyarrow.parquet.read_metadata(path).num_rows for path in self.paths)

    def __iter__(self) -> Iterator[Row]:
        import pyarrow.parquet

        for path in self.paths:
            for batch in pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=1_000):
                yield from batch.to_pylist()
