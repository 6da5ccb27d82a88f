"""``python -m beft_lib VERB``: one row for each verb. Works in a bare Python, and sets up the rest itself."""

from __future__ import annotations

import sys

if sys.version_info < (3, 10):  # noqa: UP036 - said here, before a newer syntax says it worse
    sys.exit(f"BEFT needs Python 3.10 or newer; this is {sys.version.split()[0]}.")

import argparse
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

from . import __version__, setup_env
from .errors import BeftError, UnknownName
from .places import checkout


@dataclass(frozen=True)
class Verb:
    """One verb: ``module`` has ``add(parser)`` and ``run(args) -> exit status`` under the names given.

    ``sets_up``: makes ``.venv`` where it is missing; the others make do with the Python that is there.
    """

    name: str
    help: str
    module: str
    add: str = "add_arguments"
    run: str = "run"
    sets_up: bool = True
    example: str = ""


VERBS: dict[str, Verb] = {
    verb.name: verb
    for verb in (
        Verb("course", "run the lessons; executed and readable copies in build/course",
             "commands_course", "add_course", "run_course"),
        Verb("test", "run every test and every lesson; what follows -- goes to pytest",
             "commands_course", "add_test", "run_test"),
        Verb("lab", "open JupyterLab on lesson 00", "commands_course", "add_lab", "run_lab"),
        Verb("doctor", "say what works here and what does not, with the fix", "doctor", sets_up=False),
        Verb("prefetch", "fetch what a profile needs, once, for offline use", "prefetch"),
        Verb("lessons", "the lessons in a table; lessons --to DIR copies them out",
             "commands_course", "add_lessons", "run_lessons", sets_up=False),
        Verb("select", "score the bias terms on a task and choose one", "commands_science", "add_select", "run_select",
             example="--task rte --n-train 300"),
        Verb("tune", "fine-tune by one method and save the adapter", "commands_science", "add_tune", "run_tune",
             example="--task rte --method value --save rte-bv"),
        Verb("own", "your own file: choose a bias, tune it, compare it, save the adapter",
             "commands_own", "add_own", "run_own", example="reviews.csv --text comment --label mood --save my-adapter"),
        Verb("measure", "measure methods on tasks, into the file --out",
             "commands_science", "add_measure", "run_measure",
             example="--model minilm --tasks rte --methods head value full --seeds 0 1 2 --out rte.json"),
        Verb("table", "measure lesson 05's table of methods, and print it", "commands_table", "add_table", "run_table",
             example="--parts  (print what ships)"),
        Verb("rulers", "measure each bias term alone, and what every ruler would have picked",
             "commands_rulers", "add_rulers", "run_rulers", example="--tasks rte --seeds 0 1 2 --out rulers.json"),
        Verb("agreement", "how often each ruler picks the best term, and at what cost",
             "commands_rulers", "add_agreement", "run_agreement"),
        Verb("families", "list the model families, each checked just now on a random model", "families"),
        Verb("bench", "measure speed against bare PyTorch", "commands_science", "add_bench", "run_bench"),
        Verb("mini", "figures of the shipped English data: variety, near-duplicates, shortcuts", "mini"),
        Verb("pocket", "rebuild the pocket world: its data and models", "pocket.build"),
        Verb("book", "build the course as a site with search; build/book", "book", sets_up=False),
        Verb("slides", "make slides of the lessons, to be shown offline; build/slides", "slides", sets_up=False),
        Verb("handout", "the lessons without outputs, to print and to unpack; build/handout", "handout"),
        Verb("front", "write the README's numbers and picture from the results files", "frontpage", "add_front",
             "run_front"),
        Verb("board", "the class board: board add, board show FOLDER", "board"),
        Verb("badges", "stamp Open in Colab on the lessons: badges --repo OWNER/NAME", "badges"),
        Verb("author", "build the notebooks of the lessons from their sources", "authoring"),
    )
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb. An error of ours is one message on stderr and status 2; BEFT_DEBUG=1 shows the traceback."""
    argv = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # an old Windows console has no ✓, and must not stop us
    verb = _verb(argv)
    try:
        setup_env.use(checkout(), verb.name, argv[1:], make=verb.sets_up and not {"-h", "--help"} & set(argv[1:]))
        module = import_module(f"beft_lib.{verb.module}")
        called = f"python -m beft_lib {verb.name}"
        example = f"example: {called} {verb.example}" if verb.example else None
        parser = argparse.ArgumentParser(prog=called, description=verb.help, epilog=example)
        getattr(module, verb.add)(parser)
        return getattr(module, verb.run)(parser.parse_args(argv[1:]))
    except BeftError as error:
        if os.environ.get("BEFT_DEBUG"):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if os.environ.get("BEFT_DEBUG") or (error.name or "").split(".")[0] == "beft_lib":
            raise
        print(
            f"error: {verb.name} needs the package {error.name}, which {sys.executable} does not have. "
            "In a checkout, `python -m beft_lib course` sets everything up; else pip install 'beft-lib[course]'.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # | head
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - what is left to flush goes there
        return 1


def _verb(argv: Sequence[str]) -> Verb:
    """The row of the first argument. The verb's own arguments are read later, when its module may be imported."""
    width = max(map(len, VERBS)) + 2
    parser = argparse.ArgumentParser(
        prog="python -m beft_lib",
        description="BEFT: choose the bias term that matters, and fine-tune only that.",
        epilog="verbs:\n" + "\n".join(f"  {verb.name:<{width}}{verb.help}" for verb in VERBS.values()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"beft-lib {__version__}")
    if not argv:
        parser.print_help()
        parser.exit(2)
    if argv[0] not in VERBS and not argv[0].startswith("-"):
        parser.exit(2, f"error: {UnknownName('verb', argv[0], VERBS)}\n")
    parser.add_argument("verb", choices=VERBS, metavar="VERB", help="one of the verbs below; VERB --help says more")
    return VERBS[parser.parse_args(argv[:1]).verb]


if __name__ == "__main__":
    sys.exit(main())
