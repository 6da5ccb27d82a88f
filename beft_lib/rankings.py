"""What every ruler's result can do: a table of scores by layer and term, and a picture of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from .errors import DataError
from .tasks import Task

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


class Tabled:
    """A result that has a table of scores, rows by term with their mean last, and can draw it."""

    label: ClassVar[str] = "importance"  # what the numbers are

    def table(self) -> pd.DataFrame:
        """Scores by layer (or seed) and term."""
        raise NotImplementedError

    def plot(self, **options: Any) -> Axes:
        """The table as a heat map (see ``plots.scores_heatmap``)."""
        from .plots import scores_heatmap

        return scores_heatmap(self.table(), **{"label": self.label, **options})


def ranked(scores: Mapping[str, Tensor]) -> list[tuple[str, float]]:
    """Terms and the mean of their (L,) scores, the highest first; ties in the order given."""
    means = {term: of.mean().item() for term, of in scores.items()}
    return sorted(means.items(), key=lambda item: -item[1])


def layer_table(scores: Mapping[str, Tensor], title: str) -> pd.DataFrame:
    """``{term: (L,)}`` as a table: layers (and their mean, last) by term; ``title`` names its rows."""
    import pandas as pd

    frame = pd.DataFrame({term: of.numpy() for term, of in scores.items()})
    frame.index = pd.Index([f"layer {number}" for number in frame.index], name=title)
    frame.loc["mean"] = frame.mean()
    return frame


def check_classes(task: Task) -> None:
    """Raises DataError where all training examples have one label: every ruler would then rank noise."""
    if task.row.answers:
        return  # nearly every question has an answer of its own
    labels = set(task.train["label"])
    if len(labels) < 2:
        (label,) = labels
        told = f"{label:g}" if task.row.regression else repr(task.row.labels[int(label)])
        raise DataError(
            f"All {len(task.train)} training examples of {task.name} have the label {told}: there is nothing to tell "
            f"apart, so no bias term can matter. Take more examples (n_train), another seed, or data with both."
        )
