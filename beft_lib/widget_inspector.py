"""Lesson 07's widget: pick a family, and see where q, k and v live in a layer, what is trained and what b_k can do.

A picture is drawn from the row and a configuration alone, so it follows at once; what a move of the chosen bias really
changes is then measured on a tiny random model, once a family.
"""

from __future__ import annotations

import html
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from transformers import AutoConfig

from . import biases, verify
from .architectures import FAMILIES, POSITIONS, TERMS
from .display import describe
from .errors import UnknownName
from .layouts import Concatenated, Counts, Family, Separate
from .models import quiet
from .plots import LOOKS
from .widgets import Touchable

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_PAPER = {"query": "#CFE5F3", "key": "#CFEBE1", "value": "#FBDCCB", "output": "#E6E6E6"}  # LOOKS' colours, pale
_WIDTH, _ROW, _HIGH = 680, 62, 30  # pixels: the picture at its widest, from strip to strip, a strip's height
_EDGE = 1.5  # percent of the picture's width, left free at either side
_NARROW = 0.03  # of the longest strip: a piece narrower than this has no room for its name


class Block(NamedTuple):
    """A stretch of one bias vector: elements ``start`` to ``stop`` in the strip of a module."""

    strip: int
    start: int
    stop: int
    term: str
    head: int | None  # None: the output projection's
    dead: bool  # nothing it does can be seen behind softmax
    stock: bool  # whether stock code has this bias


@cache
def config_of(row: Family) -> Any:
    """The tiny model's configuration of a family."""
    with quiet():
        return AutoConfig.for_model(row.model_type, **{**verify.SIZES, **row.tiny})


@cache
def blocks(row: Family) -> tuple[list[str], list[Block]]:
    """Paths of the modules of one layer that hold q, k, v and the output's bias, and the blocks of each."""
    config = config_of(row)
    heads, kv_heads, head_dim = row.counts(config)
    live, paths, found = POSITIONS[row.positions].live(config, head_dim), [], []
    for term in TERMS:
        if row.layout.module(term) not in paths:
            paths.append(row.layout.module(term))
        own = row.layout.index(term, (heads, kv_heads, head_dim))
        number = heads if term == "query" else kv_heads
        starts = (torch.arange(number * head_dim) if own is None else own).view(number, head_dim)[:, 0].tolist()
        for head, start in enumerate(starts):
            strip, stock = paths.index(row.layout.module(term)), term[0] in row.biased
            cut = start + (live if term == "key" else head_dim)
            pieces = [(start, cut, False), (cut, start + head_dim, True)]
            found += [Block(strip, a, b, term, head, dead, stock) for a, b, dead in pieces if a < b]
    if row.output:
        width = config.hidden_size
        found.append(Block(len(paths), 0, width, "output", None, False, "o" in row.biased))
        paths.append(row.output)
    return paths, found


@cache
def effects(row: Family) -> dict[str, tuple[float, float]]:
    """By term: the largest change of the first layer's attention, and of the logits, when its bias is moved at random.

    Measured on a tiny random model in float64; every element is moved by a number of size 1.
    """
    model = verify.tiny_model(row.model_type)
    inputs, seen = verify.example(model), {}
    with torch.no_grad():
        attention, logits = verify.attention_of(model, inputs)[0], verify.logits_of(model, inputs)
        for term, bias in biases.find_biases(model).items():
            generator = torch.Generator().manual_seed(4)
            move = torch.randn(bias.values().shape, generator=generator, dtype=torch.float64)
            with biases.shifted(model, term, move):
                moved = verify.attention_of(model, inputs)[0], verify.logits_of(model, inputs)
            seen[term] = tuple((a - b).abs().max().item() for a, b in zip(moved, (attention, logits), strict=True))
    return seen


def facts(family: str, term: str, measured: bool = True) -> dict[str, str]:
    """What the row says of a family, what training a term means there, and what was measured."""
    row = FAMILIES[family]
    counts, (paths, found) = row.counts(config_of(row)), blocks(row)
    where = row.layout.module(term)
    width = sum(b.stop - b.start for b in found if b.term == term)
    whole = sum(b.stop - b.start for b in found if b.strip == paths.index(where))
    part = "all of it" if whole == width else f"{width} of its {whole} numbers"
    told = {
        "example": row.model,
        "q, k and v": _layout(row),
        "heads": _heads(counts),
        "positions": f"{row.positions}: {POSITIONS[row.positions].why}",
        "biases in stock code": _stock(row),
        f"training b_{term[0]}": f"{width} numbers a layer, in {where}: {part}",
    }
    if measured:
        attention, logits = effects(row)[term]
        changed = {f"moving b_{term[0]} changes attention (first layer)": attention, "… and the answer": logits}
        for name, value in changed.items():
            told[name] = "not at all" if value < verify.STILL else f"yes, by up to {value:.2g}"
    return told


def in_words(family: str, term: str) -> str:
    """The picture in words, for those who do not see it."""
    row = FAMILIES[family]
    paths, found = blocks(row)
    keys = [b for b in found if b.term == "key"]
    dead, all_of = (sum(b.stop - b.start for b in some) for some in ([b for b in keys if b.dead], keys))
    strips = "; ".join(f"{path}: {_order([b for b in found if b.strip == i])}" for i, path in enumerate(paths))
    return (
        f"One layer of {family}, a strip for each bias vector. {strips}. Stock code has "
        f"{', '.join(f'b_{letter}' for letter in row.biased) or 'no bias'} of q, k, v and output. Of the key bias "
        f"{dead} of {all_of} numbers can do nothing. Trained: the {term} blocks."
    )


class ModelInspector(Touchable):
    """Where a family keeps its biases: choose it from a list, and a term to train."""

    hint = "Choose another family or term from the lists, in a notebook."

    def __init__(self, family: str, term: str):
        if family not in FAMILIES:
            raise UnknownName("family", family, FAMILIES)
        if term not in TERMS:
            raise UnknownName("bias term", term, TERMS)
        self.family, self.term = family, term

    def words(self) -> str:
        return in_words(self.family, self.term)

    def plot(self) -> Axes:
        """The starting position as a static picture."""
        from matplotlib.figure import Figure

        paths, found = blocks(FAMILIES[self.family])
        longest = max(block.stop for block in found)
        axes = Figure(figsize=(7.8, 0.85 * len(paths) + 0.9), layout="constrained").subplots()
        for b in found:
            ink, trained = _ink(b.term), b.term == self.term
            axes.barh(
                -b.strip, b.stop - b.start, 0.5, b.start, color=_PAPER[b.term] if b.stock else "white",
                hatch="xx" if b.dead else "", edgecolor=ink, linewidth=3 if trained else 1,
                linestyle="-" if b.stock else "--", zorder=3 if trained else 2,
            )  # fmt: skip
        box = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
        for b in _whole(found):
            if b.stop - b.start >= _NARROW * longest:
                middle = (b.start + b.stop) / 2
                axes.text(middle, -b.strip, _name(b), ha="center", va="center", fontsize=9, zorder=4, bbox=box)
        for strip, path in enumerate(paths):
            axes.text(0, -strip + 0.32, path, ha="left", va="bottom", family="monospace", fontsize=9)
        axes.set(xlim=(-0.5, longest + 0.5), ylim=(-len(paths) + 0.4, 0.75), yticks=[])
        axes.set_xlabel(f"number in the bias vector ({_LEGEND})", fontsize=9)
        axes.spines[["top", "left", "right"]].set_visible(False)
        axes.set_title(f"{self.family}: the biases of one attention layer, b_{self.term[0]} trained", loc="left")
        return describe(axes, self.words(), self.table())

    def table(self) -> pd.DataFrame:
        import pandas as pd

        told = facts(self.family, self.term)
        return pd.DataFrame({"": list(told.values())}, index=pd.Index(list(told)))

    def live(self) -> Any:
        """The ipywidgets version. Raises ImportError where ipywidgets is not installed."""
        import ipywidgets

        layout, style = ipywidgets.Layout(width="330px"), {"description_width": "110px"}
        family = ipywidgets.Dropdown(
            options=list(FAMILIES), value=self.family, description="Family", layout=layout, style=style
        )
        term = ipywidgets.Dropdown(
            options=list(TERMS), value=self.term, description="Bias to train", layout=layout, style=style
        )
        picture, table = ipywidgets.HTML(), ipywidgets.HTML()

        def update(_: Any = None) -> None:
            chosen = str(family.value), str(term.value)
            picture.value = _svg(*chosen)  # at once; what has to be measured follows
            table.value = _table(facts(*chosen, measured=False))
            table.value = _table(facts(*chosen))

        for control in (family, term):
            control.observe(update, names="value")
        update()
        wrap = ipywidgets.Layout(display="flex", flex_flow="row wrap", grid_gap="4px 16px")
        return ipywidgets.VBox([ipywidgets.Box([family, term], layout=wrap), picture, table])


def model_inspector(family: str = "gpt2", term: str = "value") -> ModelInspector:
    """See where a family of models keeps its query, key and value biases, and what each of them can do.

    Args:
        family: a key of ``FAMILIES``, rows of one's own included.
        term: "query", "key" or "value": the one that is to be trained.
    """
    return ModelInspector(family, term)


_LEGEND = "thick: trained; hatched: can do nothing; dashed: not in stock code"


def _layout(row: Family) -> str:
    if isinstance(row.layout, Separate):
        return "three modules"
    how = "all q, all k, all v" if isinstance(row.layout, Concatenated) else "q, k and v of one head after another"
    return f"one fused module: {how}"


def _heads(counts: Counts) -> str:
    heads, kv_heads, head_dim = counts
    shared = f"; each k and v serves {heads // kv_heads} query heads" if kv_heads < heads else ""
    return f"{heads} of query, {kv_heads} of key and value, {head_dim} wide (of the tiny model){shared}"


def _stock(row: Family) -> str:
    have = ", ".join(f"b_{letter}" for letter in row.biased) or "none"
    return have + (f"; all of them with {row.switch}=True" if row.switch and row.biased != "qkvo" else "")


def _order(found: list[Block]) -> str:
    """The blocks of one strip as they follow each other, "q0 q1 k0 k0 dead"."""
    return " ".join(_name(b) + (" dead" if b.dead else "") for b in sorted(found, key=lambda b: b.start))


def _whole(found: list[Block]) -> list[Block]:
    """The blocks with the live and the dead part of a key as one: both belong to it, and its name stands over both."""
    whole: dict[tuple[int, str, int | None], Block] = {}
    for b in found:
        first = whole.get((b.strip, b.term, b.head), b)
        whole[b.strip, b.term, b.head] = first._replace(start=min(first.start, b.start), stop=max(first.stop, b.stop))
    return list(whole.values())


def _name(block: Block) -> str:
    return "output" if block.head is None else f"{block.term[0]}{block.head}"


def _ink(term: str) -> str:
    return LOOKS[term].color if term in LOOKS else "#555555"


def _svg(family: str, term: str) -> str:
    """The picture as SVG, a millisecond to make, with its legend below.

    What lies along a strip is in percent: in a narrow window, or at 200 % zoom, strips get shorter and letters do not
    get smaller.
    """
    paths, found = blocks(FAMILIES[family])
    scale = (100 - 2 * _EDGE) / max(b.stop for b in found)  # percent of the picture's width for one number
    parts = [f'<defs><pattern id="dead" width="7" height="7" patternUnits="userSpaceOnUse"><path d="M0 7L7 0M0 0L7 7" '
             f'stroke="{_ink("key")}"/></pattern></defs>']  # fmt: skip
    for strip, path in enumerate(paths):
        parts.append(f'<text x="{_EDGE}%" y="{strip * _ROW + 20}" font-family="monospace">{html.escape(path)}</text>')
    for b in sorted(found, key=lambda b: b.term == term):  # what is trained is drawn on top
        x, y, wide = _EDGE + b.start * scale, b.strip * _ROW + 27, (b.stop - b.start) * scale
        width, dash = (4, "10 5") if b.term == term else (1, "5 3")  # on a thick edge short dashes look like dots
        box = f'x="{x:.2f}%" y="{y}" width="{wide:.2f}%" height="{_HIGH}"'
        edge = f'stroke="{_ink(b.term)}" stroke-width="{width}"' + ("" if b.stock else f' stroke-dasharray="{dash}"')
        parts.append(f'<rect {box} fill="{_PAPER[b.term] if b.stock else "#fff"}" {edge}/>')
        if b.dead:
            parts.append(f'<rect {box} fill="url(#dead)"/>')
    halo = 'paint-order="stroke" stroke="#fff" stroke-width="4"'
    for b in _whole(found):
        x, y, wide = _EDGE + b.start * scale, b.strip * _ROW + 27, (b.stop - b.start) * scale
        if wide >= _NARROW * 100:
            parts.append(f'<text x="{x + wide / 2:.2f}%" y="{y + 20}" text-anchor="middle" {halo}>{_name(b)}</text>')
    return (
        f'<svg role="img" aria-label="{html.escape(in_words(family, term))}" width="100%" '
        f'height="{_ROW * len(paths) + 8}" style="max-width: {_WIDTH}px; box-sizing: border-box; '
        f'background: #fff; border: 1px solid #ccc" font-family="sans-serif" font-size="13" fill="#111">'
        f'{"".join(parts)}</svg><div style="line-height: 1.4">{_LEGEND}</div>'
    )


def _table(told: dict[str, str]) -> str:
    """The facts as a table. Long paths break rather than push it out of a narrow window, where the rest is cut off."""
    cell = "text-align: left; vertical-align: top; line-height: 1.4"  # ipywidgets' own is for controls: 28 pixels
    rows = "".join(
        f'<tr><th scope="row" style="{cell}; width: 30%">{html.escape(name)}</th>'
        f'<td style="{cell}; overflow-wrap: anywhere">{html.escape(value)}</td></tr>'
        for name, value in told.items()
    )
    return f'<table aria-live="polite">{rows}</table>'
