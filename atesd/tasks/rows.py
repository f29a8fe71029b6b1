"""Rows of a local file (JSON Lines, CSV, parquet) or of a data set on the hub, each with the place it stands at."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atesd.errors import UserError

_LONGEST_FIELD = 1 << 30  # characters; Python's own limit for CSV, 131,072, is shorter than a long solution


@dataclass(frozen=True)
class Row:
    """One row: ``file`` and ``number`` say where it stands, as a text editor or spreadsheet counts."""

    file: str
    number: int
    fields: dict[str, Any]

    @property
    def id(self) -> str:
        return f"{Path(self.file).name}:{self.number}"

    def error(self, reason: str, field: str = "") -> UserError:
        """Return the error that names this row, a field of it, and what is wrong."""
        return UserError(f"{self.file} row {self.number}{f' field {field!r}' if field else ''}: {reason}")


def read(path: Path) -> Iterator[Row]:
    """Yield the rows of a file; ``.csv`` and ``.parquet`` say what they are, anything else is JSON Lines.

    Raises:
        UserError: the file is missing, or a row cannot be read; names file, row and reason.
    """
    if not path.is_file():
        raise UserError(f"data.path={path} is not a file; give a JSONL, CSV or parquet file with the data.columns")
    return {".csv": _csv, ".parquet": _parquet}.get(path.suffix, _jsonl)(path)


def _jsonl(path: Path) -> Iterator[Row]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            yield Row(str(path), number, _object(Row(str(path), number, {}), line))


def _object(row: Row, line: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise row.error(f"not UTF-8 ({error}); save the file as UTF-8") from None
    except (ValueError, RecursionError) as error:  # no object, a number too long, or nested too deep
        raise row.error(f"not JSON ({error}); write one object per line") from None
    if not isinstance(fields, dict):
        raise row.error(f"a {type(fields).__name__}, not an object; write one object per line")
    return fields


def _csv(path: Path) -> Iterator[Row]:
    csv.field_size_limit(_LONGEST_FIELD)
    number = 1
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            if len(set(header)) < len(header):
                raise Row(str(path), 1, {}).error(f"two columns of {header} have one name; rename one")
            for number, values in enumerate(reader, start=2):
                row = Row(str(path), number, dict(zip(header, values, strict=False)))
                if len(values) != len(header):
                    raise row.error(f"{len(values)} fields under {len(header)} column names; mend the row")
                yield row
    except UnicodeDecodeError as error:
        raise Row(str(path), number, {}).error(f"not UTF-8 from here on ({error}); save the file as UTF-8") from None
    except csv.Error as error:
        raise Row(str(path), number + 1, {}).error(f"not CSV ({error}); quote fields with commas or lines") from None


def _parquet(path: Path) -> Iterator[Row]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UserError(f"data.path={path} needs pyarrow; pip install -e '.[data]', or save it as JSONL") from None
    try:
        rows = parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"data.path={path} is not parquet ({' '.join(str(error).split())}); save it again") from None
    return (Row(str(path), number, fields) for number, fields in enumerate(rows, start=1))


def read_hub(name: str, subset: str, split: str, revision: str, columns: list[str]) -> Iterator[Row]:
    """Yield the rows of one split of a data set on the hub, through ``datasets`` and its cache.

    Raises:
        UserError: ``datasets`` is missing, or the set cannot be had; says which file to bring instead.
    """
    fields = " and ".join(filter(None, columns))
    bring = f"or bring its rows as a JSONL, CSV or parquet file with the columns {fields}: data.path=FILE"
    try:
        import datasets
    except ImportError:
        raise UserError(f"data.hub={name} needs the package datasets; pip install -e '.[data]', {bring}") from None
    datasets.disable_progress_bars()
    try:
        rows = datasets.load_dataset(name, subset or None, split=split, revision=revision)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"data.hub={name} split {split} cannot be had ({reason}); look at the network, {bring}"
        ) from None
    return (Row(f"{name}/{split}", number, dict(fields)) for number, fields in enumerate(rows, start=1))
