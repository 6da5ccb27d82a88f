"""A model without a row in the table: where its attention is, if the structure leaves no doubt."""

from __future__ import annotations

from torch import nn

from .layouts import Family, Separate

# How q, k and v are called; a layer must hold exactly one such triple, side by side.
_TRIPLES = (
    ("q_proj", "k_proj", "v_proj"), ("query", "key", "value"), ("q", "k", "v"), ("q_lin", "k_lin", "v_lin"),
    ("query_proj", "key_proj", "value_proj"), ("wq", "wk", "wv"), ("to_q", "to_k", "to_v"),
)  # fmt: skip
_FUSED = ("qkv", "qkv_proj", "c_attn", "query_key_value", "wqkv", "in_proj")
_OUTPUTS = ("o_proj", "out_proj", "dense", "out_lin", "o", "wo", "to_out")
_HEADS = ("pre_classifier", "classifier", "score", "classification_head", "projector")


def discover(model: nn.Module, model_type: str) -> Family | str:
    """The row that a model would have; or, in a few words, why that is not certain.

    Certain means: one list of layers, in each exactly one triple of Linear modules under known names and one parent,
    k and v of one width, q of that width times a whole number, and the same paths in every layer.
    """
    base = getattr(model, "base_model", model)
    lists = {
        name: [_triples(layer) for layer in module]
        for name, module in base.named_modules()
        if isinstance(module, nn.ModuleList)
    }
    lists = {name: found for name, found in lists.items() if any(found)}
    # A list in a layer of another list (T5's sublayers) is a part of that layer.
    outer = [name for name in lists if not any(name.startswith(other + ".") for other in lists)]
    if len(outer) != 1:
        return f"{len(outer)} lists of layers hold query, key and value projections ({', '.join(outer) or 'none'})"
    found = lists[outer[0]]
    if any(len(triples) != 1 for triples in found) or len({triples[0] for triples in found}) != 1:
        counts = sorted({len(triples) for triples in found})
        return f"the layers of {outer[0]} hold {counts} triples of projections; one and the same each was expected"
    query, key, value = found[0][0]
    layer = base.get_submodule(outer[0])[0]  # type: ignore[index]
    head = tuple(name for name, _ in model.named_children() if name in _HEADS)
    return Family(model_type, outer[0], Separate(query, key, value), _output(layer, query), head=head)


def projections(model: nn.Module) -> list[str]:
    """Paths of modules whose names are those of projections, one layer's first: to help write a row."""
    known = {name for triple in _TRIPLES for name in triple} | set(_FUSED)
    return [path for path, _ in model.named_modules() if path.rsplit(".", 1)[-1].lower() in known]


def _triples(layer: nn.Module) -> list[tuple[str, str, str]]:
    found = []
    for path, parent in layer.named_modules():
        for names in _TRIPLES:
            q, k, v = (getattr(parent, name, None) for name in names)
            if not (isinstance(q, nn.Linear) and isinstance(k, nn.Linear) and isinstance(v, nn.Linear)):
                continue
            if k.out_features == v.out_features and q.out_features % k.out_features == 0:
                prefix = path + "." if path else ""
                found.append((prefix + names[0], prefix + names[1], prefix + names[2]))
    return found


def _output(layer: nn.Module, query: str) -> str:
    """The one Linear beside q (or in BERT's place) that takes what attention puts out; "" for none or several."""
    parent, _, _ = query.rpartition(".")
    width = layer.get_submodule(query).out_features
    names = [*_OUTPUTS, "output.dense"] if not parent.endswith("self") else ["output.dense"]
    start = parent.removesuffix("self").rstrip(".")
    paths = [f"{start}.{name}" if start else name for name in names]
    modules = dict(layer.named_modules())
    fits = [path for path in paths if getattr(modules.get(path), "in_features", None) == width]
    return fits[0] if len(fits) == 1 else ""
