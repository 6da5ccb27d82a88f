"""The library's floors: imports only point down, the maths needs torch alone, and the door needs nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import beft_lib

PACKAGE = Path(beft_lib.__file__).parent
POCKET = "pocket"  # the world that makes the small models: beside the floors, and only a verb needs it

# Every module has its floor and why; those of DESIGN.md keep the floor it gives them.
FLOORS: dict[str, tuple[int, str]] = {
    "errors": (0, "DESIGN"),
    "scores": (0, "DESIGN: tensors in, numbers out"),
    "metrics": (0, "DESIGN: arrays in, numbers out"),
    "answers": (0, "metrics of texts: texts in, numbers out"),
    "files": (0, "writing and hashing files: standard library, knows nothing of ours"),
    "settling": (0, "when a probe has seen enough: arrays in, a decision out"),
    "places": (0, "where things are: standard library, knows nothing of ours"),
    "adapter_card": (0, "numbers of a run to the text of a card: knows nothing of ours"),
    "display": (0, "HTML and pictures of what it is given: knows nothing of ours"),
    "architectures": (1, "DESIGN"),
    "layouts": (1, "what a row of architectures' table is made of"),
    "discovery": (1, "a row for a model that has none, by its structure"),
    "tasks": (1, "DESIGN"),
    "task_table": (1, "DESIGN: the rows of tasks"),
    "runtime": (1, "DESIGN"),
    "reading": (1, "the files of tasks"),
    "profiles": (1, "the part of runtime that is tables"),
    "hardware": (1, "the part of runtime that asks the machine"),
    "own_data": (1, "the part of tasks that makes one from a file of one's own"),
    "own_columns": (1, "the part of own_data that finds the columns"),
    "own_labels": (1, "the part of own_data that reads the labels"),
    "prompts": (1, "the part of tasks that puts them into words"),
    "planning": (1, "the part of runtime that says what fits: shapes and hardware only"),
    "costs": (1, "planning for every method and for encoders: shapes to numbers"),
    "setup_env": (1, "makes .venv: needs errors and files only, because it runs before anything is installed"),
    "adapter_folder": (1, "the files of an adapter, without a model"),
    "biases": (2, "DESIGN"),
    "recipe": (2, "what training is told: numbers, checked before it starts"),
    "training": (2, "DESIGN"),
    "watching": (2, "the part of training that looks on: progress, losses, memory"),
    "gradients": (2, "every example's gradient at a bias: hooks on what biases finds"),
    "classifying": (2, "the part of training that puts a task to a classifier"),
    "prompting": (2, "the part of training that puts a task to a language model"),
    "demonstrations": (2, "the part of prompting that fits texts into a context"),
    "fitting": (2, "the part of training that makes a batch fit the memory, or several processes"),
    "fsdp": (2, "frozen layers in pieces, one a process"),
    "halfway": (2, "the part of training that computes frozen layers once an example"),
    "sparse": (2, "deltas of single parameters, as biases' of whole terms"),
    "wrapping": (2, "PEFT's methods around a model and off again"),
    "models": (2, "loads what biases and training work on, by tasks and runtime"),
    "folding": (2, "biases moved to where stock code has a place for them"),
    "verify": (3, "checks of architectures' rows on random models: one for the command and the tests"),
    "methods": (3, "DESIGN"),
    "runs": (3, "what methods give back"),
    "tuning": (3, "the part of methods that runs one"),
    "probing": (3, "DESIGN: probe.py"),
    "fisher": (3, "DESIGN"),
    "rankings": (3, "what the results of probing and fisher have in common"),
    "adapters": (3, "DESIGN"),
    "adapter_fit": (3, "the part of adapters that checks an adapter against a model"),
    "adapter_tensors": (3, "the part of adapters that takes tensors out of a run"),
    "predicting": (3, "adapters on new texts"),
    "asked": (3, "one prompt and what a model makes of it: what a widget shows, without the widget"),
    "effects": (3, "what deltas do to a model on a task's data: scores.py has no model"),
    "families": (5, "a verb"),
    "experiments": (4, "DESIGN"),
    "own_tuning": (4, "a probe and runs on one's own task to one comparison, as experiments' grids"),
    "results": (4, "the part of experiments that reads and writes rows"),
    "shards": (4, "the part of experiments that shares a grid among jobs"),
    "rulers": (4, "runs to what each ruler says: the part of experiments that measures rulers"),
    "comparing": (4, "rows to the statistics over them: the part of experiments that runs nothing"),
    "cautions": (4, "the part of verdicts that says what speaks against them"),
    "verdicts": (4, "the part of comparing that puts its statistics into tables and words"),
    "relating": (4, "the part of comparing that relates scores to performance in number"),
    "six_tasks": (4, "rows to the table of one lesson: as comparing, it runs nothing"),
    "table_parts": (4, "the grids of experiments that lesson 05's table is measured by"),
    "tables": (4, "rows to the table of methods: the part of experiments that lesson 05 shows"),
    "bench_asking": (4, "the part of bench that scores answers"),
    "bench": (4, "runs of several kinds to a table of seconds, as experiments' to a table of scores"),
    "bench_methods": (4, "the part of bench that times every method"),
    "plots": (5, "DESIGN"),
    "plots_attention": (5, "the part of plots that draws attention"),
    "plots_biases": (5, "the part of plots that draws where the biases enter attention"),
    "plots_rulers": (5, "the part of plots that draws rulers beside each other and beside performance"),
    "plots_asking": (5, "the part of plots that draws prompts, six tasks and memory"),
    "widgets": (5, "DESIGN"),
    "widget_attention": (5, "the widget of one lesson"),
    "widget_blindspots": (5, "the widget of one lesson"),
    "plots_table": (5, "the part of plots that draws the table of methods"),
    "widget_costs": (5, "the widget of one lesson"),
    "widget_inspector": (5, "the widget of one lesson"),
    "widget_prompts": (5, "the widgets of one lesson"),
    "widget_trajectory": (5, "the widget of one lesson"),
    "checks": (5, "DESIGN"),
    "checks_l00": (5, "checks of one lesson"),
    "checks_l01": (5, "checks of one lesson"),
    "checks_l02": (5, "checks of one lesson"),
    "checks_l03": (5, "checks of one lesson"),
    "checks_l04": (5, "checks of one lesson"),
    "checks_l05": (5, "checks of one lesson"),
    "checks_l06": (5, "checks of one lesson"),
    "checks_l07": (5, "checks of one lesson"),
    "checks_l08": (5, "checks of one lesson"),
    "checks_appendix": (5, "checks of one lesson"),
    "lesson": (5, "DESIGN"),
    "lesson_table": (5, "what the verb lessons prints, and the verb course records"),
    "frontpage": (5, "a verb: the README's numbers"),
    "quiz_table": (5, "the rows of quizzes"),
    "quizzes": (5, "the widget at the end of every lesson"),
    "mini": (5, "a verb: figures of the shipped data"),
    "authoring": (5, "a verb: notebooks from their sources"),
    "book": (5, "a verb: the lessons as a site"),
    "slides": (5, "a verb: the lessons cut up into slides"),
    "handout": (5, "a verb: the lessons to print"),
    "board": (5, "a verb: a class's results to one picture"),
    "badges": (5, "a verb: where the course lives, to authoring"),
    "course": (5, "what the verb course does"),
    "doctor": (5, "a verb"),
    "prefetch": (5, "a verb"),
    "commands_course": (5, "verbs"),
    "commands_science": (5, "verbs"),
    "command_help": (5, "what verbs say of the same options"),
    "commands_own": (5, "a verb"),
    "commands_rulers": (5, "verbs"),
    "commands_table": (5, "a verb"),
    "__main__": (5, "DESIGN: the command line"),
}

# The one kind of arrow that may point up: a method of a result that hands itself on, inside the function, when called.
# DESIGN.md writes it so ("result.plot()"); the modules import each other in the one direction only.
HANDED_ON = {("rankings", "plots"): "Tabled.plot"}

# Before torch is installed these have to work: at the top level, nothing but the standard library and each other.
BARE = ("__init__", "__main__", "errors", "files", "places", "hardware", "profiles", "runtime", "setup_env")
MATHS = {"torch"}  # all that scores.py may need besides


def modules() -> list[str]:
    return sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__")


def tree(module: str) -> ast.Module:
    return ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))


def arrows(root: ast.AST) -> Iterator[tuple[str, int]]:
    """(module of ours, line) of every import below a node, at any depth: in functions and for type checkers as well."""
    for node in ast.walk(root):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.split(".")[0] == "beft_lib"]
        elif isinstance(node, ast.ImportFrom) and (node.level == 1 or (node.module or "").split(".")[0] == "beft_lib"):
            base = "beft_lib." + (node.module or "") if node.level else node.module or ""
            base = base.rstrip(".")
            # `from . import x` is the module x, or a name of the package, which loads the module it lives in
            names = [f"{base}.{alias.name}" for alias in node.names] if base == "beft_lib" else [base]
        else:
            continue
        for name in names:
            part = [*name.split("."), "__init__"][1]
            part = beft_lib._MODULE_OF.get(part, part)
            if part not in ("__init__", "__version__"):
                yield part, node.lineno


def top_level(module: str) -> set[str]:
    """First parts of what is imported when the module is, ours as "."."""
    found: set[str] = set()
    waiting: list[ast.AST] = list(tree(module).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." if node.level else (node.module or "").split(".")[0])
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            waiting += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)
    return found


def test_every_module_has_a_floor_and_every_floor_a_module():
    missing = sorted(set(modules()) - set(FLOORS))
    assert not missing, f"give these a floor, with a reason, in {Path(__file__).name}: {missing}"
    gone = sorted(set(FLOORS) - set(modules()))
    assert not gone, f"in the table of floors, but no longer there: {gone}"
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders <= {POCKET}, "a package in the package needs a floor as well"
    assert all(0 <= floor <= 5 and reason for floor, reason in FLOORS.values())


@pytest.mark.parametrize("module", modules())
def test_imports_only_point_down(module):
    assert module in FLOORS, f"{module} has no floor"
    floor = FLOORS[module][0]
    for target, line in arrows(tree(module)):
        where = f"{module}.py, line {line}, imports {target}"
        if module == "__main__" and target == POCKET:
            continue
        assert target in FLOORS, f"{where}, which has no floor"
        if (module, target) not in HANDED_ON:
            assert FLOORS[target][0] <= floor, f"{where}: from floor {floor} up to {FLOORS[target][0]}"


def test_no_circles():
    """Along a floor arrows may run, but not in a circle."""
    todo = {m: {t for t, _ in arrows(tree(m)) if t in FLOORS and (m, t) not in HANDED_ON} for m in modules()}
    while free := {module for module, targets in todo.items() if not targets & set(todo)}:
        todo = {module: targets for module, targets in todo.items() if module not in free}
    assert not todo, f"circle among {sorted(todo)}"


@pytest.mark.parametrize("source, target", HANDED_ON)
def test_what_is_handed_on_is_in_one_function(source, target):
    """The exception is used, by that function and no other line."""
    all_of_it = [line for name, line in arrows(tree(source)) if name == target]
    wanted = HANDED_ON[source, target].split(".")[-1]
    (function,) = [n for n in ast.walk(tree(source)) if isinstance(n, ast.FunctionDef) and n.name == wanted]
    assert all_of_it == [line for name, line in arrows(function) if name == target] and len(all_of_it) == 1


def test_the_walk_sees_every_kind_of_import():
    """The test of the test: an arrow must not get past it by being written otherwise."""
    ways = """
from .plots import a
from . import plots
from . import plots as p
from beft_lib.plots import a
from beft_lib import plots
import beft_lib.plots
from . import probe, __version__
from .pocket.words import a
def f():
    from .plots import a
    class C:
        import beft_lib.plots as p
if TYPE_CHECKING:
    from .plots import a
import torch
from torch import nn
from beft_library import plots
"""
    assert [name for name, _ in arrows(ast.parse(ways))].count("plots") == 9
    assert {name for name, _ in arrows(ast.parse(ways))} == {"plots", "probing", "pocket"}


@pytest.mark.parametrize("module", modules())
def test_nothing_but_a_verb_needs_the_pocket_world(module):
    assert module == "__main__" or POCKET not in {target for target, _ in arrows(tree(module))}


@pytest.mark.parametrize("module", BARE)
def test_what_runs_before_torch_needs_the_standard_library_only(module):
    assert top_level(module) <= {".", *sys.stdlib_module_names}
    on_import = ast.Module([node for node in tree(module).body if isinstance(node, ast.ImportFrom)], [])
    assert {target for target, _ in arrows(on_import)} <= set(BARE)


def test_the_maths_needs_torch_alone():
    assert top_level("scores") <= {".", *MATHS, *sys.stdlib_module_names}
    assert {target for target, _ in arrows(tree("scores"))} == {"errors"}


def test_no_public_function_has_the_name_of_a_module():
    """A submodule, once imported, would hide it."""
    assert not set(beft_lib.__all__) & {*modules(), POCKET}


def test_the_door_is_one_table():
    assert set(beft_lib.__all__) == set(beft_lib._MODULE_OF)
    assert len(beft_lib.__all__) == len(set(beft_lib.__all__))
    (checked,) = [node for node in tree("__init__").body if isinstance(node, ast.If)]
    told = {
        alias.name: node.module for node in checked.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert told == beft_lib._MODULE_OF  # what type checkers are told is what is loaded
    for name in beft_lib.__all__:
        assert getattr(beft_lib, name) is not None and name in dir(beft_lib)
    with pytest.raises(AttributeError, match=r"no attribute 'nothing'"):
        beft_lib.nothing  # noqa: B018


def test_the_import_loads_nothing_heavy():
    heavy = {"torch", "transformers", "numpy", "datasets", "pandas", "matplotlib"}
    code = f"import sys, beft_lib; print(*{heavy} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=True, cwd=PACKAGE.parent
    )
    assert done.stdout.strip() == ""
