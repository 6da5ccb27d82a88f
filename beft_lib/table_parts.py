"""What is measured for lesson 05's table of methods: its parts, each with the recipe by which the course did it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .errors import DataError, UnknownName
from .experiments import Grid

ELSEWHERE = ("rulers*.json", "minilm_mini.json")  # what was run for these is not run again for the table
METHODS = (
    "head", "value", "query", "key", "value@top-half", "random_uniform", "all_biases", "full", "lora", "prefix",
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """A part of the table and its recipe.

    Attributes:
        data: None: a folder of one's own has to be given.
        n_train: training examples; None for the size's.
        epochs: None for the paper's.
        rates: learning rates to choose from for each method, on a held-out part of train; () for the paper's.
        rates_of: those of methods by name, where theirs are others.
    """

    title: str
    models: tuple[str, ...]
    data: str | None
    tasks: tuple[str, ...]
    sizes: tuple[str, ...] = ("low",)
    methods: tuple[str, ...] = METHODS
    n_train: int | None = None
    epochs: float | None = None
    rates: tuple[float, ...] = ()
    rates_of: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


# Wide enough that a method is rarely at its best at an end: query on MiniLM's stsb was, while the grid ended at 1e-2.
_BIASES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
# Matrices want smaller rates: on MiniLM's stsb the best of LoRA's is 1e-3.
_MATRICES = {"lora": (3e-4, 1e-3, 3e-3, 1e-2), "full": (3e-5, 1e-4, 3e-4, 1e-3)}
_POCKET: dict[str, Any] = {"epochs": 12, "rates": _BIASES, "rates_of": _MATRICES}
PARTS: dict[str, Part] = {
    "mini": Part("MiniLM on the shipped English tasks", ("minilm",), "mini", ("stsb", "sst2", "rte"),
                 epochs=8, rates=_BIASES, rates_of=_MATRICES),
    "pocket": Part("the pocket models on their own world", ("pocket-bert", "pocket-roberta"), "pocket",
                   ("cola", "stsb", "rte"), n_train=300, **_POCKET),  # where head only leaves something to learn
    "sizes": Part("more examples: does full overtake?", ("pocket-bert",), "pocket", ("stsb",),
                  ("medium", "high"), ("head", "value", "full"), **_POCKET),
    "real": Part("MiniLM on the real RTE and CoLA (--data FOLDER)", ("minilm",), None, ("rte", "cola"),
                 epochs=8, rates=(1e-3, 3e-3, 1e-2), rates_of={**_MATRICES, "full": (3e-5, 1e-4, 3e-4)}),
}  # fmt: skip
RECIPE = ("n_train", "epochs", "rates", "full_rates")  # what may be given instead of a part's


def grids(
    names: Sequence[str],
    seeds: Sequence[int],
    data: Path | None = None,
    methods: Sequence[str] = (),
    models: Sequence[str] = (),
    paper: bool = False,
    **recipe: Any,
) -> list[Grid]:
    """What is to be run, seed by seed: at any time the seeds that are done make a whole table.

    Args:
        names: keys of ``PARTS``.
        data: the folder for the parts that need one.
        methods, models: of the parts', these only; () for all.
        paper: leave each part's recipe out: the paper's size, epochs and rates.
        recipe: ``RECIPE``'s instead of the parts' (``full_rates``: those of full); None and () leave them.

    Raises UnknownName, and DataError where a folder is missing.
    """
    for name in names:
        if name not in PARTS:
            raise UnknownName("part", name, PARTS)
        if PARTS[name].data is None and data is None:
            raise DataError(f"The part {name!r} ({PARTS[name].title}) needs a folder with its tasks: --data FOLDER.")
    every = list(dict.fromkeys(model for name in names for model in PARTS[name].models))
    for model in models:
        if model not in every:
            raise UnknownName(f"model of {', '.join(names) or 'no part'}", model, every)
    given = {name: value for name, value in recipe.items() if value is not None and value != ()}
    full = {"full": given.pop("full_rates")} if "full_rates" in given else {}
    bare: dict[str, Any] = {"n_train": None, "epochs": None, "rates": ()} if paper else {}
    parts = []
    for part in (PARTS[name] for name in names):
        kept = () if paper else ("full",) if "rates" in given else part.rates_of  # rates that are given count for LoRA
        rates_of = {name: part.rates_of[name] for name in kept if name in part.rates_of} | full
        parts.append(replace(part, **(bare | given), rates_of=rates_of))
    return [grid for seed in seeds for part in parts for grid in _grids(part, seed, data, methods, models)]


def _grids(part: Part, seed: int, data: Path | None, methods: Sequence[str], models: Sequence[str]) -> Iterator[Grid]:
    changes = {} if part.epochs is None else {"epochs": float(part.epochs)}
    for model in (model for model in part.models if not models or model in models):
        for size in part.sizes:
            yield Grid(
                model, part.tasks, methods or part.methods, (seed,), part.data or data,
                part.n_train if len(part.sizes) == 1 else None, changes, part.rates, part.rates_of,
                size=size,
            )  # fmt: skip
