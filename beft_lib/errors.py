"""Errors a learner can act on: each names the offending value, the known options and the way out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BeftError(Exception):
    """Base of every error this library raises on purpose."""


class UnknownName(BeftError, ValueError):  # noqa: N818 - reads as what it is
    """A name that is in none of our tables.

    Args:
        kind: what was asked for ("task", "method", "profile" …).
        value: what was given.
        options: what there is.
        fix: one more sentence on the way out.
    """

    def __init__(self, kind: str, value: object, options: Iterable[str], fix: str = ""):
        known = list(options)
        close = difflib.get_close_matches(str(value), known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        super().__init__(
            f"Unknown {kind} {value!r}.{hint} Known: {', '.join(known) or 'none'}.{' ' + fix if fix else ''}"
        )
        self.kind, self.value, self.options = kind, value, known


class DataError(BeftError, ValueError):
    """A data file or a data set that cannot be used as it is."""


class DataWarning(UserWarning):
    """Data that can be used, with something to know about it."""


class ModelError(BeftError, ValueError):
    """A model that cannot be found, loaded or taken apart."""


class ScoreError(BeftError, ValueError):
    """Vectors that have no score, or scores that have no ranking."""


class TrainingError(BeftError, ValueError):
    """A run that cannot start or had to stop."""


class Diverged(TrainingError):  # noqa: N818 - what happened, not a mistake in a call
    """A run whose loss or gradient is no longer finite: most often its learning rate is too high."""


class AdapterError(BeftError, ValueError):
    """An adapter folder that does not fit, or is not whole."""
