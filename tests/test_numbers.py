"""Numbers in prose rest on a results file, the paper's tables or arithmetic; or they are given, and claim nothing.

Every decimal, and every number of percent or points, in the prose of the lessons and of the pages beside them has a row
here. A number that a command has measured belongs into a results file first: ``result(...)`` reads it from there.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable
from functools import cache
from math import e, log, sqrt
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file
from scipy.special import softmax
from scipy.stats import norm, t

from beft_lib import authoring, doctor, frontpage, six_tasks, tables
from beft_lib.places import data_folder, lessons_folder
from beft_lib.planning import OPT, Shape
from beft_lib.prompts import PROMPTS
from beft_lib.results import read_rows
from beft_lib.tasks import TASKS
from beft_lib.widget_blindspots import level_set, numbers

ROOT = lessons_folder().parent
PAGES = {**authoring.sources(), "glossary": lessons_folder() / "GLOSSARY.md",
         "teachers": lessons_folder() / "INSTRUCTORS.md", "readme": ROOT / "README.md",
         "results": data_folder() / "results" / "README.md"}  # fmt: skip
if not {"00", "readme"} <= set(PAGES) or not PAGES["readme"].is_file():
    pytest.skip("runs from an installed wheel", allow_module_level=True)

Basis = str | Callable[[], Any]  # why it claims nothing; or what the numbers should be, or whether the words are true
GIVEN = "given: a setting, or the example of an exercise"


def result(name: str, key: str = "score", **which: Any) -> float:
    """``key`` of the results file ``name``, the mean over the rows that have everything in ``which``."""
    rows = [row for row in read_rows(data_folder() / "results" / name) if which.items() <= row.items()]
    assert rows, f"no row of {name} has {which}"
    return sum(row[key] for row in rows) / len(rows)


def ratio(name: str, file: str = "bench.json") -> float:
    return json.loads((data_folder() / "results" / file).read_text(encoding="utf-8"))["ratios"][name]


def key_scores(name: str) -> list[float]:
    """The importance of the key bias in every run of a results file that has one."""
    return [row["importance"]["key"] for row in read_rows(data_folder() / "results" / name) if "importance" in row]


def sized(method: str) -> list[float]:
    """The scores of a method on the most examples of lesson 05's table, a seed each."""
    rows = tables.shipped()
    most = max(row["n_train"] for row in rows)
    return [r["score"] for r in rows if (r["n_train"], r["method"], r["scored_on"]) == (most, method, "validation")]


def rises(method: str) -> bool:
    """Whether a method's mean gains from every size to the next where lesson 05's table has several."""
    means = tables.by_size(tables.shipped()).query("task == 'stsb' and model == 'pocket-bert'")[method]
    return len(means) == 3 and bool((means.diff().dropna() > 0).all())


def scores(model: str) -> list[float]:
    """The importance of every term in every whole probe of a model's rulers file."""
    rows = read_rows(data_folder() / "results" / f"rulers_{model}.json")
    every = (row["rulers"]["importance"]["scores"] for row in rows if "importance" in row.get("rulers", {}))
    return [score for terms in every for score in terms.values()]


def key_lengths(model: str) -> np.ndarray:
    """Of the key bias of every layer of a pocket model that ships."""
    weights = load_file(data_folder() / "models" / model / "model.safetensors")
    return np.array([vector.norm().item() for name, vector in weights.items() if name.endswith("self.key.bias")])


def above_the_papers() -> np.ndarray:
    """The learning rate of all biases in every cell that has rulers and a term of its own, over the paper's."""
    names = ("pocket_bert", "pocket_roberta", "minilm_mini", "minilm_real")
    rows = [row for name in names for row in read_rows(data_folder() / "results" / f"rulers_{name}.json")]
    whole = [row for row in rows if row["method"] == "all_biases" and "rulers" in row]
    return np.array([row["learning_rate"] / TASKS[row["task"]].learning_rate for row in whole])


def stored(lesson: str, pattern: str, over: float | None = None) -> Any:
    """The numbers that a lesson's stored outputs show where ``pattern`` matches; or whether the first is so many times
    the second."""
    cells = json.loads(authoring.target(PAGES[lesson], "student").read_text(encoding="utf-8"))["cells"]
    texts = [text for cell in cells for output in cell.get("outputs", [])
             for text in (output.get("text", ""), output.get("data", {}).get("text/plain", ""))]  # fmt: skip
    found = re.findall(pattern, "\n".join("".join(text) for text in texts), re.MULTILINE)
    numbers = [float(n) for match in found for n in ([match] if isinstance(match, str) else match)]
    return numbers if over is None else numbers[0] > over * numbers[1]


def error(p: float, n: int) -> float:
    return sqrt(p * (1 - p) / n)


def rte(method: str) -> float:
    return result("real_minilm.json", task="rte", method=method)


def ahead(task: str, other: str = "zero_shot", one: str = "value") -> float:
    return six_tasks.paper().loc[one, task] - six_tasks.paper().loc[other, task]  # type: ignore[operator]


def shown(*tasks: str) -> list[float]:
    """How much pocket-opt gains from four demonstrations, as lesson 06's table of them has it."""
    names = ("sst2", "rte", "cb", "wic", "squad", "drop")
    none, four = (stored("06", rf"^{k} +" + r" +".join([r"([\d.]+)"] * 6)) for k in (0, 4))
    return [dict(zip(names, four, strict=True))[task] - dict(zip(names, none, strict=True))[task] for task in tasks]


def broken(setting: str) -> float:
    """The importance of value under one of lesson 08's settings."""
    return stored("08", rf"^{re.escape(setting)} +\S+ +\S+ +([\d.]+)")[0]


def lora_ahead() -> list[float]:
    """By how many points LoRA is ahead of the value bias on pocket-opt."""
    means, _ = six_tasks.scores(six_tasks.measured())
    return [float(round(means.loc["lora", task] - means.loc["value", task])) for task in ("wic", "squad", "drop")]


def tuned_apart() -> list[float]:
    return sorted(np.ptp(six_tasks.paper().loc[["value", "lora", "prefix"]].to_numpy(), axis=0))


def score(x: float, y: float, ruler: str = "importance") -> float:
    return numbers(np.array([x, y]))[ruler]


@cache
def most(ruler: str, x: float, y: float, by: str, sign: int = 1) -> list[float]:
    """x, y and the number by ``by``, where it is largest among the places that ``ruler`` cannot tell from (x, y)."""
    every = level_set(ruler, np.array([x, y]))[::4].tolist()
    x, y = max(every, key=lambda at: sign * score(at[0], at[1], by))
    return [abs(x), abs(y), score(x, y, by)]


def paper_steps(task: str) -> tuple[float, float]:
    row = PROMPTS[task]
    return row.n_train * row.epochs / row.batch_size, row.learning_rate


def opt(size: str) -> Shape:
    return OPT[f"facebook/opt-{size}"]


ROWS: list[tuple[str, str, Basis]] = [
    ("00", "0.5", lambda: score(2, 0)), ("00", "80 percent", GIVEN), ("00", "0.05", GIVEN),
    ("00", "about 1.4 times", lambda: sqrt(2)),
    ("01", "more than 500 times as long as the key bias", lambda: stored("01", r"^0 +(\S+) +(\S+)", over=500)),
    ("02", "MiniLM's dead key then scores next to nothing on RTE and CoLA",
     lambda: max(key_scores("real_minilm.json")) < 0.001),
    ("02", "it reaches scores near 1 after twelve epochs",
     lambda: all(max(key_scores(f"rulers_pocket_{m}.json")) > 0.9 for m in ("bert", "roberta"))),
    ("02", "key biases are some thirty times shorter still",
     lambda: all(20 < np.median(stored("03", r"^[0-5] +\S+ (0\.0\d+) +\S+$")) / np.median(key_lengths(m)) < 45
                 for m in ("pocket-bert", "pocket-roberta"))),
    ("04", "mostly far above the paper's", lambda: np.median(above_the_papers()) > 5),
    ("03", "0.629 and 0.609", lambda: stored("00", r"on sst2: accuracy (\S+)")),
    ("03", "here the gap is more than five", lambda: np.ptp(stored("03", r"^(?:value|head) +(\S+) ±")) > 0.05),
    ("01", "0.5", lambda: score(0.5, 0)), ("01", "1 percent", GIVEN), ("01", "0.01", GIVEN), ("01", "0.2", GIVEN),
    ("01", "0.00000006", lambda: 1 - np.nextafter(np.float32(1), np.float32(0)).item()),
    ("01", "10 percent", GIVEN), ("01", "1.1", GIVEN), ("01", "0.05", GIVEN),
    ("02", "(0.09, 0.24, 0.67)", lambda: softmax([1, 2, 3])), ("02", "about 2.7", lambda: e),
    ("02", "0.2", GIVEN), ("02", "0.02", GIVEN), ("02", "0.001 · 0.1", GIVEN), ("02", "= 0.9999", lambda: 1 - 1e-4),
    ("03", "0.693", lambda: log(2)), ("03", "0.0000000002", lambda: 2e-10), ("03", "0.69", lambda: log(2)),
    ("03", "0.6", GIVEN), ("03", "more than three points", lambda: 3 < 100 * error(0.6, 200) < 4),
    ("03", "277 validation pairs chance alone moves an accuracy by three points",
     lambda: round(100 * error(0.5, 277)) == 3),
    ("03", "The two runs that train most get furthest",
     lambda: min(map(rte, ("full", "all_biases"))) > max(map(rte, ("value", "query", "key", "head")))),
    ("03", "in lesson 04's shorter runs all biases guess",
     lambda: abs(result("rulers_minilm_real.json", task="rte", method="all_biases", scored_on="validation") - 0.5)
     < error(0.5, 277)),
    ("03", "can be told from the head",
     lambda: all(abs(rte(term) - rte("head")) < 2 * error(0.5, 277) for term in ("query", "key", "value"))),
    ("03", "*key* has the head's accuracy to the last digit", lambda: rte("key") == rte("head")),
    ("04", "below 0.05", GIVEN), ("04", "(0.5, 0)", GIVEN), ("04", "(1.5, 0.5)", GIVEN), ("04", "$p = 0.9$", GIVEN),
    ("04", "importance mostly ends above 0.8", lambda: np.mean(np.array(scores("pocket_bert")) > 0.8) > 0.75),
    ("04", "about 0.29", lambda: most("magnitude", 2, 0, "importance", -1)[2]),
    ("04", "(0.71, 0.71)", lambda: most("magnitude", 2, 0, "importance", -1)[:2]),
    ("04", "(1.7, 0.7)", lambda: most("importance", 0.5, 0, "magnitude")[:2]),
    ("04", "0.71 instead of 0.25",
     lambda: [most("importance", 0.5, 0, "magnitude")[2], score(0.5, 0, "magnitude")]),
    ("05", "new head has 0.0001", GIVEN),
    ("05", "word overlap and lengths alone reach 0.40",
     lambda: float(re.findall(r"shortcut \(word overlap, lengths\) reaches (\.\d+)",
                              (ROOT / "data" / "mini" / "stsb" / "README.md").read_text(encoding="utf-8"))[0])),
    ("05", "of twenty, one falls below 0.05", lambda: [1 / 20]),
    ("05", "+1.0 points", GIVEN),
    ("05", "almost perfect in three of five seeds and below value in two; in one of these it has learned nothing",
     lambda: [sum(s > 0.96 for s in sized("full")), sum(map(operator.lt, sized("full"), sized("value"))),
              sum(s < 0.05 for s in sized("full"))] == [3, 2, 1]),
    ("05", "At first our grid ended at 0.01", GIVEN),
    ("05", "gains with every size and never fails to learn", lambda: min(sized("value")) > 0.8 and rises("value")),
    ("06", "1.3 and 6.7 billion", lambda: [opt("1.3b").parameters / 1e9, opt("6.7b").parameters / 1e9]),
    ("06", "1.3 billion", lambda: opt("1.3b").parameters / 1e9), ("06", "At 6.7 billion", GIVEN),
    ("06", "5.3 and 2.6 gigabytes", lambda: [bytes * opt("1.3b").parameters / 1e9 for bytes in (4, 2)]),
    ("06", "up to 0.07", lambda: error(0.5, 56)), ("06", "up to 0.05", lambda: error(0.5, 100)),
    ("06", "= 0.4", lambda: 2 * 0.25 * 1 / 1.25),
    ("06", "takes 625 steps at a rate of 0.001", lambda: paper_steps("squad") == (625, 1e-3)),
    ("06", "LoRA scored 3 to 5 points more on wic, squad and drop",
     lambda: (min(lora_ahead()), max(lora_ahead())) == (3, 5)),
    ("06", "no line clearly rises, and with four examples *wic*, *cb* and *squad* fall far",
     lambda: max(shown("sst2", "rte", "drop")) < 0.01 and max(shown("wic", "cb", "squad")) < -0.2),
    ("08", "cuts MiniLM's value score some fiftyfold, a quarter of the steps threefold",
     lambda: 45 < broken("as it came") / broken("learning rate / 10") < 65
     and 2.5 < broken("as it came") / broken("after 3 steps") < 3.5),
    ("06", "squad gains 15 points", lambda: int(ahead("squad", one="in_context")) == 15),
    ("06", "by 4 points on SST-2", lambda: round(ahead("sst2")) == 4),
    ("06", "by more than 30 on CB and SQuAD", lambda: min(map(ahead, ("cb", "squad"))) > 30),
    ("06", "within four points of each other, on four of the six tasks within two",
     lambda: tuned_apart()[-1] < 4 and tuned_apart()[3] < 2 < tuned_apart()[4]),
    ("06", "OPT-6.7B has 131,072", lambda: opt("6.7b").layers * opt("6.7b").width == 131_072),
    ("08", "1.96", lambda: norm.ppf(0.975)), ("08", "4.3", lambda: t.ppf(0.975, 2)),
    ("08", "about nine points", lambda: round(196 * error(0.7, 100)) == 9),
    ("08", "0.7", GIVEN), ("08", "0.1", GIVEN), ("08", "0.6", GIVEN), ("08", "0.3", GIVEN),
    ("appendix", ".75", GIVEN), ("appendix", "0.094", lambda: 1 / 4 * 1 / 2 * 3 / 4),
    ("appendix", "1.44 bits", lambda: 1 / log(2)),
    ("glossary", "0.8 means that 80 of 100", GIVEN), ("glossary", "0.69", lambda: log(2)),
    ("teachers", "74 percent", GIVEN), ("teachers", ".6 here and .3 there", GIVEN),
    ("teachers", "1.5 GB", lambda: doctor._LOW_MEMORY / 1e9),
    ("results", ".64 of a step", lambda: ratio("value / full (ours)")),
    ("results", ".62 in the bare loops", lambda: ratio("value / full (bare)")),
    ("results", "1.01 times", lambda: ratio("probe step / the same, not recorded")), ("results", "1.05", GIVEN),
    ("results", "takes .08 of the whole", lambda: ratio("early probe / whole probe")),
    ("results", "to 2 %",
     lambda: max(abs(ratio(f"our step / bare loop ({m})") - 1) for m in ("value", "full")) < 0.025),
    ("results", ".65 of a full step", lambda: ratio("value", "bench_methods.json")),
    ("results", ".68 in PEFT", lambda: ratio("peft_beft", "bench_methods.json")),
    ("results", "takes .34", lambda: ratio("value@top-half, later epochs", "bench_methods.json")),
    ("results", "alone .01", lambda: ratio("head, later epochs", "bench_methods.json")),
    ("results", "goal was .35", GIVEN), ("results", "(.05)", GIVEN),
    ("results", ".645", frontpage._paper_time), ("results", "goal was .52", GIVEN),
]  # fmt: skip

_NO_CLAIM = re.compile(  # code, addresses, tags; papers; models, versions and licences; the level of an interval
    r"```.*?```|`[^`]*`|\]\([^)]*\)|<[^>]+>|\b\d{4}\.\d{4,5}\b|\w+-\d+\.\d+B?\b|\b[\d.]+B\b"
    r"|(?:Python|to|PEFT|transformers|version|for BERT,|CC BY) \d\.\d+|95 %", re.DOTALL
)  # fmt: skip
_CLAIM = re.compile(r"(?<![\w.])(?:\d*\.\d+|\d+(?= ?(?:%|per ?cent\b|points\b)))")


@cache
def prose(page: str) -> str:
    """The text of a page, as one line; of a lesson its prose, of the README what no command has written."""
    if PAGES[page].suffix == ".py":
        built = authoring.build(PAGES[page], "student")
        text = "\n\n".join(cell.source for cell in built.cells if cell.cell_type == "markdown")
    else:
        text = PAGES[page].read_text(encoding="utf-8")
    for written in (f"{re.escape(frontpage.BEGIN)}.*?{re.escape(frontpage.END)}", r"!\[.*?\]\(.*?\)"):
        text = re.sub(written, "", text, flags=re.DOTALL)
    return " ".join(text.split())


def occurs(phrase: str) -> str:
    return rf"(?<![\w.]){re.escape(phrase)}(?![\w])(?!\.\d)"


def untied(text: str, phrases: list[str]) -> list[str]:
    """What claims a number and is in none of the phrases, with what stands around it."""
    for phrase in sorted(phrases, key=len, reverse=True):
        text = re.sub(occurs(phrase), "·", text)
    text = _NO_CLAIM.sub("·", text)
    return [f"{found[0]} in: {text[max(0, found.start() - 40) : found.end() + 20]}" for found in _CLAIM.finditer(text)]


def agrees(phrase: str, value: Any) -> bool:
    """Whether the numbers of a phrase are ``value`` (one or several), rounded as they are written; or it is true."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    written = re.findall(r"\d*\.\d+", phrase)
    values = np.atleast_1d(value)
    return len(written) == len(values) and all(
        abs(float(text) - exact) <= 0.5001 * 10.0 ** -len(text.split(".")[1])
        for text, exact in zip(written, values, strict=True)
    )


@pytest.mark.parametrize("page", PAGES)
def test_every_number_in_prose_has_a_row(page: str) -> None:
    assert untied(prose(page), [phrase for where, phrase, _ in ROWS if where == page]) == []


@pytest.mark.parametrize(("page", "phrase", "basis"), ROWS, ids=[f"{page}: {phrase}" for page, phrase, _ in ROWS])
def test_a_row_is_used_and_true(page: str, phrase: str, basis: Basis) -> None:
    if page not in PAGES:
        pytest.skip(f"no {page} here")
    assert re.search(occurs(phrase), prose(page)), "the page no longer says so: take the row out"
    if not isinstance(basis, str):
        assert agrees(phrase, basis()), f"{PAGES[page].name} says {phrase!r}; it is {basis()}"


def test_the_scan_and_the_comparison_can_fail() -> None:
    text = "It reaches 76.3, or .5 of it; 12 % more, two points, in OPT-1.3B by PEFT 0.21 (arXiv 2509.15974) at `0.1`."
    assert [found.split()[0] for found in untied(text, [])] == ["76.3", ".5", "12"]
    assert len(untied(text, ["76.3", "12 %"])) == 1 and len(untied("0.75", ["0.7", "75"])) == 1
    full = result("real_minilm.json", task="rte", method="full")
    assert agrees("0.603 of them", full) and agrees(".6", full) and not agrees("0.604", full)
    assert not agrees("0.60 and 0.58", [full]) and not agrees("ten", False) and not agrees("ten", 10)
    with pytest.raises(AssertionError, match="no row"):
        result("real_minilm.json", task="rte", method="a method that nobody has run")
