"""Metrics on evaluate's interface that need no network: ``evaluate.load("glue", …)`` would fetch a script.

The arithmetic is scikit-learn's and scipy's. Every metric is a fraction or a correlation, never a percentage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from sklearn import metrics as sk

from .errors import DataError, UnknownName


def _correlation(function: Callable[..., Any]) -> Callable[[ArrayLike, ArrayLike], float]:
    def correlate(references: ArrayLike, predictions: ArrayLike) -> float:
        # A constant prediction tells nothing about the reference; scipy's NaN would poison every mean after it.
        if np.ptp(predictions) == 0 or np.ptp(references) == 0:
            return 0.0
        return float(function(references, predictions).statistic)

    return correlate


METRICS: dict[str, Callable[[Any, Any], float]] = {
    "accuracy": sk.accuracy_score,
    "f1": lambda y, p: sk.f1_score(y, p, zero_division=0.0),  # type: ignore[arg-type]
    "macro_f1": lambda y, p: sk.f1_score(y, p, average="macro", zero_division=0.0),  # type: ignore[arg-type]
    "matthews": sk.matthews_corrcoef,
    "pearson": _correlation(stats.pearsonr),
    "spearman": _correlation(stats.spearmanr),
}

LOWEST = {"matthews": -1.0, "pearson": -1.0, "spearman": -1.0}  # 0 for the others; the highest is 1 for all


class TaskMetric(evaluate.Metric):
    """Several metrics of one task at once; ``compute``, ``add_batch`` and ``combine`` are evaluate's.

    Args:
        names: keys of ``METRICS``.
        regression: whether predictions and references are floats (else integer labels).

    >>> TaskMetric(["accuracy"]).compute(predictions=[0, 1], references=[0, 0])
    {'accuracy': 0.5}
    """

    def __init__(self, names: Sequence[str], regression: bool = False, **kwargs: Any):
        for name in names:
            if name not in METRICS:
                raise UnknownName("metric", name, METRICS)
        self.names, self.regression = tuple(names), regression
        # evaluate would write what it is given into the user's cache, which may be read-only or on a slow drive.
        super().__init__(**{"keep_in_memory": True, **kwargs})

    def _build_data_dir(self) -> str:
        """No folder where nothing is written: in a folder that a class shares, it would be the first one's."""
        return self._data_dir_root if self.keep_in_memory else super()._build_data_dir()

    def _info(self) -> evaluate.MetricInfo:
        kind = datasets.Value("float32" if self.regression else "int64")
        return evaluate.MetricInfo(
            description=f"{', '.join(self.names)}, computed by scikit-learn and scipy without the network",
            citation="",
            inputs_description="predictions and references: one number each per example",
            features=datasets.Features({"predictions": kind, "references": kind}),
        )

    def _compute(self, *, predictions: ArrayLike, references: ArrayLike, **_: Any) -> dict[str, float]:  # type: ignore[override]
        return measure(self.names, predictions, references)


def measure(names: Sequence[str], predictions: ArrayLike, references: ArrayLike) -> dict[str, float]:
    """``{name: value}`` for (N,) predictions and (N,) references. Raises DataError for none, or for unequal numbers."""
    predictions, references = np.asarray(predictions), np.asarray(references)
    if predictions.shape != references.shape or predictions.ndim != 1 or predictions.size == 0:
        raise DataError(
            "A metric needs as many predictions as references, at least one; "
            f"got shapes {predictions.shape} and {references.shape}."
        )
    return {name: float(METRICS[name](references, predictions)) for name in names}


def interval(values: np.ndarray) -> float:
    """Half the width of the 95 % t-interval of the mean of (N,) values; NaN for one value alone."""
    if len(values) < 2:
        return float("nan")
    return float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
