"""``python -m beft_lib pocket``: make the pocket world again from nothing, and print its figures."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..errors import UnknownName
from ..files import sha256, write_text_whole
from ..runtime import data_folder, machine, user_folder

SMOKE_SIZES = {"train": 24, "validation": 12}
SMOKE: dict[str, Any] = {"first": (("recap", 32),), "texts": 64, "batch": 16, "later_batch": 16, "validation_texts": 16}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what",
        choices=("build", "table", "show", "overlap"),
        help="build: data and models; table: what was aimed at and reached; show: some texts; overlap: how many "
        "validation examples stand in pretraining texts",
    )
    parser.add_argument("--model", action="append", help="only this model (may be repeated); 'none': only the data")
    parser.add_argument("--smoke", action="store_true", help="everything tiny, in a minute: does it all still run?")
    parser.add_argument("--again", action="store_true", help="build, or measure, models anew that are done already")
    parser.add_argument("--minutes", type=float, help="stop a model's pretraining after so long; the next call goes on")
    parser.add_argument("--to", type=Path, help="folder to write into (default: the course's own data folder)")


def run(args: argparse.Namespace) -> int:
    if args.what == "show":
        _show()
    elif args.what == "overlap":
        from .overlap import overlap

        for name in _wanted(args.model):
            print(f"# {name}")
            print("\n".join(f"{task:<6}{100 * share:5.1f} %" for task, share in overlap(name).items()))
    elif args.what == "table":
        _table(_wanted(args.model), args.again)
    else:
        default = user_folder("pocket", "smoke") if args.smoke else data_folder()
        build(
            args.to or default,
            _wanted(args.model),
            smoke=args.smoke,
            again=args.again,
            minutes=args.minutes,
            log=lambda line: print(line, flush=True),
        )
    return 0


def build(
    to: Path,
    models: list[str],
    smoke: bool = False,
    again: bool = False,
    minutes: float | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> list[Path]:
    """Task files into ``to/pocket``, models into ``to/models/NAME``. Returns the folders of the models made.

    A model that is finished is left alone unless ``again``; one that was interrupted goes on from its last checkpoint.
    """
    from .corpus import EVERY
    from .recipes import RECIPES
    from .tasks import write_tasks

    written = write_tasks(to / "pocket", SMOKE_SIZES if smoke else None)
    log(f"{len(written)} task files in {to / 'pocket'}")
    made = []
    for name in models:
        folder, recipe = to / "models" / name, RECIPES[name]
        if (folder / "pretraining.json").is_file() and not again:
            log(f"{name}: finished before, in {folder} (--again builds it anew)")
            continue
        if smoke:
            later = ((("checked", 32),), ((EVERY, 32),)) if recipe.later else ()
            recipe = replace(recipe, **SMOKE, later=later, last=((("claims", 16),),) if recipe.last else ())
        if not _pretrain(recipe, folder, minutes, log):
            continue
        if not smoke:
            measure_model(folder, log)
        made.append(folder)
    return made


def _pretrain(recipe: Any, folder: Path, minutes: float | None, log: Callable[[str], None]) -> bool:
    """Pretrain in a work folder that survives an interruption; whether ``folder`` now holds a finished model."""
    from .card import write_card
    from .pretrain import pretrain

    work = user_folder("pocket", "work", recipe.name)
    identity = json.dumps(asdict(recipe), sort_keys=True)
    mark = work / "recipe.json"
    if not (mark.is_file() and mark.read_text(encoding="utf-8") == identity):  # left by another recipe
        shutil.rmtree(work)
        write_text_whole(mark, identity)
    record = pretrain(recipe, folder, work / "checkpoints", minutes, log)
    if record is None:
        return False
    about = machine()
    record["machine"] = (
        f"{about.get('cpu_count', '?')} CPU cores ({about.get('platform', '?')}), {about.get('device', 'cpu')}; "
        f"threads used: {record['threads']}"
    )
    write_card(folder, record)
    write_text_whole(folder / "pretraining.json", json.dumps(record, indent=1) + "\n")  # last: it says "finished"
    shutil.rmtree(work)
    log(f"{recipe.name}: {record['seconds']} s; in {folder}")
    return True


def measure_model(folder: Path, log: Callable[[str], None]) -> dict[str, Any]:
    """Measure a finished model, write the figures into its card, and return them."""
    from .card import write_card
    from .measure import figures_of

    record = json.loads((folder / "pretraining.json").read_text(encoding="utf-8"))
    figures = figures_of(folder, record["recipe"]["style"], log)
    write_text_whole(folder / "figures.json", json.dumps(figures, indent=1) + "\n")
    write_card(folder, record, figures)
    return figures


def _table(models: list[str], again: bool) -> None:
    """Every shipped model's figures, measured now unless they are there and of these very weights; then the targets."""
    from .card import figures_table, markdown_table
    from .measure import sheet_of
    from .targets import missed, read_figures, targets

    home = data_folder() / "models"
    for name in models:
        if not (home / name / "pretraining.json").is_file():
            print(f"# {name}: not there; python -m beft_lib pocket build --model {name} makes it\n")
            continue
        if again:
            sheet_of(home / name).unlink(missing_ok=True)
            (home / name / "figures.json").unlink(missing_ok=True)
        known = read_figures(home).get(name, {})
        if known.get("weights") != sha256(home / name / "model.safetensors"):
            known = measure_model(home / name, lambda line: print(line, flush=True))
        print("\n".join([f"# {name}", "", *figures_table(known)]))
    print("# What was aimed at, and what was reached\n")
    lines = targets(read_figures(home), home)
    print("\n".join([*markdown_table([line.row() for line in lines]), "", *(f"- {why}" for why in missed(lines))]))


def _wanted(names: list[str] | None) -> list[str]:
    from .recipes import RECIPES

    if names == ["none"]:
        return []
    for name in names or ():
        if name not in RECIPES:
            raise UnknownName("pocket model", name, [*RECIPES, "none"])
    return names or list(RECIPES)


def _show() -> None:
    from .chooser import Chooser
    from .sentences import render
    from .texts import KINDS, write_text

    for kind in KINDS:
        c = Chooser("show")
        text = write_text(c, kind)
        print(f"--- {kind} ({-c.logp / (len(text.split(' ')) + 1):.2f} nats a token)\n{render(text)}\n")
