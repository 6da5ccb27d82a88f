"""What several verbs say of the same options."""

from __future__ import annotations

from .task_table import TASKS

MODEL = (
    "bert, roberta, opt: what this machine's profile has (laptop: MiniLM; pocket: a toy that knows a made-up "
    "language); or minilm, bert-base-cased …, a folder, owner/name (default: bert)"
)
METHOD = (
    "head, value, query, key, query+value …, all_biases, random_uniform, full, lora, prefix; of some layers: "
    "value@top-half; without training: zero_shot, in_context, in_context@2"
)
TASK = ", ".join(TASKS)
SEED = "of examples, head, order and dropout (default: 0)"
