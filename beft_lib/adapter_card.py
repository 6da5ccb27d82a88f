"""The model card of an adapter: what it is, what it scored, how to load it. Text in, text out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def card(own: Mapping[str, Any]) -> str:
    """README.md for an adapter described by ``own`` (beft.json), with the hub's front matter."""
    base, data = own["base"], own["data"]
    examples = f"{data['n_train']:,} training examples, " if data["n_train"] else ""
    scores = "\n".join(f"| {name} | {_number(value)} |" for name, value in own["metrics"].items())
    counts, recipe, name = own["parameters"], own["recipe"], base["hub"] or base["name"]
    short = data["n_train"] and own["steps"] * recipe["batch_size"] < 0.9 * recipe["epochs"] * data["n_train"]
    length = f"stopped after {own['steps']:,} steps" if short else f"{recipe['epochs']:g} epochs"
    how = f"learning rate {recipe['learning_rate']:g}, {length}, batch {recipe['batch_size']}"
    return f"""{_front_matter(own)}
# {own["method"]} on {own["task"]}

A BEFT adapter: {_what(own)}, everything else untouched.

| | |
|---|---|
| task | {own["task"]} ({", ".join(own["labels"]) or "asked in words"}) |
| data | {examples}{data["source"] or "source not recorded"} |
| base model | {name}, revision {base["revision"] or "not recorded"} ({base["layers"]} layers, width {base["width"]}) |
| trained | {counts["method"]:,} parameters by the method + {counts["head"]:,} in the head, of {counts["model"]:,} |
| recipe | {how}{_still(own)} |
| seed | {own["seed"]} |
| cost | {own["steps"]:,} steps in {own["seconds"]:.0f} s |

On the validation examples, one run:

| metric | score |
|---|---|
{scores}

{_loading(own)}
The method: [Bias-Efficient Fine-Tuning](https://arxiv.org/abs/2509.15974). `beft.json` says the same to programs.
"""


def _what(own: Mapping[str, Any]) -> str:
    name, head = own["base"]["hub"] or own["base"]["name"], "the task head" if own["labels"] else ""
    if own["terms"]:
        more = " and every other bias" if own["method"] == "all_biases" else ""
        layers = own.get("layers", ())
        where = "" if len(layers) == own["base"]["layers"] else f" (layers {', '.join(map(str, layers))})"
        what = f"the {', '.join(own['terms'])} bias{'es' if len(own['terms']) > 1 else ''}{where}{more}"
        return f"{what} of `{name}`{head and f' and {head}'}"
    return f"{head} of `{name}` alone"


def _still(own: Mapping[str, Any]) -> str:
    kept = own.get("kept_layers", 0)
    return f"; the lowest {kept} layers frozen, without dropout" if kept else ""


def _loading(own: Mapping[str, Any]) -> str:
    base, labels = own["base"], len(own["labels"])
    kind, options = ("SequenceClassification", f", num_labels={labels}") if labels else ("CausalLM", "")
    if base["hub"] and base["revision"]:
        options += f", revision={json.dumps(base['revision'])}"
    address = _quoted(base["hub"] or f"FOLDER OF {base['name']}")
    if own["peft"]:
        return f"""With this course's library, or with PEFT alone (0.20 or later):

```python
load_adapter(model, "FOLDER")  # beft_lib

model = AutoModelFor{kind}.from_pretrained({address}{options})
model = PeftModel.from_pretrained(model, "FOLDER")
```
{_where(base)}"""
    return f"""With this course's library: `load_adapter(model, "FOLDER")`.
{_where(base)}
Stock PEFT cannot load this adapter: its BEFT layer holds the biases of separate linear projections only, and this one
also holds other biases (LayerNorm's, say), or single parts of a fused projection.
"""


def _where(base: Mapping[str, Any]) -> str:
    """Where a base is to be had that no hub has."""
    if base["hub"]:
        return ""
    if base.get("merged"):
        return """
The base model had an adapter merged in, or b_v folded, and is in no file yet: save the merged model first
(save_pretrained), before it is tuned again, and name its folder.
"""
    if base.get("shipped"):
        return f"""
The base model ships with the course: its folder is `data/models/{base["name"]}` in the course's folder, and
`beft_lib.runtime.find_model("{base["name"]}").path` tells where that is.
"""
    return """
The base model is on no hub: it came from a folder. Who publishes this adapter should say where to get it.
"""


def _front_matter(own: Mapping[str, Any]) -> str:
    """The hub's metadata. JSON strings and lists are YAML as they stand."""
    base, data = own["base"], own["data"]
    lines = ["library_name: peft"] if own["peft"] else []
    if base["hub"]:
        lines += [f"base_model: {_quoted(base['hub'])}", "base_model_relation: adapter"]
    kind = "text-classification" if own["labels"] else "text-generation"
    lines += [f"pipeline_tag: {kind}", 'tags: ["beft", "bias-tuning", "parameter-efficient-fine-tuning"]']
    dataset = f"{own['task']}, {data['source'] or 'source not recorded'}"
    measured = {name: value for name, value in own["metrics"].items() if value is not None}
    if measured:
        lines += [
            "model-index:",
            f"- name: {_quoted(own['method'] + ' on ' + own['task'])}",
            "  results:",
            f"  - task: {{type: {kind}}}",
            f"    dataset: {{name: {_quoted(dataset)}, type: {_quoted(own['task'])}}}",
            "    metrics:",
            *(f"    - {{type: {_quoted(name)}, value: {value:.6g}}}" for name, value in measured.items()),
        ]
    return "\n".join(["---", *lines, "---"])


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.4f}"
