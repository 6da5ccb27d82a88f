"""What a model is loaded from: safetensors; where there are none, tensors alone out of a pytorch_model.bin."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import load_file

from beft_lib import load_model, load_task
from beft_lib.errors import ModelError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder without safetensors, as facebook/opt-1.3b has it on the hub."""
    made = tiny.save(tmp_path / "bert")
    torch.save(load_file(made / "model.safetensors"), made / "pytorch_model.bin")
    (made / "model.safetensors").unlink()
    return made


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return load_task("sst2", tiny.write_task(tmp_path_factory.mktemp("task")), n_train=48)


class Trap:
    """Unpickled, it would make a file."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_a_model_without_safetensors_is_read_as_tensors(folder, task, tmp_path):
    ours, same = load_model(folder, task), load_model(tiny.save(tmp_path / "same"), task)
    assert all(torch.equal(value, same.state_dict()[name]) for name, value in ours.state_dict().items())


@pytest.mark.parametrize("options", [{}, {"weights_only": False}])
def test_a_pickle_that_would_run_code_is_refused(options, folder, task, tmp_path):
    torch.save({"bert.embeddings.word_embeddings.weight": Trap(tmp_path / "ran")}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"holds more than tensors.*model\.safetensors"):
        load_model(folder, task, **options)
    assert not (tmp_path / "ran").exists()
