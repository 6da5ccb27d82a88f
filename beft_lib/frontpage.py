"""The verb front: the numbers and the picture of the README, from the results files and the paper's tables."""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .architectures import TERMS
from .errors import BeftError
from .files import write_text_whole
from .places import checkout, data_folder

COMMAND = "python -m beft_lib front"
BEGIN, END = f"<!-- written by `{COMMAND}` from data/results and data/paper -->", "<!-- end of what is written -->"
PICTURE = Path("data") / "front.svg"
REAL = "real_minilm.json"  # in data/results
NAMES = {
    "value": "value bias, b_v (BEFT)", "query": "query bias", "key": "key bias (can do nothing)",
    "random_uniform": "as many parameters, at random", "all_biases": "all biases (BitFit)", "full": "all parameters",
    "head": "head only", "lora": "LoRA", "prefix": "prefix tuning", "in_context": "in-context learning",
    "in_context@2": "in-context, two shown", "zero_shot": "zero-shot",
    "value@top-half": "value bias, upper half of the layers",
}  # fmt: skip
_COLOURS = {"query": "#0072B2", "key": "#009E73", "value": "#D55E00"}  # as in plots.LOOKS
_CELL, _COLUMNS = 3, 100  # pixels and number of the small squares, one for as many numbers as a b_v has


def block() -> str:
    """The measured tables beside the paper's, as Markdown."""
    from . import six_tasks

    told = [_rte(), _own_rates(), _speed(), _choices()]
    if rows := six_tasks.measured():
        told.append(_asking(rows))
    return "\n\n".join([BEGIN, *told, END])


def write(root: Path) -> list[Path]:
    """Bring README.md and its picture up to date; the files that changed."""
    readme = root / "README.md"
    wanted = {readme: with_block(readme.read_text(encoding="utf-8")), root / PICTURE: picture()}
    changed = [path for path, text in wanted.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    for path in changed:
        write_text_whole(path, wanted[path])
    return changed


def with_block(text: str) -> str:
    """A README with today's numbers between the two marks, and the picture in today's words. BeftError without them."""
    for pattern, new in (
        (f"{re.escape(BEGIN)}.*?{re.escape(END)}", block()),
        (rf"!\[[^\]]*\]\({re.escape(PICTURE.as_posix())}\)", f"![{alt()}]({PICTURE.as_posix()})"),
    ):
        text, found = re.subn(pattern, lambda _, new=new: new, text, flags=re.DOTALL)
        if found != 1:
            raise BeftError(
                f"README.md needs, once each, the picture {PICTURE.as_posix()} and a place for the numbers between the "
                f"lines {BEGIN!r} and {END!r}."
            )
    return text


def _rows(task: str) -> list[dict[str, Any]]:
    from . import tables

    return [row for row in tables.shipped(REAL) if row["task"] == task]


def _rte() -> str:
    from . import tables

    table: Any = tables.beside_paper(tables.shipped(REAL)).dropna(subset=["paper", "ours"], how="all")
    lines = [
        [_name(method), _spread(row["paper"], row["paper's std"]), _spread(row["ours"], row["±"])]
        for method, row in table.iterrows()
    ]
    n = _rows("rte")[0].get("n_validation", 277)
    error = 100 * math.sqrt(0.55 * 0.45 / n)
    said = (
        "RTE, 300 training examples, accuracy in percent. The paper gives mean ± standard deviation; ours, by the same "
        f"recipe: {_counted(table['seeds'])}. MiniLM is a smaller model than BERT-base. One standard error with {n} "
        f"validation pairs is {error:.1f} points: rows a few points apart are not ordered."
    )
    return f"{_table(['trained, beside the head', 'paper, BERT-base', 'here, MiniLM'], lines)}\n\n{said}"


def _own_rates() -> str:
    """Lesson 05's table of MiniLM: methods by tasks, in percent."""
    from . import tables

    rows = [row for row in tables.shipped() if row["model"] == "minilm"]
    compared: Any = tables.compare(tables.fewest(rows))
    tasks = list(dict.fromkeys(compared["task"]))
    cells = {(m, t): _spread(100 * s, 100 * h) for m, t, s, h in compared[["method", "task", "score", "±"]].to_numpy()}
    lines = [
        [_name(method), *(cells.get((method, task), "–") for task in tasks)]
        for method in dict.fromkeys(compared["method"])
    ]
    heads = [f"{task}, {compared.set_index('task')['metric'][[task]].iloc[0]}" for task in tasks]
    examples, recipe = compared["n_train"], ", ".join(dict.fromkeys(compared["recipe"]))
    seeds = f"{_counted(compared['seeds'])} each"
    said = (
        f"MiniLM on {examples.min():,} to {examples.max():,} examples, {recipe} (chosen on held-out data); in percent "
        f"± half a 95 % interval ({seeds}). *stsb* (how alike are two sentences?), *sst2* (pleased or "
        "not?) and rte (mini) are sentences written for this course, *cola* (would people say so?) and rte (real) are "
        "GLUE's. On stsb, which is what MiniLM was pretrained for, the value bias goes most of the way from the head "
        "alone to all parameters. On sst2 and cola it adds little; LoRA is ahead of it, and on cola so are all "
        "parameters. On rte only all parameters learn something, on the real one not surely more than a constant "
        "answer."
    )
    return f"{_table(['trained, beside the head', *heads], lines)}\n\n{said}"


def _name(method: Any) -> str:
    return NAMES.get(str(method), str(method))


def _counted(seeds: Any) -> str:
    """ "one seed", "3 seeds", "1 to 3 seeds"."""
    least, most = int(seeds.min()), int(seeds.max())
    return "one seed" if most == 1 else f"{most} seeds" if least == most else f"{least} to {most} seeds"


def _speed() -> str:
    ratio = json.loads((data_folder() / "results" / "bench.json").read_text(encoding="utf-8"))["ratios"]
    return (
        f"A training step of the value bias takes {ratio['value / full (ours)']:.2f} of the time of a step of all "
        f"parameters (two cores; the paper's whole runs: {_paper_time():.2f}), and saves kilobytes instead of a model."
    )


def _paper_time() -> float:
    import pandas as pd

    paper = pd.read_csv(data_folder() / "paper" / "rte_bert.csv", encoding="utf-8").set_index("method")
    return float(paper["seconds"]["value"] / paper["seconds"]["full"])  # type: ignore[index]


def _choices() -> str:
    """Importance beside magnitude, and beside the accuracy of each term tuned alone."""
    lines = []
    for task in ("rte", "cola"):
        rows = {row["method"]: row for row in _rows(task)}
        for ruler in ("importance", "magnitude"):
            values = rows["all_biases"][ruler]
            lines.append([f"{task}: {ruler}", *(f"{values[term]:.3f}" for term in TERMS)])
        lines.append([f"{task}: {rows['value']['metric']}, tuned alone", *(f"{rows[t]['score']:.3f}" for t in TERMS)])
    said = "What the rulers say of the three terms on MiniLM (seed 0), and how well each does when it is tuned alone:"
    return f"{said}\n\n{_table(['', *TERMS], lines)}"


def _asking(rows: Iterable[Mapping[str, Any]]) -> str:
    from . import six_tasks
    from .prompts import PROMPTS

    means, halves = (table.reindex(columns=list(PROMPTS)) for table in six_tasks.scores(rows))
    paper = six_tasks.paper()
    lines = [
        [NAMES.get(str(method), str(method))] + [
            f"{_spread(means.loc[method, task], halves.loc[method, task])}"
            + (f" ({paper.loc[method, task]:.1f})" if method in paper.index else "")
            for task in PROMPTS
        ]
        for method in means.index
    ]  # fmt: skip
    said = (
        "Language models, in percent ± half a 95 % interval over the seeds: pocket-opt, a tiny OPT trained for this "
        "course, on tasks of its own small world; in parentheses the paper's OPT on the real ones. Compare gaps, not "
        "levels."
    )
    return f"{said}\n\n{_table(['', *PROMPTS], lines)}"


def _spread(value: float, half: float) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:.1f}" + ("" if math.isnan(half) else f" ± {half:.1f}")


def _table(head: list[str], lines: list[list[str]]) -> str:
    rows = [head, ["---", *["--:"] * (len(head) - 1)], *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def alt() -> str:
    """The picture in words."""
    moved, one, whole = _numbers()
    bars = "; ".join(
        f"on {task} " + ", ".join(f"{term} {value:.2f}" for term, value in values.items())
        for task, values in moved.items()
    )
    return (
        f"Two steps. First, all three attention biases of MiniLM are trained, and their importance says how far each "
        f"moved: {bars}. Second, only the value bias is trained: {one:,} of {whole:,} numbers, one square of "
        f"{whole // one:,}. On RTE that gave: {_came_of_it()} percent right; one seed: no gain is shown there."
    )


def _numbers() -> tuple[dict[str, dict[str, float]], int, int]:
    """Importance by task and term; numbers in the value bias, and in the model."""
    rows = {task: {row["method"]: row for row in _rows(task)} for task in ("rte", "cola")}
    moved = {task.upper(): of["all_biases"]["importance"] for task, of in rows.items()}
    value = rows["rte"]["value"]
    return {"RTE": moved["RTE"], "CoLA": moved["COLA"]}, value["parameters_method"], value["parameters_model"]


def _came_of_it() -> str:
    """Value bias and head alone on RTE, means over the seeds: so that nobody takes a move for a gain."""
    scores = {m: [r["score"] for r in _rows("rte") if r["method"] == m] for m in ("value", "head")}
    value, head = (100 * sum(of) / len(of) for of in scores.values())
    return f"value bias {value:.1f}, the head alone {head:.1f}"


def picture() -> str:
    """Two steps in one picture, as SVG: how far each term moved, and how little of the model is then trained."""
    moved, one, whole = _numbers()
    top = max(max(values.values()) for values in moved.values())
    parts, y = [_text(20, 34, "1. Let all three move: which one moves most?", "bold")], 66
    for task, values in moved.items():
        parts.append(_text(20, y, f"MiniLM on {task}", fill="#555"))
        for term, value in values.items():
            y += 24
            width = max(1.5, 210 * value / top)
            parts.append(_text(20, y, f"{term} bias"))
            parts.append(f'<rect x="106" y="{y - 13}" width="{width:.1f}" height="16" fill="{_COLOURS[term]}"/>')
            parts.append(_text(round(112 + width), y, f"{value:.2f}"))
        y += 36
    for line in (
        "Importance: 0 did not move, 0.5 halved or doubled,",
        "1 turned by a right angle. Angle and length in one.",
    ):
        parts.append(_text(20, y, line, fill="#555"))
        y += 22
    rows, left, above = math.ceil(whole / one / _COLUMNS), 440, 52
    side = _COLUMNS * _CELL
    parts += [
        _text(left, 34, "2. Go back, and train only that one.", "bold"),
        f'<defs><pattern id="cells" width="{_CELL}" height="{_CELL}" patternUnits="userSpaceOnUse" x="{left}" '
        f'y="{above}"><rect width="{_CELL - 0.6}" height="{_CELL - 0.6}" fill="#c4c4c4"/></pattern></defs>',
        f'<rect x="{left}" y="{above}" width="{side}" height="{rows * _CELL}" fill="url(#cells)"/>',
        f'<rect x="{left + 150}" y="{above + 150}" width="{_CELL}" height="{_CELL}" fill="{_COLOURS["value"]}"/>',
        f'<circle cx="{left + 151.5}" cy="{above + 151.5}" r="9" fill="none" stroke="{_COLOURS["value"]}" '
        'stroke-width="2"/>',
        _text(left, above + rows * _CELL + 22, f"{one:,} of {whole:,} numbers"),
        _text(left, above + rows * _CELL + 42, f"(each of the {whole // one:,} squares is as many)", fill="#555"),
        _text(20, 371, "What came of it, on RTE (table below):"),
        _text(20, 391, f"{_came_of_it()} percent right;", fill="#555"),
        _text(20, 411, "one seed: no gain is shown there.", fill="#555"),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 780 425" width="780" height="425" '
        f'font-family="sans-serif" font-size="15"><title>{alt()}</title>'
        f'<rect width="780" height="425" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def _text(x: int, y: int, text: str, weight: str = "normal", fill: str = "#111") -> str:
    return f'<text x="{x}" y="{y}" font-weight="{weight}" fill="{fill}">{text}</text>'


def add_front(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Run it after a results file has changed; a test holds the README to the files."


def run_front(args: argparse.Namespace) -> int:
    """Write the README's numbers and picture, and say what changed."""
    root = checkout()
    if root is None:
        raise BeftError("This is an installed wheel: the README is in the repository only.")
    changed = write(root)
    print("\n".join(f"wrote {path}" for path in changed) or "everything was up to date")
    return 0
