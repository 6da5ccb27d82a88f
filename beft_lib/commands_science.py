"""The command line for people who came for the tool: select, tune, measure, bench."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import command_help
from .errors import AdapterError, ModelError

_CALL, _FLAG = "Call add_biases(model) first", "Run it again with --add-biases"
_PROMPTED = "ask a language model in words, as the paper does with OPT (squad and drop: always)"


@contextmanager
def _naming_the_flag() -> Iterator[None]:
    """Where a model lacks biases, the error names the call that adds them: at the command line that is a flag."""
    try:
        yield
    except ModelError as error:
        if _CALL not in str(error):
            raise
        raise ModelError(str(error).replace(_CALL, _FLAG)) from error


def add_select(parser: argparse.ArgumentParser) -> None:
    _common(parser)
    parser.add_argument("--all-biases", action="store_true", help="train every bias while probing, as the paper does")
    parser.add_argument("--stop", choices=("stable",), help="stable: end as soon as the ranking has settled")


@_naming_the_flag()
def run_select(args: argparse.Namespace) -> int:
    """Probe a model on a task; print the scores of query, key and value, and the choice.

    Biases of zero that ``--add-biases`` made have importance 1 after any move, so they are ranked by magnitude.
    """
    from .probing import probe
    from .scores import importance_per_layer, magnitude_per_layer

    model, task = _load(args)
    result = probe(model, task, seed=args.seed, all_biases=args.all_biases, stop=args.stop, **_changes(args))
    added = args.add_biases and not all(vectors.any() for vectors in result.pre.values())
    ruler, score = ("magnitude", magnitude_per_layer) if added else ("importance", importance_per_layer)
    scores = dict(result.ranking(score=score))
    choice = next(iter(scores))
    if args.json:
        told = {"model": args.model, "task": args.task, "seed": args.seed, "steps": int(result.steps[-1])}
        found = {ruler: scores, "choice": choice, "seconds": result.seconds, "stopped": result.stopped}
        print(json.dumps({**told, **found}))
        return 0
    print(task)
    early = f", stopped early: {result.stopped}" if result.stopped else ""
    print(f"trained {result.counts}, {result.steps[-1]} steps in {result.seconds:.1f} s{early}\n")
    for term, score_of in scores.items():
        print(f"  {term:<6} {score_of:.4f}")
    by = " (by magnitude: a bias that starts at zero has no importance)" if added else ""
    print(f"\nchoice: {choice}{by}")
    return 0


def add_tune(parser: argparse.ArgumentParser) -> None:
    _common(parser)
    parser.add_argument("--method", default="value", help=f"{command_help.METHOD} (default: value)")
    parser.add_argument(
        "--save", type=Path, metavar="FOLDER", help="save what was trained there (safetensors and JSON)"
    )
    parser.add_argument(
        "--resume", type=Path, metavar="FOLDER", help="keep checkpoints there; the same command goes on after a stop"
    )
    parser.add_argument(
        "--fsdp", action="store_true",
        help="under accelerate launch: each process holds a piece of every frozen layer (a base too large for one GPU)",
    )  # fmt: skip


@_naming_the_flag()
def run_tune(args: argparse.Namespace) -> int:
    """Tune a model on a task by one method; print metric, counts, seconds, peak memory; save.

    Under ``accelerate launch`` the processes share every batch; the first one prints and saves.
    """
    import torch

    from .adapters import save_adapter, save_peft
    from .hardware import is_main_process
    from .methods import method_row, prepare
    from .tuning import fine_tune

    if args.save is not None:
        _check_saving(args.method, args.save, args.resume)
    model, task = _load(args)
    if not args.json and is_main_process():
        print(f"{task}\n{args.method} trains {prepare(model, args.method, args.seed)}", flush=True)
    run = fine_tune(
        model, task, args.method, seed=args.seed, folder=args.resume, fsdp=args.fsdp, **_changes(args)
    )  # fmt: skip
    if not is_main_process():
        return 0
    if not args.json:  # before saving, which a full disk can end
        whose = "on the GPU" if torch.cuda.is_available() else "of the whole process"
        memory = f"peak memory {run.peak_memory / 1e9:.2f} GB {whose}"
        print(f"{run}\n{memory}, file {run.file_bytes / 1e3:,.0f} kB", flush=True)
    saved = None
    try:
        keep = save_peft if method_row(args.method).peft else lambda _, folder: save_adapter(run, folder)
        saved = None if args.save is None else keep(model, args.save)
    finally:
        if args.json:
            print(json.dumps({**run.row(), "saved": None if saved is None else str(saved)}), flush=True)
    if saved is not None and not args.json:
        print(f"saved in {saved}")
    return 0


def _check_saving(method: str, folder: Path, checkpoints: Path | None) -> None:
    """Whether what the method trains can be saved there, said before hours of training. Raises AdapterError."""
    from .adapter_folder import check_replaceable
    from .adapters import fits_adapter
    from .methods import METHODS, method_row

    def holds(row: Any) -> bool:
        return row.peft is not None or fits_adapter(row)

    row = method_row(method)
    if not holds(row):
        fit = ", ".join(name for name, each in METHODS.items() if holds(each))
        raise AdapterError(
            f"--save keeps an adapter; {row.name!r} ({row.title}) moves a model's own weights. Leave --save out, or "
            f"choose one of {fit}. In Python, run.model.save_pretrained(folder) keeps the whole model."
        )
    one, other = folder.resolve(), checkpoints.resolve() if checkpoints else None
    if other and (one.is_relative_to(other) or other.is_relative_to(one)):
        raise AdapterError(
            f"--save {folder} and --resume {checkpoints} are one folder, or one lies in the other: saving would delete "
            "the checkpoints. Give the adapter a folder of its own."
        )
    check_replaceable(folder)


def add_measure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="minilm", help="as in tune (default: minilm)")
    parser.add_argument("--tasks", nargs="+", default=["rte", "cola"], help="default: %(default)s")
    parser.add_argument(
        "--methods",
        nargs="+",
        default=["head", "value", "query", "key", "all_biases", "full"],
        help="as in tune (default: %(default)s)",
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="default: 0")
    parser.add_argument("--data", help="mini, pocket, hub or a folder (default: the profile's)")
    parser.add_argument("--n-train", type=int)
    parser.add_argument("--epochs", type=float, help="default: the paper's")
    parser.add_argument(
        "--rates", nargs="+", type=float, default=(),
        help="choose each method's learning rate among these on a held-out part of train (default: the paper's)",
    )  # fmt: skip
    parser.add_argument(
        "--full-rates", nargs="+", type=float, default=(), help="the same for full (default: a hundredth)"
    )
    parser.add_argument("--prompted", action="store_true", default=None, help=_PROMPTED)
    _add_biases(parser)
    parser.add_argument("--out", type=Path, required=True, help="results file; what it holds is not run again")
    parser.add_argument("--shard", metavar="I/N", help="only the I-th of N parts of the grid, into a file of its own")


@_naming_the_flag()
def run_measure(args: argparse.Namespace) -> int:
    """Run a grid of methods, tasks and seeds into a results file, then print its table."""
    from .experiments import Grid, run_grid
    from .results import read_rows, read_shards, summary
    from .shards import shard_of

    changes = {} if args.epochs is None else {"epochs": args.epochs}
    rates_of = {"full": args.full_rates} if args.full_rates else {}
    grid = Grid(
        args.model, args.tasks, args.methods, args.seeds, args.data, args.n_train, changes, args.rates,
        rates_of, prompted=args.prompted, add_biases=args.add_biases,
    )  # fmt: skip
    shard = None if args.shard is None else shard_of(args.shard)
    for row in run_grid(grid, args.out, shard=shard):
        print(
            f"{row['task']} {row['method']} seed {row['seed']}: {row['score']:.3f} in {row['seconds']:.0f} s",
            flush=True,
        )
    rows = read_shards(args.out) if shard is None else read_rows(shard.path(args.out))
    if not rows:  # more shards than runs
        return 0
    print(summary(rows).to_string(index=False, float_format=lambda value: f"{value:.3f}"))
    for row in rows:
        if "importance" in row:
            scores = f"importance {_short(row['importance'])}, magnitude {_short(row['magnitude'])}"
            print(f"{row['task']} seed {row['seed']}: {scores}")
    return 0


def add_bench(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="bert", help="as in tune (default: bert)")
    parser.add_argument("--task", default="sst2", help="default: sst2")
    parser.add_argument("--data", help="mini, pocket, hub or a folder (default: the profile's)")
    parser.add_argument("--steps", type=int, default=24, help="in a round (default: 24)")
    parser.add_argument("--rounds", type=int, default=3, help="medians are taken over them (default: 3)")
    parser.add_argument("--probe", action="store_true", help="also the whole probe against the early-stopped one")
    parser.add_argument("--out", type=Path, help="write the result there as JSON")
    parser.add_argument("--methods", nargs="*", help="time these methods (none named: all) beside full instead")


def run_bench(args: argparse.Namespace) -> int:
    """Time our step against a bare loop, the value bias against all parameters, padding, rulers, and the import; with
    ``--methods`` a step of every method instead.
    """
    from . import bench, bench_methods
    from .files import write_text_whole

    what = (args.model, args.task, args.data)
    if args.methods is None:
        result = bench.bench(*what, args.steps, args.rounds, whole_probe=args.probe)
        bench.report(result)
    else:
        result = bench_methods.bench_methods(*what, args.methods, args.steps, args.rounds)
        bench_methods.report(result)
    if args.out is not None:
        write_text_whole(args.out, json.dumps(result, indent=1) + "\n")
    return 0


def _short(scores: dict[str, float]) -> str:
    return ", ".join(f"{term} {value:.4f}" for term, value in scores.items())


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="bert", help=command_help.MODEL)
    parser.add_argument("--task", required=True, help=command_help.TASK)
    parser.add_argument(
        "--data", help="mini, pocket, hub, or a folder with train and validation as csv, jsonl or parquet"
    )
    parser.add_argument("--n-train", type=int, help="training examples (default: the task's low-data size)")
    parser.add_argument("--seed", type=int, default=0, help=command_help.SEED)
    parser.add_argument("--epochs", type=float, help="default: the paper's")
    parser.add_argument("--learning-rate", type=float, help="default: the paper's")
    parser.add_argument("--batch-size", type=int, help="default: 16")
    parser.add_argument("--prompted", action="store_true", default=None, help=_PROMPTED)
    _add_biases(parser)
    parser.add_argument(
        "--reuse", action=argparse.BooleanOptionalAction, default=None,
        help="compute frozen lower layers once an example, without dropout (default: where the model has none)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of text")


def _add_biases(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--add-biases", action="store_true", help="give a model that lacks these biases some of zero")


def _changes(args: argparse.Namespace) -> dict[str, Any]:
    names = ("epochs", "learning_rate", "batch_size", "reuse")
    return {name: value for name in names if (value := getattr(args, name)) is not None}


def _load(args: argparse.Namespace) -> tuple[Any, Any]:
    from .biases import add_biases
    from .models import load_model
    from .tasks import load_task

    task = load_task(args.task, args.data, n_train=args.n_train, seed=args.seed, prompted=args.prompted)
    model = load_model(args.model, task, seed=args.seed)
    if args.add_biases:
        add_biases(model)
    return model, task
