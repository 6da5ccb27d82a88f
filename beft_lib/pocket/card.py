"""The model card of a pocket model: what it is, how it was made, how good it is, with the loss curve as an SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..files import write_text_whole
from .corpus import EVERY

FAMILY = {
    "bert": ("BertForPreTraining", "masked tokens and next segment, as BERT was", "[CLS] A [SEP] B [SEP]"),
    "roberta": ("RobertaForMaskedLM", "masked tokens", "<s> A </s></s> B </s>"),
    "opt": ("OPTForCausalLM", "next token", "</s> text"),
    "llama": ("LlamaForCausalLM", "next token; rotary positions, no biases", "<s> text"),
}


# What the keys of figures.json say: a title, and how it was measured.
FIGURES = {
    "masked": (
        "One token at a time hidden",
        "Every token of 100 fresh texts; the best possible from the grammar.",
    ),
    "language": (
        "Nats a token",
        "On 300 fresh texts of each kind, end of text included, beside the information in their derivations (the "
        "choice of the kind is a part of it: the model is not told); `all`: as the corpus mixes the kinds.",
    ),
    "asked": (
        "Asked without tuning",
        "Percent, on 500 validation examples, by the library's prompts: choices scored by log-probability, free "
        "answers generated. `chance` is a fraction.",
    ),
    "tuned": (
        "Tuned",
        "Percent on validation, seed 0. `random`: the same model before pretraining. The rate of `full` is chosen once "
        "a start, that of `head` for each task, on a quarter of train that is held out; validation is not looked at. "
        "Rows come from different days and machines, one or two threads: compare no seconds across sizes.",
    ),
    "rates": ("Tries for the learning rates", "Percent on the held-out part of train."),
    "speed": ("Time", "Loading once the libraries are in; one low-data fine-tuning."),
}

_ABOUT = (
    "A small `{}` that knows one thing, the pocket world of this course: {:,} parameters, pretrained on this course's "
    "own grammar ({}; a text is read as `{}`). It is for learning and for tests. It knows no English beyond that world."
)


_NOT_MEASURED = "Not measured (a smoke build), or not yet: `python -m beft_lib pocket table --model {}` does it."


def write_card(folder: Path, record: Mapping[str, Any], figures: Mapping[str, Any] | None = None) -> Path:
    """``README.md`` and ``loss.svg`` in the model's folder, from the record of its pretraining and its figures."""
    write_text_whole(folder / "loss.svg", loss_curve(record["log"]))
    return write_text_whole(folder / "README.md", _card(record, figures or {}))


def _card(record: Mapping[str, Any], figures: Mapping[str, Any]) -> str:
    recipe = record["recipe"]
    name, (architecture, objective, frame) = recipe["name"], FAMILY[recipe["style"]]
    losses = [entry["eval_loss"] for entry in record["log"] if "eval_loss" in entry]
    lines = [
        "---",
        "license: mit",
        "language: en",
        "tags: [beft, pocket, synthetic]",
        "---",
        f"# {name}",
        "",
        _ABOUT.format(architecture, record["parameters"], objective, frame),
        "",
        f"Made by `python -m beft_lib pocket build --model {name}`.",
        "",
        "![loss](loss.svg)",
        "",
        "| | |",
        "|---|---|",
        f"| texts | {_texts(recipe)}; each seen once ({record['train_tokens']:,} tokens) |",
        f"| corpus seed | `train/{recipe['seed']}`; validation: `validation`, {recipe['validation_texts']:,} texts |",
        f"| schedule | {_optimizer(recipe)}, 5 % warm-up, linear to 0; batch {_batches(recipe)} |",
        *_hidden(recipe),
        f"| time | {record['seconds'] / 60:.0f} minutes on {record['machine']} |",
        f"| versions | {', '.join(f'{k} {v}' for k, v in record['versions'].items())} |",
        f"| validation loss, last | {losses[-1]:.4f} (Trainer's) |" if losses else "| validation loss | none |",
    ]
    lines += ["", "## Measured", "", *figures_table(figures)] if figures else ["", _NOT_MEASURED.format(name)]
    return "\n".join(lines) + "\n"


def _texts(recipe: Mapping[str, Any]) -> str:
    """What is read, stage after stage; every later round has its own schedule and batch."""
    stages = [[*recipe["first"]], [(EVERY, recipe["texts"])]]
    rounds = [[stage for stage in stages if stage], recipe.get("later", []), recipe.get("last", [])]
    return "; next round: ".join(", then ".join(map(_stage, stages)) for stages in rounds if stages)


def _stage(stage: Sequence[tuple[str, int]]) -> str:
    return " with ".join(f"{n:,} of {'every kind' if kind == EVERY else f'`{kind}`'}" for kind, n in stage)


def _batches(recipe: Mapping[str, Any]) -> str:
    return f"{recipe['batch']}, then {recipe['later_batch']}" if recipe.get("later") else str(recipe["batch"])


def _hidden(recipe: Mapping[str, Any]) -> list[str]:
    """How many words are hidden, where it is not the same all through: a loss is then of another question."""
    if not (recipe.get("later") and recipe["mask"]):
        return []
    shares = f"{100 * recipe['mask']:g} %, in the second round {100 * recipe['later_mask']:g} %"
    return [f"| words hidden | {shares}: the losses of the two rounds cannot be compared |"]


def _optimizer(recipe: Mapping[str, Any]) -> str:
    if "matrix_rate" not in recipe:
        return f"AdamW, peak {recipe['learning_rate']:g}"
    share = recipe.get("later_share", 1.0)
    later = "" if share == 1 else f" (later rounds: {share:g} times that)"
    peaks = f"peak {recipe['matrix_rate']:g}, AdamW for the rest, peak {recipe['learning_rate']:g}"
    return f"Muon for matrices, {peaks}{later}"


def figures_table(figures: Mapping[str, Any]) -> list[str]:
    """One table a figure of ``FIGURES``: a mapping of numbers, or a list of rows."""
    lines: list[str] = []
    for key, (title, how) in FIGURES.items():
        if not (found := figures.get(key)):
            continue
        lines += [f"### {title}", "", how, ""]
        rows = found
        if isinstance(found, Mapping):
            pairs = ((name, value) for name, value in found.items() if name != "kind")
            rows = [{"": name, **(value if isinstance(value, Mapping) else {"value": value})} for name, value in pairs]
        lines += [*markdown_table(rows), ""]
    return lines


def markdown_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    heads = [head for head in dict.fromkeys(head for row in rows for head in row) if head != "kind"]
    cells = [[_number(row.get(head, "")) for head in heads] for row in rows]
    return [f"| {' | '.join(row)} |" for row in [heads, ["---"] * len(heads), *cells]]


def _number(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:g}" if 0 < abs(value) < 0.01 else f"{value:.3f}".rstrip("0").rstrip(".")


def loss_curve(log: Sequence[Mapping[str, Any]], width: int = 640, height: int = 300) -> str:
    """Training loss (line) and validation loss (dots) over steps, as a small SVG."""
    train = [(entry["step"], entry["loss"]) for entry in log if "loss" in entry]
    held = [(entry["step"], entry["eval_loss"]) for entry in log if "eval_loss" in entry]
    points = train + held
    last, top = max((s for s, _ in points), default=1), max((v for _, v in points), default=1.0)

    def at(step: float, value: float) -> tuple[float, float]:
        return round(50 + (width - 70) * step / last, 1), round(height - 35 - (height - 55) * value / top, 1)

    line = " ".join(f"{x},{y}" for x, y in (at(*p) for p in train))
    dots = "".join(f'<circle cx="{x}" cy="{y}" r="3" fill="#c33"/>' for x, y in (at(*p) for p in held))
    ticks = "".join(
        f'<text x="44" y="{at(0, v)[1] + 4}" text-anchor="end">{v:.2f}</text>'
        f'<line x1="50" x2="{width - 20}" y1="{at(0, v)[1]}" y2="{at(0, v)[1]}" stroke="#ddd"/>'
        for v in (top * i / 4 for i in range(5))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        f'font-size="11"><rect width="100%" height="100%" fill="white"/>{ticks}'
        f'<polyline points="{line}" fill="none" stroke="#36c"/>{dots}'
        f'<text x="{width - 20}" y="{height - 10}" text-anchor="end">step {last:,}; '
        "line: training loss, dots: validation loss</text></svg>\n"
    )
