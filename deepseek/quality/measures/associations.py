"""How columns go together: Pearson's and Spearman's coefficients of numbers, Cramer's V of categories.

Pairs of rows in which both values are present and finite. Spearman's is Pearson's of the ranks that a value has among
all values of its own column (ties share their middle): without missing values the usual definition. Where a column is
too long to be held, a rank is the middle of its part of the column, and the coefficient is said not to be exact.
Sources: C. Spearman, 1904; H. Cramer, Mathematical Methods of Statistics, 1946.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from deepseek.job import JSON
from deepseek.quality.measures.selection import Floats

MAX_CORRELATED_COLUMNS, MAX_ASSOCIATED_COLUMNS, MAX_CATEGORIES = 30, 12, 20

Ranked = Callable[[Floats], Floats]
Matrix = npt.NDArray[np.float64]


class PairSums:
    """Sums over the rows in which both of a pair are present, of c columns: five matrices of c x c."""

    def __init__(self, columns: int) -> None:
        self.count, self.x, self.xx, self.xy = (np.zeros((columns, columns)) for _ in range(4))

    def add(self, values: Matrix) -> None:
        """Rows by columns, NaN for missing."""
        is_present = np.isfinite(values)
        filled = np.where(is_present, values, 0.0)
        present = is_present.astype(np.float64)
        self.count += present.T @ present
        self.x += filled.T @ present
        self.xx += np.square(filled).T @ present
        self.xy += filled.T @ filled

    def merge(self, other: "PairSums") -> None:
        """Take what another has added."""
        for name in ("count", "x", "xx", "xy"):
            getattr(self, name).__iadd__(getattr(other, name))

    def compute_coefficients(self) -> list[list[float | None]]:
        """r of every pair; None where one of the two does not vary."""
        n, x, xx = self.count, self.x, self.xx
        with np.errstate(all="ignore"):
            spread = np.sqrt((n * xx - x * x) * (n * xx.T - x.T * x.T))
            r = (n * self.xy - x * x.T) / spread
        # Below the rounding of the sums a spread is none.
        r[(spread <= 1e-9 * n * np.sqrt(xx * xx.T)) | (n < 2)] = np.nan
        return [[round(float(np.clip(v, -1, 1)), 12) if np.isfinite(v) else None for v in row] for row in r]


class Correlations:
    """Of the first columns that vary; the others are named."""

    def __init__(self, columns: Mapping[str, tuple[float, float, Ranked]], *, exact: bool, left_out: Sequence[str]):
        self.columns, self.exact, self.left_out = columns, exact, list(left_out)
        self.pearson_sums, self.spearman_sums = PairSums(len(columns)), PairSums(len(columns))

    def begin_part(self) -> "Correlations":
        """The same for one partition, with nothing taken."""
        return Correlations(self.columns, exact=self.exact, left_out=self.left_out)

    def merge(self, part: "Correlations") -> None:
        """Take what a part has taken."""
        self.pearson_sums.merge(part.pearson_sums)
        self.spearman_sums.merge(part.spearman_sums)

    def add(self, batch: Mapping[str, Floats]) -> None:
        scaled, ranked = [], []
        for name, (mean, std, rank) in self.columns.items():
            values = batch[name]
            finite = np.isfinite(values)
            scaled.append((values - mean) / std)
            ranks = np.full(values.size, np.nan)
            ranks[finite] = rank(values[finite]) - 0.5
            ranked.append(ranks)
        self.pearson_sums.add(np.stack(scaled, axis=1))
        self.spearman_sums.add(np.stack(ranked, axis=1))

    def to_report(self) -> JSON:
        return {
            "columns": list(self.columns),
            "pearson": self.pearson_sums.compute_coefficients(),
            "spearman": self.spearman_sums.compute_coefficients(),
            "spearman_exact": self.exact,
            "rows": [[int(n) for n in row] for row in self.pearson_sums.count],
            "left_out": self.left_out,
        }


class Associations:
    """Cramer's V of columns with few values, all of which are known."""

    def __init__(self, values: Mapping[str, Sequence[object]], left_out: Sequence[str]) -> None:
        self.values, self.left_out = values, list(left_out)
        self.tables = {
            (a, b): np.zeros((len(values[a]), len(values[b])), dtype=np.int64)
            for place, a in enumerate(values)
            for b in list(values)[place + 1 :]
        }

    def begin_part(self) -> "Associations":
        """The same for one partition, with nothing taken."""
        return Associations(self.values, self.left_out)

    def merge(self, part: "Associations") -> None:
        """Take what a part has taken."""
        for pair, table in self.tables.items():
            table += part.tables[pair]

    def add(self, batch: pa.RecordBatch) -> None:
        codes = {}
        for name, values in self.values.items():
            column = batch.column(name)
            codes[name] = pc.fill_null(pc.index_in(column, pa.array(values, column.type)), -1).to_numpy(
                zero_copy_only=False
            )
        for (a, b), table in self.tables.items():
            both = (codes[a] >= 0) & (codes[b] >= 0)
            places = codes[a][both].astype(np.int64) * table.shape[1] + codes[b][both]
            table += np.bincount(places, minlength=table.size).reshape(table.shape)

    def to_report(self) -> JSON:
        names = list(self.values)
        v = {pair: compute_cramers_v(table) for pair, table in self.tables.items()}
        square = [[1.0 if a == b else v.get((a, b), v.get((b, a))) for b in names] for a in names]
        return {"columns": names, "cramers_v": square, "left_out": self.left_out}


def compute_cramers_v(table: npt.NDArray[np.int64]) -> float | None:
    """V of a table of counts; None where one of the two has only one value."""
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0].astype(np.float64)
    least = min(table.shape) - 1
    if least < 1:
        return None
    total = table.sum()
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / total
    chi = float((np.square(table - expected) / expected).sum())
    return round(float(np.sqrt(chi / (total * least))), 12)
