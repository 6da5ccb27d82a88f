"""What measured rulers come to, for a picture or a sentence: rows of results files in, tidy tables and words out.

Nothing is run here; the statistics are those of ``comparing.py``, whose *cell* is one task with one seed on one model.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .architectures import TERMS
from .cautions import notes
from .comparing import ALWAYS, TIED, Cell, Row, _pick, agreement, cells, paired, rooms, split
from .errors import DataError
from .metrics import interval
from .relating import covered
from .results import shipped_rows
from .rulers import RULERS

if TYPE_CHECKING:
    import pandas as pd

SHOWN = ("importance", "magnitude", "Fisher, warm head")  # the three of lesson 04
WHOLE, EARLY = "importance", "importance, early stop"
AIM = (0.95, 0.10)  # of the early stop: in this share of cells the whole probe's choice, at this share of its steps
MEASURE = (
    "python -m beft_lib rulers --model minilm --data mini --tasks cola sst2 stsb cb rte wic --seeds 0 1 2 --epochs 8 "
    "--rates 3e-3 1e-2 --out data/results/rulers_minilm_mini.json"
)


def shipped(pattern: str = "rulers*.json", with_biases: bool | None = None) -> list[Row]:
    """The rows of every results file of this name that ships; [] while no task has been measured whole.

    Args:
        with_biases: only models that have query, key and value biases of their own (True), or only those to which some
            of zero were added (False); None: both.
    """
    rows: list[Row] = [*shipped_rows(pattern)]
    try:
        have, bare = split(rows)
    except DataError:
        return []
    return rows if with_biases is None else have if with_biases else bare


def points(rows: Iterable[Row], rulers: Sequence[str] = SHOWN) -> pd.DataFrame:
    """Score against performance, one line for each ruler, model, task and term.

    ``share`` is the term's part of the ruler's three scores, which makes rulers and tasks comparable; ``gain`` the
    performance of that term tuned alone, above head only, in the task's own metric; ``gained`` the same as a share of
    what head only leaves to gain (``comparing.rooms``). Means over seeds, with half their 95 % intervals.
    """
    import pandas as pd

    lines, found = [], cells(rows)
    room = rooms(found)
    for (model, task), every in _grouped(found).items():
        for ruler in (name for name in rulers if all(name in cell.rulers for cell in every)):
            for term in TERMS:
                share = np.array([_share(cell, ruler, term) for cell in every])
                gain = np.array([cell.scores[term] - cell.scores["head"] for cell in every])
                line = {"ruler": ruler, "model": model, "task": task, "term": term, "seeds": len(every)}
                for name, of in (("share", share), ("gain", gain), ("gained", gain / room[model, task])):
                    line |= {name: of.mean(), f"± {name}": interval(of)}
                lines.append(line)
    return pd.DataFrame(lines)


def lost(rows: Iterable[Row]) -> pd.DataFrame:
    """Performance given away by each ruler's pick, mean over seeds: model and task by ruler, in the metric's unit.

    So only a row is on one scale; a mean over tasks is ``share lost`` of ``agreement``.
    """
    import pandas as pd

    lines = {}
    for (model, task), every in _grouped(cells(rows)).items():
        lines[f"{model}, {task}"] = {
            name: np.mean([cell.loss(term) for cell, term in zip(every, terms, strict=True)])
            for name, terms in _choices(every, ("value", "query")).items()
        }
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("performance lost")


def alike(table: pd.DataFrame) -> pd.DataFrame:
    """``lost`` with the rulers that give away the same everywhere in one column: "A = B", or "A and 6 more".

    Where a rule that looks at nothing is among them, it comes first: it is what the others have to beat.
    """
    groups: list[list[str]] = []
    for name in table:
        same = next((group for group in groups if np.allclose(table[group[0]], table[name], atol=TIED)), None)
        if same is None:
            groups.append([str(name)])
        else:
            same.append(str(name))
    named = {}
    for group in groups:
        first, *more = sorted(group, key=lambda name: not name.startswith(ALWAYS))
        named[first] = f"{first} and {len(more)} more" if len(more) > 1 else " = ".join([first, *more])
    return table.loc[:, list(named)].set_axis(list(named.values()), axis=1)


def by_model(rows: Iterable[Row]) -> pd.DataFrame:
    """In how many cells a choice was the best term, each model on its own: what holds for one need not for another.

    Rulers and rules by model, with the number of cells in the columns' names: ``minilm, 12 cells``.
    """
    import pandas as pd

    models: dict[str, list[Cell]] = {}
    for cell in cells(rows):
        models.setdefault(cell.model, []).append(cell)
    columns = {}
    for model, every in models.items():
        columns[f"{model}, {len(every)} cells"] = {
            name: sum(term in cell.best for cell, term in zip(every, terms, strict=True))
            for name, terms in _choices(every, TERMS).items()
        }
    return pd.DataFrame(columns)


def plain(rows: Iterable[Row]) -> list[str]:
    """The answer in a few sentences: importance beside a blind draw, the early stop and all others beside the rules
    that look at nothing, and the single term beside all biases.
    """
    rows = list(rows)
    found, table = cells(rows), agreement(rows).set_index("ruler")
    lost_by, right = table["share lost"].to_dict(), (table["right"] * len(found)).to_dict()
    dead = [cell for cell in found if cell.facts.get("key_is_dead")]
    fooled = sum(_pick(cell, "importance") == "key" for cell in dead)
    early = [_pick(cell, EARLY) for cell in found]
    usual = max(TERMS, key=early.count)
    blind = max((f"{ALWAYS}{term}" for term in TERMS), key=right.__getitem__)
    ahead = [name for name in RULERS if name in right and right[name] > right[blind] + TIED]
    ahead_by = [test for test in map(_all_biases, _grouped(found).values()) if test["difference"] > TIED]
    sure = sum(test["p"] < 0.05 for test in ahead_by)
    return [
        f"Importance, read after the whole training, names the best term in {right['importance']:.0f} of {len(found)} "
        f"cells; a blind draw would in {right['at random']:.0f}.",
        f"Of what head only leaves to gain (up to 1, the top of every metric) it gives away "
        f"{_percent(lost_by['importance'])} on average, the blind draw {_percent(lost_by['at random'])}.",
        f"In {fooled} of the {len(dead)} cells whose key can do nothing it names the key.",
        f"Stopped early it is right in {right['importance, early stop']:.0f}; in {early.count(usual)} it says "
        f'"{usual}". Somebody who says "{blind.removeprefix(ALWAYS)}" without looking is right in {right[blind]:.0f}.',
        f"More often right than that somebody: {', '.join(ahead) or 'no ruler'}.",
        *early_stop(found),
        f"All biases together do better than any one term in {len(ahead_by)} of {len(_grouped(found))} rows of models "
        f"and tasks (p below 0.05 in {sure}: paired with the best term, over the seeds).",
    ]


def _all_biases(every: Sequence[Cell]) -> dict[str, float]:
    """All biases paired with the term of the best mean, over the seeds of one model and task."""
    best = max(TERMS, key=lambda term: np.mean([cell.scores[term] for cell in every]))
    return paired(*([cell.scores[method] for cell in every] for method in ("all_biases", best)))


def early_stop(found: Iterable[Cell]) -> list[str]:
    """Whether the early-stopped probe chooses as the whole one, in sentences, beside ``AIM``; [] without such cells.

    Nothing is trained for it: the stop is read off the whole probe's record (``beft_lib/rulers.py``).
    """
    having = [cell for cell in found if all("steps" in cell.rulers.get(name, {}) for name in (WHOLE, EARLY))]
    if not having:
        return []
    same, share = _early(having)
    models: dict[str, list[Cell]] = {}
    for cell in having:
        models.setdefault(cell.model, []).append(cell)
    each = "; ".join(f"{model} {_of(*_early(of))}" for model, of in models.items()) if len(models) > 1 else ""
    met = sum(same) >= AIM[0] * len(same) and share <= AIM[1]
    later = " Where the two differ, another term overtook the first one after the stop." if not all(same) else ""
    return [
        f"The early-stopped probe chooses as the whole one in {_of(same, share)} of its steps on average"
        f"{f' ({each})' if each else ''}. The aim, {AIM[0]:.0%} of cells at {AIM[1]:.0%} of the steps or fewer, is "
        f"{'met' if met else 'missed'}.{later}".replace("%", " %")
    ]


def _early(every: Sequence[Cell]) -> tuple[list[bool], float]:
    """In which cells the early choice is the whole one's, and the mean share of its steps."""
    steps = [cell.rulers[EARLY]["steps"] / cell.rulers[WHOLE]["steps"] for cell in every]
    return [_pick(cell, EARLY) == _pick(cell, WHOLE) for cell in every], float(np.mean(steps))


def _of(same: Sequence[bool], share: float) -> str:
    return f"{sum(same)} of {len(same)} cells, at {share:.1%}"


def told(rows: Iterable[Row]) -> list[str]:
    """What the tables say, in sentences: who is right how often, against whom, where the rulers agree, what is dead."""
    rows = list(rows)
    found = cells(rows)
    table, n = agreement(rows).set_index("ruler"), len(found)
    best = {term: sum(term in cell.best for cell in found) for term in TERMS}
    rulers = table.loc[[name for name in RULERS if name in table.index]]
    blind = table.loc[[f"{ALWAYS}{term}" for term in TERMS]]
    right, always = _leaders(rulers["right"], "max"), _leaders(blind["right"], "max")
    return [
        f"Measured: {covered(found)}.",
        "The term that does best: "
        + ", ".join(f"{term} in {count}" for term, count in best.items())
        + f" of {n} (where terms tie, each counts).",
        f"Right most often: {right}, in {rulers['right'].max() * n:.0f} of {n}. Of the rules that look at nothing, in "
        f"hindsight, {always} is right in {blind['right'].max() * n:.0f}, and a blind draw would be in "
        f"{table.loc['at random', 'right'] * n:.1f}.",
        *_least_lost(rulers["share lost"], blind["share lost"], table["share lost"].to_dict()["at random"]),
        _agreeing(found),
        *notes(rows),
    ]


def _least_lost(rulers: pd.Series, blind: pd.Series, random: float) -> list[str]:
    if np.isnan(random):  # head only is perfect everywhere
        return []
    return [
        f"Least lost on average, of what head only leaves to gain: {_leaders(rulers, 'min')} with "
        f"{_percent(rulers.min())}; {_leaders(blind, 'min')} loses {_percent(blind.min())}, a blind draw "
        f"{_percent(random)}."
    ]


def _percent(share: float) -> str:
    return "nothing (there is none)" if np.isnan(share) else f"{100 * share:.1f} %"


def _agreeing(found: Sequence[Cell]) -> str:
    with_all = [cell for cell in found if set(SHOWN) <= set(cell.rulers)]
    votes = [(cell, {_pick(cell, ruler) for ruler in SHOWN}) for cell in with_all]
    same = [cell.best >= picks for cell, picks in votes if len(picks) == 1]
    *names, last = (f"“{ruler}”" for ruler in SHOWN)  # there are commas in them
    return (
        f"{', '.join(names)} and {last} name the same term in {len(same)} of {len(with_all)} cells; it is the best one "
        f"in {sum(same)} of those."
    )


def _leaders(scores: pd.Series, way: str) -> str:
    """Everyone at the top, not the first of them in the table."""
    top = scores.max() if way == "max" else scores.min()
    names = [str(name) for name, score in scores.items() if abs(score - top) < TIED]
    return f"all {len(names)} alike" if len(names) == len(scores) > 1 else "; ".join(names)


def _choices(every: Sequence[Cell], blind: Sequence[str]) -> dict[str, list[str]]:
    """The term that each ruler names in each cell; and those who say one of ``blind`` without looking."""
    picks = {name: [_pick(c, name) for c in every] for name in RULERS if all(name in c.rulers for c in every)}
    return picks | {f"{ALWAYS}{term}": [term] * len(every) for term in blind}


def _share(cell: Cell, ruler: str, term: str) -> float:
    scores = cell.rulers[ruler]["scores"]
    return scores[term] / (sum(scores.values()) or 1.0)


def _grouped(found: Iterable[Cell]) -> dict[tuple[str, str], list[Cell]]:
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in found:
        groups.setdefault((cell.model, cell.task), []).append(cell)
    return groups
