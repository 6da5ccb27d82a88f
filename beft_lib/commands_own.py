"""The verb for a file of one's own: csv, jsonl or parquet in, a defended adapter out."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from pathlib import Path
from typing import Any

from . import command_help


def add_own(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", help="a csv, jsonl or parquet file, or a folder with train and validation")
    parser.add_argument("--validation", help="a second file (default: a fifth of the first is held out)")
    parser.add_argument("--model", default="bert", help=command_help.MODEL)
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="save the adapter there")
    parser.add_argument("--text", nargs="+", metavar="COLUMN", help="what is read; two for a pair")
    parser.add_argument("--label", metavar="COLUMN", help="what is learnt")
    parser.add_argument("--kind", help="single, pair, regression, choice or answer (default: by the file)")
    parser.add_argument("--encoding", help="of csv and jsonl (default: UTF-8)")
    parser.add_argument("--drop-missing", action="store_true", default=None, help="leave rows with an empty cell out")
    parser.add_argument("--prompted", action="store_true", default=None, help="put classes to a decoder in words")
    parser.add_argument("--method", help="tune this instead of what a probe chooses")
    parser.add_argument("--epochs", type=float, help="default: about 600 steps")
    parser.add_argument("--learning-rate", type=float, help="default: a bias method's for your kind of task")
    parser.add_argument("--max-length", type=int, help="tokens of a text that are read")
    parser.add_argument("--seed", type=int, default=0, help=command_help.SEED)
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of text")


def run_own(args: argparse.Namespace) -> int:
    """Probe, tune, compare, save; what has to be known about the data goes to stderr, a line each."""
    from .errors import DataWarning
    from .own_tuning import tune_own

    given: dict[str, Any] = {name: value for name, value in vars(args).items() if value is not None}
    data, as_json = given.pop("data"), given.pop("json")
    with warnings.catch_warnings():
        show = warnings.showwarning

        def line(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, DataWarning):
                print(f"note: {message}", file=sys.stderr, flush=True)
            else:
                show(message, category, *where, **more)

        warnings.showwarning = line
        result = tune_own(data, **given)
    print(json.dumps(result.row()) if as_json else result)
    return 0
