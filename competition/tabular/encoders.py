"""The parts of `Features` that learn: levels of a category, target means, directions of a text, scaling of quantities."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfTransformer
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import PowerTransformer, TargetEncoder

MIN_ROWS = 3  # a level of fewer training rows is `rare`; so are levels that training rows lack
OUTPUTS = 10  # that get target means of their own, the most frequent classes first
TEXT_ROWS = 20_000  # rows that the directions of a text are found on
HASHES = 2**15
SKEWED = 1.0  # skewness, from which on a quantity is made symmetric
CLIP = 3.0
FAR = 1e6  # whose square is finite; beyond it the smooth clip gives 3 all the same


class Levels:
    """A category's levels, the most frequent first; rare and unseen ones are the last, `rare`, where there are rare ones."""

    def fit(self, cells: np.ndarray) -> Levels:
        counts = pd.Series(cells, dtype=object).value_counts()
        counts = counts.sort_index(kind="stable").sort_values(ascending=False, kind="stable")
        self.text = json.dumps(counts.index.tolist())  # as an array every level would be as wide as the longest
        self.counts = counts.to_numpy(copy=True)
        kept = int((self.counts >= MIN_ROWS).sum())
        self.kept = kept if kept and len(counts) - kept > 1 else len(counts)
        self.has_rare = self.kept < len(counts)
        return self

    @property
    def values(self) -> pd.Index:
        return pd.Index(json.loads(self.text), dtype=object)

    def __len__(self) -> int:
        return self.kept + self.has_rare

    @property
    def names(self) -> list[str]:
        return [*self.values[: self.kept].tolist(), *["(rare)"] * self.has_rare]

    def all_codes(self, cells: np.ndarray) -> np.ndarray:
        """[rows] position of each cell's level, rare ones apart; -1: unseen."""
        return self.values.get_indexer(pd.Index(cells, dtype=object))

    def codes(self, cells: np.ndarray) -> np.ndarray:
        """[rows] float: the level, rare ones together; NaN where unseen and no level is rare."""
        codes = self.all_codes(cells).astype(float)
        rare = (codes < 0) | (codes >= self.kept)
        codes[rare] = self.kept if self.has_rare else np.nan
        return codes

    def one_hot(self, cells: np.ndarray) -> np.ndarray:
        """[rows, levels] 0 or 1; all 0 where unseen and no level is rare."""
        return (self.codes(cells)[:, None] == np.arange(len(self))).astype(np.float32)

    def log_counts(self, cells: np.ndarray) -> np.ndarray:
        """[rows] log(1 + training rows of the level)."""
        codes = self.all_codes(cells)
        return np.log1p(np.where(codes < 0, 0, self.counts[codes.clip(0)]))


class TargetMeans:
    """Mean target by level, shrunk to the overall mean by empirical Bayes (scikit-learn's TargetEncoder), an output each."""

    def __init__(self, seed: int):
        self.seed = seed

    def fit_transform(self, codes: pd.DataFrame, y: np.ndarray) -> pd.DataFrame:
        """codes: [rows, categories]. Cross-fitted: a row's means come from the other four fifths of the rows."""
        self.outputs = np.sort(np.argsort(-y.sum(axis=0), kind="stable")[:OUTPUTS]) if len(codes.columns) else []
        fifths = KFold(5, shuffle=True, random_state=self.seed)
        self.encoders = [TargetEncoder(target_type="continuous", cv=fifths) for _ in self.outputs]
        parts = [e.fit_transform(codes, y[:, j]) for e, j in zip(self.encoders, self.outputs, strict=True)]
        return self._named(codes, parts)

    def transform(self, codes: pd.DataFrame) -> pd.DataFrame:
        return self._named(codes, [e.transform(codes) for e in self.encoders])

    def _named(self, codes: pd.DataFrame, parts: list[np.ndarray]) -> pd.DataFrame:
        tables = [
            pd.DataFrame(part, index=codes.index, columns=[f"{c}: mean {j}" for c in codes])
            for j, part in zip(self.outputs, parts, strict=True)
        ]
        return pd.concat(tables, axis=1) if tables else pd.DataFrame(index=codes.index)


class Text:
    """A free text as numbers: which of its most common words stand in it, and where it lies in the main directions of
    words, pairs of words and pieces of words, weighed by TF-IDF (latent semantic analysis).
    """

    def __init__(self, dims: int, seed: int):
        words = make_pipeline(HashingVectorizer(n_features=HASHES, ngram_range=(1, 2), norm=None), TfidfTransformer())
        pieces = HashingVectorizer(n_features=HASHES, analyzer="char_wb", ngram_range=(3, 4), norm=None)
        self.tfidf = make_union(words, make_pipeline(pieces, TfidfTransformer()))
        self.dims, self.seed = dims, seed

    def fit(self, cells: pd.Series) -> Text:
        cells = cells.sample(min(TEXT_ROWS, len(cells)), random_state=self.seed)
        self.words = self._common(cells)
        self.common = CountVectorizer(binary=True, vocabulary=self.words)
        self.svd = TruncatedSVD(min(self.dims, len(cells) - 1), random_state=self.seed)
        self.svd.fit(self.tfidf.fit_transform(cells))
        return self

    def _common(self, cells: pd.Series) -> list[str]:
        """The words whose presence tells most rows apart: those nearest to standing in half of them."""
        counter = CountVectorizer(binary=True)
        try:
            share = np.asarray(counter.fit_transform(cells).mean(axis=0)).ravel()
        except ValueError:  # no cell holds a word
            return [""]
        words = counter.get_feature_names_out()[np.argsort(abs(share - 0.5), kind="stable")[: self.dims]]
        return sorted(words.tolist())

    def transform(self, cells: pd.Series) -> pd.DataFrame:
        directions = pd.DataFrame(self.svd.transform(self.tfidf.transform(cells)), index=cells.index)
        present = self.common.transform(cells).toarray().astype(float)
        words = pd.DataFrame(present, index=cells.index, columns=[f"has {w}" for w in self.words])
        return pd.concat([directions.add_prefix("direction "), words], axis=1)


class Scaling:
    """Quantities for models of slopes and distances. Missing ones are the median, and told apart; skewed ones are made
    symmetric (Yeo and Johnson, 2000); then all are centred, scaled and clipped smoothly to -3..3, as RealMLP has it
    (Holzmueller et al., NeurIPS 2024).
    """

    def fit(self, values: np.ndarray) -> Scaling:
        """values: [rows, quantities], NaN where missing."""
        self.gaps = np.flatnonzero(np.isnan(values).any(axis=0))
        empty = np.isnan(values).all(axis=0)
        self.medians = np.nanmedian(np.where(empty, 0.0, values), axis=0)
        values = self._filled(values)
        self.skewed = np.flatnonzero(np.abs(_skewness(values)) > SKEWED)
        self.power = PowerTransformer(standardize=False).fit(values[:, self.skewed]) if len(self.skewed) else None
        values = self._straight(values)
        low, self.centre, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
        width = np.where(high > low, high - low, np.ptp(values, axis=0) / 2)
        self.width = np.where(width > 0, width, 1.0)
        return self

    def transform(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """[rows, quantities] and [rows, quantities with gaps], 1 where missing."""
        scaled = np.clip((self._straight(self._filled(values)) - self.centre) / self.width, -FAR, FAR)
        return scaled / np.sqrt(1 + np.square(scaled / CLIP)), np.isnan(values[:, self.gaps]).astype(float)

    def _filled(self, values: np.ndarray) -> np.ndarray:
        return np.where(np.isnan(values), self.medians, values)

    def _straight(self, values: np.ndarray) -> np.ndarray:
        if self.power is None:
            return values
        values = values.copy()
        values[:, self.skewed] = self.power.transform(values[:, self.skewed])
        return values


def _skewness(values: np.ndarray) -> np.ndarray:
    """[columns] third standardised moment; 0 of a constant."""
    centred = values - values.mean(axis=0)
    scale = centred.std(axis=0)
    return (centred**3).mean(axis=0) / np.where(scale > 0, scale, 1.0) ** 3
