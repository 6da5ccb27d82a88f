"""Fetching once, with a stub of the hub; what was fetched is then found with no hub at all."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from beft_lib import places, prefetch, runtime
from beft_lib.errors import BeftError, UnknownName
from beft_lib.files import write_text_whole

BERT = ["config.json", "tokenizer.json", "vocab.txt", "model.safetensors", "pytorch_model.bin", "tf_model.h5",
        "flax_model.msgpack", "onnx/model.onnx", "onnx/config.json", "README.md", ".gitattributes"]  # fmt: skip
OPT = ["config.json", "merges.txt", "vocab.json", "pytorch_model.bin", "tf_model.h5"]


class Hub:
    """As much of huggingface_hub as is used. ``break_at``: the download that fails."""

    def __init__(self) -> None:
        self.downloads: list[tuple[str, str | None]] = []
        self.break_at = -1
        self.down = False

    def HfApi(self) -> Hub:
        return self

    def _info(self, names: list[str]) -> Any:
        if self.down:
            raise ConnectionError("Name or service not known")
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=name, size=len(name) * 1000) for name in names])

    def model_info(self, hub: str, revision: str | None, files_metadata: bool) -> Any:
        assert files_metadata, "without it the hub gives no sizes"
        return self._info(OPT if "opt" in hub else BERT)

    def dataset_info(self, hub: str, revision: str | None, files_metadata: bool) -> Any:
        from beft_lib.tasks import TASKS

        subsets = [row.subset for row in TASKS.values() if row.hub == hub]
        if revision is None:
            names = [f"{s}/{split}-00000-of-00001.parquet" for s in subsets for split in SPLITS]
            names = [] if hub.startswith("aps/") else names  # only converted, like some on the hub
        else:
            names = [f"{s}/{split}/0000.parquet" for s in subsets for split in SPLITS]
        return self._info(["README.md", *names])

    def snapshot_download(
        self, hub: str, repo_type: str, revision: str | None, allow_patterns: list[str], cache_dir: Path
    ) -> str:
        self.downloads.append((hub, revision))
        if len(self.downloads) - 1 == self.break_at:
            raise ConnectionError("connection reset")
        repository = Path(cache_dir) / f"{repo_type}s--{hub.replace('/', '--')}"
        commit = "c0ffee" if revision is None else revision.replace("/", "")
        for name in allow_patterns:
            write_text_whole(repository / "snapshots" / commit / name, "{}")
        write_text_whole(repository / "refs" / (revision or "main"), commit)
        return str(repository / "snapshots" / commit)


SPLITS = ("train", "validation", "test")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    stub = Hub()
    monkeypatch.setitem(sys.modules, "huggingface_hub", stub)
    monkeypatch.setenv("BEFT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "none"))
    monkeypatch.setattr(runtime, "hub_answers", lambda: True)
    yield stub


def arguments(profile: str | None, **options: bool) -> argparse.Namespace:
    return argparse.Namespace(**{"profile": profile, "data": False, "dry_run": False, **options})


def test_sizes_first_and_nothing_fetched_on_a_dry_run(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert prefetch.run(arguments("colab", dry_run=True)) == 0
    out = capsys.readouterr().out
    assert hub.downloads == [] and not (places.home() / "hub").exists()
    for name in ("bert-base-cased", "roberta-base", "facebook/opt-1.3b", "rte", "to fetch for colab"):
        assert name in out
    wanted = prefetch.plan(runtime.PROFILES["colab"])
    assert f"{sum(one.size for one in wanted) / 1e6:,.1f} MB" in out.splitlines()[-1]


def test_only_what_is_needed_and_no_pickle_where_safetensors_are(hub: Hub) -> None:
    wanted = {one.what: one for one in prefetch.plan(runtime.PROFILES["colab"])}
    assert set(wanted["bert-base-cased"].files) == {"config.json", "tokenizer.json", "vocab.txt", "model.safetensors"}
    assert set(wanted["facebook/opt-1.3b"].files) == {"config.json", "merges.txt", "vocab.json", "pytorch_model.bin"}
    assert wanted["rte"].revision is None and wanted["cb"].revision == "refs/convert/parquet"
    assert all(name.startswith("rte/") for name in wanted["rte"].files)


def test_what_was_fetched_is_found_with_no_hub_and_not_fetched_again(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prefetch.run(arguments("colab")) == 0
    assert "All there" in capsys.readouterr().out
    monkeypatch.setattr(runtime, "hub_answers", lambda: False)
    monkeypatch.setattr(places, "writable", lambda folder: False)  # a class: BEFT_HOME is read-only
    profile = runtime.PROFILES["colab"]
    for name in (*profile.encoders, profile.decoder):
        source = runtime.locate_model(name)
        assert source.channel == "cache" and Path(source.path).is_relative_to(places.home() / "hub")
    for subset, where in (("rte", "nyu-mll/glue"), ("cb", "aps/super_glue")):
        assert set(runtime.hub_data(where, subset) or {}) == set(SPLITS)
    assert prefetch.plan(profile) == []


def test_an_interrupted_fetch_goes_on_where_it_stopped(hub: Hub) -> None:
    hub.break_at = 2
    with pytest.raises(BeftError, match=r"connection reset.*run it again: what has been fetched is kept"):
        prefetch.run(arguments("colab"))
    done = [name for name, _ in hub.downloads[:2]]
    hub.break_at = -1
    again = len(hub.downloads)
    assert prefetch.run(arguments("colab")) == 0
    assert not set(done) & {name for name, _ in hub.downloads[again:]}


def test_a_full_disk_is_said_before_anything_is_fetched(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefetch.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(BeftError, match="GB free"):
        prefetch.run(arguments("colab"))
    assert hub.downloads == []


def test_a_home_that_cannot_be_made_is_named(hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BEFT_HOME", str(write_text_whole(tmp_path / "a_file", "") / "home"))
    with pytest.raises(BeftError, match=r"cannot be made.*BEFT_HOME"):
        prefetch.run(arguments("colab"))


def test_a_hub_that_does_not_answer_is_one_message(hub: Hub) -> None:
    hub.down = True
    with pytest.raises(BeftError, match=r"does not give google-bert/bert-base-cased.*Check the connection"):
        prefetch.run(arguments("colab"))


def test_weights_other_than_the_pinned_are_refused(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefetch, "_is_here", lambda name: False)
    row = runtime.MODELS["minilm"]
    monkeypatch.setitem(runtime.MODELS, "minilm", runtime.ModelRow(**{**vars(row), "package": ""}))
    monkeypatch.setattr(runtime, "hub_answers", lambda: False)
    with pytest.raises(BeftError, match="SHA-256"):
        prefetch.run(arguments("laptop"))


def test_an_unknown_profile_is_named(hub: Hub) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'colab'"):
        prefetch.run(arguments("collab"))


def test_pocket_needs_nothing(hub: Hub) -> None:
    assert prefetch.plan(runtime.PROFILES["pocket"]) == []
    assert prefetch.plan(runtime.PROFILES["pocket"], with_data=True) != []
