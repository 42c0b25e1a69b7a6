"""Metrics of rankings: each query's rows in the order that the model gives them."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from deepseek.evaluate.measures import Blocks, Floats, Measure, Target, build_sum_measures, divide_or_nan, sum_by_block


def build_ranking_measures(
    scores: Floats, relevance: Floats, query: Target, blocks: Blocks, count: int, *, places: Sequence[int]
) -> list[Measure]:
    """ndcg_at_<k>, map and mrr: means over the queries that have a relevant row (relevance above 0).

    `query` (n,) numbers the query of each row; `blocks` (queries,) is the block of each query, for queries, not rows,
    are drawn. See `measure_query` for the values of one.
    """
    order = np.argsort(query, kind="stable")
    edges = [*np.flatnonzero(np.diff(query[order], prepend=-1)).tolist(), len(query)]
    values = np.array([measure_query(scores[order[a:b]], relevance[order[a:b]], places) for a, b in pairwise(edges)])
    counts = np.isfinite(values[:, 0]).astype(np.float64)
    sums = sum_by_block([counts, *np.nan_to_num(values).T], blocks, count)
    names = [*(f"ndcg_at_{place}" for place in places), "map", "mrr"]
    return build_sum_measures(sums, [(name, "higher", _build_mean(at)) for at, name in enumerate(names, start=1)])


def _build_mean(column: int) -> Callable[[Floats], Floats]:
    return lambda s: divide_or_nan(s[:, column], s[:, 0])


def measure_query(scores: Floats, relevance: Floats, places: Sequence[int]) -> list[float]:
    """NDCG at each of `places`, average precision, reciprocal rank; NaN where no row is relevant.

    NDCG (Jarvelin and Kekalainen 2002) with the relevance as gain and 1 / log2(rank + 1) as discount; rows of equal
    scores share the mean gain of their ranks (McSherry and Najork 2008). For the other two a tie is broken against the
    model, so that equal scores for all earn nothing.
    """
    if not (relevance > 0).any():
        return [float("nan")] * (len(places) + 2)
    discount = 1 / np.log2(np.arange(2, len(scores) + 2))
    _, level = np.unique(-scores, return_inverse=True)
    gain = (np.bincount(level, weights=relevance) / np.bincount(level))[np.sort(level)]
    ideal = np.sort(relevance)[::-1]
    ndcg = [float((gain * discount)[:place].sum() / (ideal * discount)[:place].sum()) for place in places]
    hits = relevance[np.lexsort((relevance > 0, -scores))] > 0
    ranks = np.flatnonzero(hits) + 1
    return [*ndcg, float((np.arange(1, len(ranks) + 1) / ranks).mean()), float(1 / ranks[0])]
