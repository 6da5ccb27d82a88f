"""The verbs that compare rulers: rulers measures, agreement prints the table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from . import command_help


def add_rulers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="bert", help=command_help.MODEL)
    parser.add_argument("--data", help="mini, pocket, hub or a folder (default: the profile's)")
    parser.add_argument(
        "--tasks", nargs="+", default=["cola", "stsb", "rte", "sst2", "cb", "wic"], help="default: %(default)s"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="default: %(default)s")
    parser.add_argument("--n-train", type=int, help="training examples (default: the task's low-data size)")
    parser.add_argument("--epochs", type=float, help="default: the paper's")
    parser.add_argument("--rates", nargs="+", type=float, help="learning rates tried (default: 3e-4 1e-3 3e-3 1e-2)")
    parser.add_argument("--add-biases", action="store_true", help="give a model that lacks these biases some of zero")
    parser.add_argument("--shard", metavar="I/N",
                        help="only the I-th of N parts of the grid, in a file of its own, and no table")  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="results file; what it holds is not run again")


def run_rulers(args: argparse.Namespace) -> int:
    """Tune each term alone at its best rate and measure every ruler, into a results file; then print the agreement."""
    from .experiments import RATES, Grid, model_name, run_grid
    from .results import read_shards
    from .shards import shard_of

    shard = None if args.shard is None else shard_of(args.shard)
    model = model_name(args.model)
    changes: dict[str, Any] = {} if args.epochs is None else {"epochs": args.epochs}
    methods = ["head", "value", "query", "key", "all_biases"]
    rates = args.rates or RATES
    each = (model, args.tasks, methods, args.seeds, args.data, args.n_train, changes)
    grid = Grid(*each, rates=rates, rulers=True, add_biases=args.add_biases)
    # One full fine-tuning a task, at the paper's rate: what costs are relative to. It comes last, so that what the grid
    # cannot run with is said before anything is trained.
    cost = Grid(model, args.tasks, ["full"], args.seeds[:1], args.data, args.n_train, changes)
    print(f"learning rates tried on a held-out quarter of train, seed {grid.rate_seed}: {', '.join(map(str, rates))}")
    for row in (row for part in (grid, cost) for row in run_grid(part, args.out, shard=shard)):
        tried = "" if row["scored_on"] == "validation" else f" at {row['learning_rate']:g} (held-out)"
        reached = row.get("diverged") or f"{row['metric']} {row['score']:.3f}"
        run = f"{row['task']} {row['method']} seed {row['seed']}{tried}"
        print(f"{run}: {reached} in {row['seconds']:.1f} s", flush=True)
    if shard is not None:  # a part has hardly a cell with all that a comparison needs
        print(f"Part {shard.number} of {shard.of} is done. Once all are: python -m beft_lib agreement {args.out}")
        return 0
    _report(read_shards(args.out))
    return 0


def add_agreement(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="results files that rulers wrote, or whose shards it wrote"
    )


def run_agreement(args: argparse.Namespace) -> int:
    """How often each ruler picks the term that does best, what a wrong pick loses, what each ruler costs."""
    from .errors import DataError
    from .results import read_shards
    from .shards import files_of

    missing = [str(path) for path in args.files if not any(file.is_file() for file in files_of(path))]
    if missing:
        raise DataError(
            f"No such results file: {', '.join(missing)}. `python -m beft_lib rulers --out FILE` makes one."
        )
    _report([row for path in args.files for row in read_shards(path)])
    return 0


def _report(rows: list[dict[str, Any]]) -> None:
    from .cautions import notes
    from .comparing import agreement, cells, performance, split
    from .relating import leads, relation, told
    from .tables import at_the_edge
    from .verdicts import early_stop

    found = cells(rows)
    tasks = list(dict.fromkeys(cell.task for cell in found))
    models = list(dict.fromkeys(cell.model for cell in found))
    print(f"\n{len(found)} cells: {', '.join(map(str, models))}; {', '.join(tasks)}\n")
    print("performance (mean over seeds, ± half the 95 % interval), each method at its own rate:")
    print(_text(performance(rows)))
    kinds = ("", "models that were given biases of zero:"), split(rows), ("importance", "magnitude")
    for kind, of_kind, ruler in zip(*kinds, strict=True):
        if of_kind:
            related = relation(of_kind)
            parts = [
                *filter(None, [kind]),
                "rulers (lost: in the metric's unit, a mean of unlike things where tasks have several metrics; share "
                "lost: of what head only leaves to gain; cost: seconds relative to one full fine-tuning):",
                _text(agreement(of_kind)),
                "Kendall's tau between score and performance, 95 % intervals over tasks:",
                _text(related), *told(of_kind, ruler), *leads(related),
            ]  # fmt: skip
            print("\n" + "\n".join(parts))
    print("\n" + "\n".join([*early_stop(found), *notes(rows), *filter(None, [at_the_edge(rows)])]))


def _text(frame: Any) -> str:
    return frame.to_string(index=False, float_format=lambda value: f"{value:.3f}", na_rep="-")
