"""A base in pieces, one a process: the same numbers as whole, less memory, and a whole model afterwards."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import two_processes
from test_fitting import LAUNCH, NO_DROPOUT

from beft_lib import fsdp, load_model, load_task
from beft_lib.architectures import layers_of
from beft_lib.errors import TrainingError
from beft_lib.probing import probe
from beft_lib.tuning import fine_tune

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="gloo is not in Windows' torch")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A model without dropout, and a task: what all processes load."""
    folder = tiny.save(tmp_path_factory.mktemp("bert"))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, **NO_DROPOUT}), encoding="utf-8")
    return folder, tiny.write_task(tmp_path_factory.mktemp("task"))


@pytest.fixture(scope="module")
def two(places, tmp_path_factory):
    """What each of two processes found."""
    out = tmp_path_factory.mktemp("two")
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, *LAUNCH, two_processes.__file__, *map(str, places), str(out)], cwd=out, check=False,
        env={**os.environ, "PYTHONPATH": str(here.parent), "OMP_NUM_THREADS": "1", "BEFT_DEVICE": "cpu"},
        capture_output=True, text=True, encoding="utf-8", timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return [json.loads((out / f"{rank}.json").read_text(encoding="utf-8")) for rank in range(2)]


@pytest.fixture(scope="module")
def task(places):
    return load_task("sst2", places[1], n_train=43)


def expect(found, run, model):
    expected = two_processes.numbers(run, model)
    assert np.abs(np.array(found["losses"]) - expected["losses"]).max() < 1e-6
    assert found["metrics"] == expected["metrics"]
    assert found["trained"].keys() == expected["trained"].keys()
    for name, values in expected["trained"].items():
        assert np.abs(np.array(found["trained"][name]) - values).max() < 1e-4, name


@pytest.mark.parametrize("method", two_processes.METHODS)
def test_a_run_in_pieces_is_the_run_of_one_process(two, places, task, method):
    model = load_model(places[0], task)
    run = fine_tune(model, task, method, **two_processes.CHANGES)
    assert max(run.losses) - min(run.losses) > 1e-3
    for found in two:
        expect(found[method], run, model)


@pytest.mark.parametrize(("name", "method"), two_processes.PROMPTED)
def test_a_language_model_in_pieces_answers_as_a_whole_one(two, name, method):
    """One task with candidates, one where the model writes; OPT's head is its embeddings."""
    model, task = two_processes.language(name)
    run = fine_tune(model, task, method, **two_processes.CHANGES)
    for found in two:
        expect(found[name], run, model)


def test_these_runs_were_in_pieces_to_their_end(two, places, task):
    """Without this, all of the above would hold of a run that cuts nothing."""
    whole = {"bert": load_model(places[0], task), "opt": two_processes.language("cb")[0]}
    for kind, each in (("bert", slice(0, -2)), ("opt", slice(-2, None))):
        size = sum(map(fsdp.local_bytes, layers_of(whole[kind])))
        for held in (one["held"] for one in two):
            assert len(held) == len(two_processes.METHODS) + len(two_processes.PROMPTED)
            for in_pieces, before, after in held[each]:
                assert in_pieces and before == after and 0.5 * size <= before < 0.7 * size, (kind, before, after, size)


def test_a_second_run_on_one_model_is_averaged_over_processes_as_the_first(two, places, task):
    """accelerate leaves a mark on a model that it has scored, and would wrap none that has it."""
    model = load_model(places[0], task)
    run = fine_tune(model, task, "value", seed=0, **two_processes.CHANGES)
    for found in two:
        expect(found["seeds"][1], run, model)
        assert found["seeds"][0]["losses"] != found["seeds"][1]["losses"]


def test_every_process_holds_half_of_a_layer_and_the_model_stays_whole(two):
    for found in (one["pieces"] for one in two):
        assert found["apart"] < 1e-6 and found["same"] and found["whole_inside"]
        assert 0.5 < found["layers"] < 0.55  # what is trained is whole
        assert found["kind"] == "BertForSequenceClassification"


def test_a_run_in_pieces_goes_on_after_an_interrupt(two, places, task):
    model = load_model(places[0], task)
    run = fine_tune(model, task, "value", **two_processes.CHANGES)
    for found in (one["interrupted"] for one in two):
        assert found["left"] == ["Parameter"]
        assert found["steps"] == 5 + run.steps - 4  # the checkpoint of step 4 was gone on with
        expect(found, run, model)


def test_what_cannot_be_in_pieces_is_refused(two, places, task, monkeypatch):
    assert all("trains every one of them" in one["refused"] for one in two)
    model = load_model(places[0], task)
    with pytest.raises(TrainingError, match=r"there is one.*accelerate launch.*--fsdp"):
        fine_tune(model, task, "value", fsdp=True)
    with pytest.raises(TrainingError, match="exclude each other"):
        fine_tune(model, task, "head", fsdp=True, reuse=True)
    with pytest.raises(TrainingError, match="for fine_tune"):
        probe(model, task, fsdp=True)
    model.hf_device_map = {"": 0}
    monkeypatch.setattr(fsdp, "_sharding", lambda processes: None)
    with pytest.raises(TrainingError, match="hf_device_map"):
        fine_tune(model, task, "value", fsdp=True)
    opt, asked = two_processes.language("cb")
    opt.get_decoder().layerdrop = 0.1
    with pytest.raises(TrainingError, match=r"layerdrop 0\.1"):
        fine_tune(opt, asked, "value", fsdp=True)
    with pytest.raises(TrainingError, match="zero_shot trains nothing"):
        fine_tune(opt, asked, "zero_shot", fsdp=True)


def test_an_older_torch_is_told(monkeypatch):
    from torch.distributed import fsdp as theirs

    monkeypatch.setattr(theirs, "fully_shard", lambda module, *, mesh=None: module)
    with pytest.raises(TrainingError, match=r"torch 2\.7 or newer"):
        fsdp._sharding(2)
