"""Grids of runs over one loaded model: every finished run is kept at once, in a results file (``results.py``), and
none is done twice.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn
from tqdm.std import tqdm

from . import runtime
from .architectures import TERMS
from .biases import add_biases, find_biases
from .errors import DataError, Diverged, ModelError, TrainingError, UnknownName
from .methods import method_row, recipe_for
from .models import load_model
from .probing import probe
from .rankings import check_classes
from .results import Sheet, circumstances, data_print, portable
from .rulers import MEASURED_AFTER, after_head, after_probe, facts
from .scores import importance_per_layer, magnitude_per_layer
from .shards import Shard
from .tasks import TASKS, Task, load_task
from .training import Training
from .tuning import evaluated, fine_tune
from .watching import progress_bar

RATES = (3e-4, 1e-3, 3e-3, 1e-2)  # tried for each method; one with a rate of its own tries the same multiples of that
RATE_UNIT = 1e-3


@dataclass(frozen=True)
class Grid:
    """What to run: every method on every task with every seed, on one model, loaded once a task and reset between runs.

    Attributes:
        model: as in ``load_model``; of a role ("bert") the rows name the model that it is here.
        tasks: names, or tasks of one's own (``own_task``), whose examples are then the same for every seed.
        changes: of the recipe: ``{"epochs": 2}``.
        rates: learning rates to choose from for each task and method, on a held-out part of *train* (validation is
            never looked at); () takes the recipe's. ``rate_seed`` draws the examples and the part held out.
        rates_of: the same for methods by name, whatever their layers: ``{"full": (1e-4, 3e-4)}``. What is not named
            takes ``rates_for``'s.
        held_out: share of train that is held out for it.
        prompted: ask a language model in words (None: where the task knows no other way).
        size: how many training examples where ``n_train`` does not say: the task's "low", "medium" or "high".
        rulers: measure every ruler as well (``beft_lib/rulers.py``), after the runs of ``MEASURED_AFTER``.
        add_biases: give a model without query, key or value biases some of zero first.
    """

    model: str | Path
    tasks: Sequence[str | Task]
    methods: Sequence[str]
    seeds: Sequence[int] = (0,)
    data: str | Path | None = None
    n_train: int | None = None
    changes: Mapping[str, Any] | None = None
    rates: Sequence[float] = ()
    rates_of: Mapping[str, Sequence[float]] = field(default_factory=dict)
    rate_seed: int = 0
    held_out: float = 0.25
    rulers: bool = False
    prompted: bool | None = None
    size: str = "low"
    add_biases: bool = False

    def __len__(self) -> int:
        """Runs that end in a score on validation; those that choose a rate come on top."""
        return len(self.tasks) * len(self.methods) * len(self.seeds)

    @property
    def trained(self) -> list[str]:
        """The methods that train; the others only ask."""
        return [method for method in self.methods if method_row(method).shots is None]

    def tried(self, method: str) -> Sequence[float]:
        """The learning rates that are tried for a method."""
        return self.rates_of.get(method.partition("@")[0]) or rates_for(method, self.rates)

    def task(self, name: str | Task, seed: int) -> Task:
        if isinstance(name, Task):
            return name
        return load_task(name, self.data, self.size, self.n_train, seed=seed, prompted=self.prompted)


def run_grid(
    grid: Grid,
    path: str | Path,
    progress: bool | None = None,
    shard: Shard | None = None,
    known: Iterable[Mapping[str, Any]] = (),
) -> Iterator[dict[str, Any]]:
    """Run what ``path`` does not hold yet, and yield each row as soon as it is stored there.

    With ``shard`` only a part of the grid, stored beside ``path`` in a file of its own; ``read_shards`` reads all of
    them. A run that is among the rows ``known`` (of other files) is copied and not made again. Ctrl-C keeps what is
    finished; the next call goes on. A try for a learning rate that diverges is a row without a score (null in the file,
    nan here) whose ``diverged`` says why.

    Raises UnknownName, DataError, ModelError or TrainingError before anything is trained where the grid cannot run.
    """
    for method in grid.methods:
        method_row(method)
    for name in grid.tasks:
        if not isinstance(name, Task) and name not in TASKS:
            raise UnknownName("task", name, TASKS)
    grid = replace(grid, model=model_name(grid.model))
    sheet = Sheet(Path(path), shard, known)
    tasks = {(at, seed): grid.task(name, seed) for at, name in enumerate(grid.tasks) for seed in grid.seeds}
    for task in tasks.values():
        _check_task(grid, task)
    rates = len(grid.tasks) * sum(len(grid.tried(method)) for method in grid.trained) if grid.rates else 0
    bar = progress_bar(len(grid) + rates, f"runs of {Path(grid.model).name}", progress)
    bar.unit = "run"
    with bar:
        for at, name in enumerate(grid.tasks):
            runs = _Runs(grid, sheet, bar)  # a head fits one task: one loaded model for all its seeds and methods
            for turn, seed in enumerate(grid.seeds):
                for place, method in enumerate(grid.methods):
                    # Where a rate is chosen first, all seeds of a method stay with the job that chose it.
                    line = at if grid.rates else at * len(grid.seeds) + turn
                    if shard is not None and not shard.holds(line * len(grid.methods) + place):
                        continue
                    changes = dict(grid.changes or {})
                    if grid.rates and method in grid.trained:
                        changes["learning_rate"] = yield from runs.choose_rate(name, method)
                    yield from runs.once(tasks[at, seed], method, seed, changes, "validation")


def model_name(model: str | Path) -> str:
    """The model that a role is here ("bert": pocket-bert or minilm, as the profile decides); any other as it is given.

    A row has to name the model: under another profile the same role is another one.
    """
    roles = {row.family for row in runtime.MODELS.values()}
    return runtime.find_model(str(model)).name if str(model) in roles else str(model)


def _check_task(grid: Grid, task: Task) -> None:
    """Raises now what a run of the grid on this task would raise in the end: one class only, too large a batch."""
    if "all_biases" in grid.methods or (grid.rulers and "head" in grid.methods):
        check_classes(task)
    recipes = [recipe_for(task, method_row(method), **(grid.changes or {})) for method in grid.trained]
    batch = max((recipe.batch_size for recipe in recipes), default=0)
    left, told, out = len(task.train), "", ""
    if grid.rates and recipes:
        left = len(held_out(task, grid.held_out, grid.rate_seed).train)
        told = f" that are left of {len(task.train)} once {grid.held_out:.0%} are held out to choose a learning rate"
        out = ", or no rates to choose from"
    if batch > left:
        raise TrainingError(
            f"batch_size {batch} is larger than the {left} training examples of {task.name}{told}. Take more examples "
            f"(n_train), a batch_size of at most {left} in the recipe's changes{out}."
        )


def _check_biases(grid: Grid, model: nn.Module) -> None:
    """Raises ModelError where a method or ruler of the grid needs a bias that the model lacks."""
    needed = {term for row in map(method_row, grid.methods) if row.peft is None for term in row.terms}
    ruled = grid.rulers and set(MEASURED_AFTER) & set(grid.methods)
    try:
        find_biases(model, [term for term in TERMS if ruled or term in needed])
    except ModelError as error:
        told = " A grid does so with add_biases=True; at the command line that is --add-biases."
        raise ModelError(f"{error}{told if 'add_biases' in str(error) else ''}") from None


class _Runs:
    """The runs of one task of a grid: each is looked up first, and the model loaded only when one has to be made."""

    def __init__(self, grid: Grid, sheet: Sheet, bar: tqdm):
        self.grid, self.sheet, self.bar = grid, sheet, bar
        self.model: nn.Module | None = None
        self.rates: dict[str, float] = {}

    def once(
        self, task: Task, method: str, seed: int, changes: Mapping[str, Any], scored_on: str
    ) -> Generator[dict[str, Any], None, dict[str, Any]]:
        """One run: yielded when it was made now, returned in any case."""
        fixed = {
            "model": str(self.grid.model), "task": task.name, "source": portable(task.source),
            "n_train": len(task.train), "method": method, "seed": seed, "changes": dict(changes),
            "scored_on": scored_on, "data": data_print(task), **({"prompted": True} if task.prompt else {}),
        }  # fmt: skip
        counts = scored_on == "validation"
        rulers = self.grid.rulers and counts and method in MEASURED_AFTER
        found = self.sheet.find(fixed, rulers)
        if found is not None:
            self.bar.total -= 1  # time left is that of what is left
            return found
        self.bar.set_postfix_str(f"{task.name} {method} seed {seed}")
        if self.model is None:
            self.model = load_model(self.grid.model, task, seed=seed)
            if self.grid.add_biases:
                add_biases(self.model)
            _check_biases(self.grid, self.model)
        run = _measure if counts else _try
        row = {**run(self.model, task, method, seed, changes, counts, rulers), **fixed, **circumstances()}
        self.sheet.add(row)
        self.bar.update()
        yield row if row["score"] is not None else {**row, "score": math.nan}  # who prints it needs a number
        return row

    def choose_rate(self, name: str | Task, method: str) -> Generator[dict[str, Any], None, float]:
        """The rate of the best score on the part held out of train; the smallest among equals. Once a method.

        A rate that diverges is not chosen. Raises TrainingError where all do.
        """
        if method in self.rates:
            return self.rates[method]
        grid = self.grid
        part = held_out(grid.task(name, grid.rate_seed), grid.held_out, grid.rate_seed)
        scores = {}
        tried = grid.tried(method)
        for rate in tried:
            changes = {**(grid.changes or {}), "learning_rate": rate}
            row = yield from self.once(part, method, grid.rate_seed, changes, "held-out part of train")
            if row["score"] is not None and not math.isnan(row["score"]):
                scores[rate] = row["score"]
        if not scores:
            rates = ", ".join(f"{rate:g}" for rate in tried)
            raise TrainingError(
                f"{method} on {part.name} diverged at every learning rate tried ({rates}); the tries are rows of "
                f"{self.sheet.path}. Give it smaller rates (rates, or rates_of)."
            )
        self.rates[method] = best_rate(scores)
        return self.rates[method]


def best_rate(scores: Mapping[float, float]) -> float:
    """The learning rate of the best score; the smallest among equals."""
    return max(sorted(scores), key=scores.__getitem__)


def held_out(task: Task, share: float = 0.25, seed: int = 0) -> Task:
    """The task with a part of its training examples held out as validation; its own validation is not in it."""
    if not 0 < share < 1 or round(share * len(task.train)) < 1:
        raise DataError(f"held_out is {share!r} of {len(task.train)} training examples; take a share between 0 and 1.")
    parts = task.train.train_test_split(test_size=share, seed=seed)
    return replace(task, train=parts["train"], validation=parts["test"], size=f"{task.size}, {share:.0%} held out")


def rates_for(method: str, rates: Sequence[float] = RATES) -> list[float]:
    """The learning rates to try: for a method with a rate of its own (full), the same multiples of that."""
    own = method_row(method).learning_rate
    return [float(f"{rate if own is None else own * rate / RATE_UNIT:.3g}") for rate in rates]


def _measure(
    model: nn.Module, task: Task, method: str, seed: int, changes: Mapping[str, Any], counts: bool, rulers: bool
) -> dict[str, Any]:
    """One run as a row. ``counts``: it is no try for a learning rate, so what it can tell besides is kept as well."""
    if method != "all_biases" or not counts:
        run = fine_tune(model, task, method, seed=seed, progress=False, **changes)
        extra = {"rulers": after_head(model, task, run), **facts(model)} if rulers else {}
        return {**run.row(), **extra}
    # All biases is also the paper's probe: one training gives both the performance and the scores.
    seen = probe(model, task, seed=seed, all_biases=True, progress=False, **changes)
    if seen.stopped:
        raise KeyboardInterrupt  # a probe returns what it saw; a row has to be a whole run
    done = Training(int(seen.steps[-1]), seen.seconds, seen.peak_memory, seen.losses)
    run = evaluated(model, task, method, seed, seen.counts, seen.recipe, done)
    scores = {"importance": importance_per_layer, "magnitude": magnitude_per_layer}
    return {
        **run.row(),
        **{name: {t: s.mean().item() for t, s in seen.scores(score=score).items()} for name, score in scores.items()},
        **({"rulers": after_probe(model, task, seen), **facts(model)} if rulers else {}),
    }


def _try(
    model: nn.Module, task: Task, method: str, seed: int, changes: Mapping[str, Any], *what: bool
) -> dict[str, Any]:
    """``_measure`` of a try for a learning rate: one that diverges is a row as well, or each resume would end there."""
    begun = time.perf_counter()
    try:
        return _measure(model, task, method, seed, changes, *what)
    except Diverged as error:
        seconds = time.perf_counter() - begun
        return {"metric": task.metric, "score": None, "learning_rate": changes["learning_rate"], "seconds": seconds,
                "diverged": f"diverged: {error}"}  # fmt: skip
