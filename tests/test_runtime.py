"""Profiles and where models come from."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from beft_lib import hardware, runtime
from beft_lib.errors import BeftError, ModelError, UnknownName
from beft_lib.files import write_text_whole


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing: no profile named, no CUDA, no package, no cache, nothing shipped, no hub."""

    def nothing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.delenv("BEFT_PROFILE", raising=False)
    monkeypatch.setenv("BEFT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(runtime, "data_folder", lambda: tmp_path / "data")
    monkeypatch.setattr(runtime, "cuda_bytes", lambda: 0)
    monkeypatch.setattr(runtime, "hub_answers", lambda: False)
    monkeypatch.setattr(runtime.importlib.metadata, "distribution", nothing)
    return tmp_path


def model_in(folder: Path, weights: str = "weights") -> Path:
    write_text_whole(folder / "config.json", "{}")
    write_text_whole(folder / "model.safetensors", weights)
    return folder


def snapshot(cache: Path, hub: str, revision: str = "abc", kind: str = "models") -> Path:
    """The layout that huggingface_hub writes."""
    repository = cache / f"{kind}--{hub.replace('/', '--')}"
    write_text_whole(repository / "refs" / "main", revision)
    return repository / "snapshots" / revision


def pin(monkeypatch: pytest.MonkeyPatch, weights: Path) -> None:
    """Let minilm's pinned fingerprint be that of this file."""
    row = runtime.MODELS["minilm"]
    changed = runtime.ModelRow(**{**vars(row), "sha256": runtime.sha256(weights)})
    monkeypatch.setitem(runtime.MODELS, "minilm", changed)


def package_at(monkeypatch: pytest.MonkeyPatch, site: Path) -> Path:
    found = SimpleNamespace(locate_file=lambda inside: site / inside)
    monkeypatch.setattr(runtime.importlib.metadata, "distribution", lambda name: found)
    return site / runtime.MODELS["minilm"].folder


# -- the tables


@pytest.mark.parametrize("profile", runtime.PROFILES.values(), ids=lambda profile: profile.name)
def test_a_profile_names_known_models_and_fills_every_role(profile: runtime.Profile) -> None:
    names = (*profile.encoders, profile.decoder, *profile.stand_ins)
    assert profile.encoder in profile.encoders
    assert {runtime.MODELS[name].family for name in names} >= {"bert", "roberta", "opt"}
    assert profile.data in {"pocket", "mini", "hub"} and profile.picked_when and profile.lesson_takes


@pytest.mark.parametrize("row", runtime.MODELS.values(), ids=lambda row: row.name)
def test_a_model_is_told_with_a_way_out_when_nothing_has_it(row: runtime.ModelRow, empty: Path) -> None:
    with pytest.raises(ModelError, match=r"pip install|prefetch|pocket build") as told:
        runtime.locate_model(row.name)
    assert row.name in str(told.value)


# -- choosing a profile


@pytest.mark.parametrize("name", runtime.PROFILES)
def test_the_variable_decides(name: str, empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFT_PROFILE", name)
    monkeypatch.setattr(runtime, "hub_answers", lambda: True)
    choice = runtime.choose_profile()
    assert choice.profile.name == name and choice.reason == f"BEFT_PROFILE={name}"


@pytest.mark.parametrize("named", ["workstation", "colab", "laptop"])
@pytest.mark.parametrize("minilm", [True, False])
def test_a_profile_that_cannot_be_had_becomes_the_next_one_and_says_so(
    named: str, minilm: bool, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_in(empty / "data" / "models" / "pocket-bert")
    if minilm:
        pin(monkeypatch, model_in(package_at(monkeypatch, empty / "site")) / "model.safetensors")
    monkeypatch.setenv("BEFT_PROFILE", named)
    choice = runtime.choose_profile()
    assert choice.profile.name == ("laptop" if minilm else "pocket")
    if named != choice.profile.name:
        assert f"BEFT_PROFILE={named} cannot be had here, so this is {choice.profile.name}. No weights" in choice.reason
        assert "prefetch" in choice.reason or "pip install" in choice.reason
        assert "\n" not in choice.reason
    assert runtime.locate_model("bert").name == choice.profile.encoder


def test_an_unknown_profile_is_named_with_the_known_ones(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFT_PROFILE", "labtop")
    with pytest.raises(UnknownName, match=r"'labtop'.*Did you mean 'laptop'.*BEFT_PROFILE"):
        runtime.choose_profile()


@pytest.mark.parametrize(
    ("gigabytes", "hub", "expected"),
    [(0, False, "pocket"), (0, True, "laptop"), (11.9, True, "laptop"), (15, True, "colab"), (15, False, "pocket"),
     (40, True, "workstation"), (40, False, "pocket")],
)  # fmt: skip
def test_the_profile_by_machine(
    gigabytes: float, hub: bool, expected: str, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "cuda_bytes", lambda: int(gigabytes * 1e9))
    monkeypatch.setattr(runtime, "hub_answers", lambda: hub)
    assert runtime.choose_profile().profile.name == expected


def test_the_hub_is_not_asked_where_its_answer_cannot_matter(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never() -> bool:
        raise AssertionError("asked")

    pin(monkeypatch, model_in(package_at(monkeypatch, empty / "site")) / "model.safetensors")
    monkeypatch.setattr(runtime, "hub_answers", never)
    choice = runtime.choose_profile()
    assert choice.profile.name == "laptop" and "PyPI package" in choice.reason


def test_what_was_prefetched_stands_in_for_the_hub(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "cuda_bytes", lambda: int(15e9))
    for name in (*runtime.PROFILES["colab"].encoders, runtime.PROFILES["colab"].decoder):
        model_in(snapshot(empty / "home" / "hub", runtime.MODELS[name].hub))
    assert runtime.choose_profile().profile.name != "colab"  # models without data are not enough
    data = empty / "home" / "hub" / "datasets--nyu-mll--glue" / "snapshots" / "c0ffee" / "rte"
    data.mkdir(parents=True)
    (data / "train-00000-of-00001.parquet").touch()
    assert runtime.choose_profile().profile.name == "colab"


# -- locating


def test_channels_in_their_order(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = runtime.MODELS["minilm"].hub
    places = [
        (model_in(empty / "data" / "models" / "minilm"), "shipped"),
        (model_in(package_at(monkeypatch, empty / "site")), "package"),
        (model_in(snapshot(empty / "home" / "hub", hub)), "cache"),
        (model_in(snapshot(empty / "hf", hub)), "cache"),
    ]
    pin(monkeypatch, places[0][0] / "model.safetensors")
    for folder, channel in places:
        source = runtime.locate_model("minilm")
        assert (source.path, source.channel) == (str(folder), channel)
        (folder / "model.safetensors").unlink()  # so that the next one is found
    monkeypatch.setattr(runtime, "hub_answers", lambda: True)
    assert runtime.find_model("minilm").channel == "hub"


def test_other_weights_are_refused_and_the_next_channel_taken(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = model_in(package_at(monkeypatch, empty / "site"), "tampered with")
    with pytest.raises(ModelError, match=r"PyPI package.*SHA-256.*is not the pinned"):
        runtime.locate_model("minilm")
    right = model_in(snapshot(empty / "hf", runtime.MODELS["minilm"].hub), "the real ones")
    pin(monkeypatch, right / "model.safetensors")
    assert runtime.locate_model("minilm").path == str(right)
    assert wrong.is_dir()


def test_the_real_package_has_the_pinned_fingerprint(minilm: Path) -> None:
    source = runtime.locate_model("minilm")
    assert source.channel == "package" and Path(source.path) == minilm


def test_a_fingerprint_is_computed_once_until_the_file_changes(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = model_in(package_at(monkeypatch, empty / "site"))
    pin(monkeypatch, folder / "model.safetensors")
    counted = []
    real = runtime.sha256
    monkeypatch.setattr(runtime, "sha256", lambda path: counted.append(path) or real(path))
    for _ in range(2):
        runtime._fingerprint.cache_clear()  # a new process
        assert runtime.locate_model("minilm").channel == "package"
    assert len(counted) == 1
    write_text_whole(folder / "model.safetensors", "weights!")
    with pytest.raises(ModelError, match="SHA-256"):
        runtime.locate_model("minilm")


@pytest.mark.parametrize("damage", ["not json", "[]"])
def test_a_damaged_memory_of_fingerprints_does_no_harm(
    empty: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    folder = model_in(package_at(monkeypatch, empty / "site"))
    pin(monkeypatch, folder / "model.safetensors")
    write_text_whole(empty / "home" / "fingerprints.json", damage)
    runtime._fingerprint.cache_clear()
    assert runtime.locate_model("minilm").channel == "package"
    assert len(json.loads((empty / "home" / "fingerprints.json").read_text(encoding="utf-8"))) == 1


def test_a_memory_that_another_learner_owns_stops_nobody(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shared BEFT_HOME with the sticky bit: all may add files, only who made one may replace it."""
    folder = model_in(package_at(monkeypatch, empty / "site"))
    pin(monkeypatch, folder / "model.safetensors")
    refused: list[Path] = []

    def refuse(path: Path, text: str) -> None:
        refused.append(path)
        raise PermissionError(1, "Operation not permitted", str(path))

    monkeypatch.setattr(runtime, "write_text_whole", refuse)
    runtime._fingerprint.cache_clear()
    assert runtime.locate_model("minilm").channel == "package" and refused


def test_a_half_fetched_model_is_not_taken(empty: Path) -> None:
    folder = snapshot(empty / "home" / "hub", "facebook/opt-6.7b")
    write_text_whole(folder / "config.json", "{}")
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
    write_text_whole(folder / "model.safetensors.index.json", json.dumps(index))
    write_text_whole(folder / "one.safetensors", "")
    with pytest.raises(ModelError):
        runtime.locate_model("facebook/opt-6.7b")
    with pytest.raises(ModelError, match=r"no two\.safetensors"):
        runtime.locate_model(str(folder))
    write_text_whole(folder / "two.safetensors", "")
    assert runtime.locate_model("facebook/opt-6.7b").channel == "cache"


def test_roles_follow_the_profile_and_its_stand_ins(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pocket-bert", "pocket-roberta", "pocket-opt"):
        model_in(empty / "data" / "models" / name)
    monkeypatch.setenv("BEFT_PROFILE", "pocket")
    assert [runtime.locate_model(role).name for role in ("bert", "roberta", "opt")] == [
        "pocket-bert", "pocket-roberta", "pocket-opt",
    ]  # fmt: skip
    monkeypatch.setenv("BEFT_PROFILE", "laptop")
    assert runtime.locate_model("opt").name == "pocket-opt"
    monkeypatch.setattr(runtime, "hub_answers", lambda: True)
    assert runtime.locate_model("opt").name == "facebook/opt-125m"
    monkeypatch.setenv("BEFT_PROFILE", "colab")
    assert runtime.locate_model("roberta").path == "FacebookAI/roberta-base"


def test_a_folder_a_hub_id_and_nonsense(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = model_in(empty / "mine")
    assert runtime.locate_model(str(folder)).channel == "folder"
    with pytest.raises(ModelError, match="not a whole model: no config"):
        runtime.locate_model(str(empty))
    with pytest.raises(ModelError, match="No folder"):
        runtime.locate_model("./nowhere/at/all")
    with pytest.raises(ModelError, match="owner/name"):
        runtime.locate_model("owner/name")
    monkeypatch.setattr(runtime, "hub_answers", lambda: True)
    assert runtime.locate_model("owner/name").path == "owner/name"
    with pytest.raises(UnknownName, match="Did you mean 'minilm'"):
        runtime.locate_model("minlm")


def test_a_pinned_model_from_the_hub_is_checked_before_it_is_used(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    def snapshot_download(hub: str, **options: object) -> str:
        asked.update(options, hub=hub)
        return str(model_in(empty / "fetched"))

    monkeypatch.setattr(runtime, "hub_answers", lambda: True)
    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(snapshot_download=snapshot_download))
    with pytest.raises(ModelError, match="SHA-256"):
        runtime.locate_model("minilm")
    pin(monkeypatch, empty / "fetched" / "model.safetensors")
    assert runtime.locate_model("minilm").path == str(empty / "fetched")
    assert asked["revision"] == runtime.MODELS["minilm"].revision
    assert "model.safetensors" in str(asked["allow_patterns"])


def test_fetched_data_is_found_by_split_in_both_layouts(empty: Path) -> None:
    assert runtime.hub_data("nyu-mll/glue", "rte") is None
    folder = snapshot(empty / "home" / "hub", "nyu-mll/glue", kind="datasets")
    for name in ("train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00001"):
        write_text_whole(folder / "rte" / f"{name}.parquet", "")
    write_text_whole(folder / "qqp" / "train-00000-of-00001.parquet", "")
    found = runtime.hub_data("nyu-mll/glue", "rte")
    assert found is not None and {split: len(files) for split, files in found.items()} == {"train": 2, "validation": 1}
    converted = snapshot(empty / "home" / "hub", "ucinlp/drop", kind="datasets")
    write_text_whole(converted / "default" / "validation" / "0000.parquet", "")
    assert set(runtime.hub_data("ucinlp/drop", "default") or {}) == {"validation"}


# -- the machine


def test_the_device_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("BEFT_DEVICE", "cpu")
    assert runtime.device().type == "cpu" and runtime.base_dtype()[0] == torch.float32
    monkeypatch.setenv("BEFT_DEVICE", "gpu")
    with pytest.raises(UnknownName, match=r"'gpu'.*cuda, mps, cpu"):
        runtime.device()
    monkeypatch.setenv("BEFT_DEVICE", "cuda")
    with pytest.raises(BeftError, match="BEFT_DEVICE=cuda, but torch"):
        runtime.device()


def test_memory_counts_a_container_s_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    free = runtime.memory()
    assert free["ram_total"] and free["ram_free"] and free["ram_free"] <= free["ram_total"]
    files = {"/sys/fs/cgroup/memory.max": str(2**28), "/sys/fs/cgroup/memory.current": str(2**27)}
    monkeypatch.setattr(hardware, "_read", lambda path: files.get(path, ""))
    limited = runtime.memory()
    assert limited["ram_total"] == 2**28 and limited["ram_free"] is not None and limited["ram_free"] <= 2**27


def test_threads_count_a_container_s_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware.os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    monkeypatch.setattr(hardware, "_read", lambda path: "200000 100000" if path.endswith("cpu.max") else "")
    assert runtime.threads() == 2
    monkeypatch.setattr(hardware, "_read", lambda path: "max 100000" if path.endswith("cpu.max") else "")
    assert runtime.threads() == 64


def test_the_machine_s_facts_can_be_written_down_and_name_nobody() -> None:
    import getpass
    import platform

    facts = json.dumps(runtime.machine())
    assert {"python", "torch", "transformers", "beft_lib", "cpu_count", "device"} <= set(runtime.machine())
    assert platform.node() not in facts or len(platform.node()) < 3
    assert f"/{getpass.getuser()}" not in facts


def test_importing_loads_the_standard_library_only() -> None:
    code = (
        "import sys, beft_lib.__main__, beft_lib.runtime, beft_lib.setup_env\n"
        "heavy = {'torch', 'transformers', 'numpy', 'datasets', 'psutil', 'huggingface_hub'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
