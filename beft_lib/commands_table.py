"""The verb that measures lesson 05's table and prints it."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_table(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, help="results file; what it holds is not run again (default: the course's)")
    parser.add_argument("--parts", nargs="*", default=["mini", "pocket", "sizes"], metavar="PART",
                        help="mini, pocket, sizes, real; none named: only print (default: %(default)s)")  # fmt: skip
    parser.add_argument("--data", type=Path, help="folder with rte/ and cola/ in GLUE's columns, for the part real")
    parser.add_argument("--methods", nargs="+", default=[], help="these only (none named: the part's)")
    parser.add_argument("--models", nargs="+", default=[], help="these only (none named: the part's)")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(5)), help="default: 0 to 4")
    parser.add_argument("--epochs", type=float, help="default: the part's, as the course measured it")
    told = "choose each method's learning rate among these on a held-out part of train (default: the part's)"
    parser.add_argument("--rates", nargs="+", type=float, default=(), help=told)
    parser.add_argument(
        "--full-rates", nargs="+", type=float, default=(), help="the same for full (default: the part's)"
    )
    parser.add_argument("--n-train", type=int, help="training examples, but for the part sizes (default: the part's)")
    parser.add_argument("--paper", action="store_true",
                        help="where nothing is given, the paper's recipe and not the part's")  # fmt: skip
    parser.add_argument("--versus", default="head", help="the method of the paired tests (default: %(default)s)")
    parser.add_argument("--shard", metavar="I/N", help="only the I-th of N parts of each grid, in a file of its own")


def run_table(args: argparse.Namespace) -> int:
    """Measure methods × tasks × seeds into a results file, a seed after the other, then print the table."""
    from . import table_parts, tables
    from .experiments import run_grid
    from .methods import method_row
    from .results import read_shards
    from .runtime import data_folder
    from .shards import shard_of

    method_row(args.versus)  # a mistake is told before hours of training
    path = args.out or data_folder() / "results" / tables.FILE
    shard = None if args.shard is None else shard_of(args.shard)
    recipe = {name: getattr(args, name) for name in table_parts.RECIPE}
    grids = table_parts.grids(args.parts, args.seeds, args.data, args.methods, args.models, args.paper, **recipe)
    known = tables.shipped(*table_parts.ELSEWHERE)
    for row in (row for grid in grids for row in run_grid(grid, path, shard=shard, known=known)):
        where = f"{row['model']} on {row['task']} ({row['n_train']}), {row['method']}, seed {row['seed']}"
        print(f"{where}: {row['metric']} {row['score']:.3f} in {row['seconds']:.0f} s", flush=True)
    rows = read_shards(path)
    if not rows:
        print(f"nothing measured yet in {path}")
        return 0
    compared = tables.compare(rows, args.versus)
    print(compared.drop(columns="source").to_string(index=False, float_format=lambda v: f"{v:.3f}", na_rep="-"))
    print("\n".join([*tables.overtaking(tables.by_size(rows)), tables.at_the_edge(rows)]).strip())
    return 0
