"""A model and a task that do not belong together, and other mistakes of a call: said at once, the model untouched."""

import pytest
import tiny
import torch

from beft_lib import fine_tune, fisher_information, load_model, load_task, probe, save_adapter, tune_own
from beft_lib.__main__ import main
from beft_lib.errors import AdapterError, DataError, ModelError, TrainingError, UnknownName

LABELS = {"stsb": 1, "sst2": 2, "cb": 3}


@pytest.fixture(scope="module")
def tasks():
    return {name: load_task(name, "pocket", n_train=24) for name in LABELS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.save(tmp_path_factory.mktemp("bert"))


@pytest.mark.parametrize("call", [fine_tune, probe, fisher_information])
@pytest.mark.parametrize("loaded", LABELS)
def test_a_model_of_another_task_is_refused_before_anything_is_done(loaded, call, tasks, folder):
    model = load_model(folder, tasks[loaded])
    before, held = {n: p.clone() for n, p in model.named_parameters()}, dict(model.__dict__)
    for name, number in LABELS.items():
        if name == loaded:
            continue
        with pytest.raises(
            ModelError, match=rf"head of {LABELS[loaded]} outputs, and {name} needs {number}.*load_model"
        ):
            call(model, tasks[name])
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters()) and model.__dict__ == held
    call(model, tasks[loaded], epochs=1)  # the one it was loaded for


def test_a_name_is_neither_model_nor_task(tasks, folder):
    with pytest.raises(ModelError, match=r"model is 'bert', a str.*load_model\(name, task\)"):
        fine_tune("bert", tasks["sst2"])
    with pytest.raises(DataError, match=r"task is 'sst2', a str; expected one from load_task"):
        probe(load_model(folder, tasks["sst2"]), "sst2")


@pytest.mark.parametrize("call", [fine_tune, probe])
def test_seeds_and_numbers_of_another_kind(call, tasks, folder):
    model = load_model(folder, tasks["sst2"])
    for seeds in (3, [], [0, 0], "01", [0.5]):
        with pytest.raises(TrainingError, match=r"seeds is .*; expected whole numbers.*range\(5\)"):
            call(model, tasks["sst2"], seeds=seeds)
    with pytest.raises(TrainingError, match=r"seed is \[0, 1\]; expected one whole number.*seeds="):
        call(model, tasks["sst2"], seed=[0, 1])
    for name, value in {"learning_rate": "1e-3", "epochs": 0, "clip": -1, "weight_decay": -0.1}.items():
        with pytest.raises(TrainingError, match=rf"{name} is {value!r}; it has to be a number"):
            call(model, tasks["sst2"], **{name: value})


def test_several_runs_are_no_adapter(tasks, folder, tmp_path):
    runs = fine_tune(load_model(folder, tasks["sst2"]), tasks["sst2"], seeds=(0, 1), max_steps=2)
    with pytest.raises(AdapterError, match=r"2 runs, and an adapter is one.*save_adapter\(runs\[-1\], folder\)"):
        save_adapter(runs, tmp_path / "a")
    assert not (tmp_path / "a").exists() and save_adapter(runs[-1], tmp_path / "a").is_dir()


def test_a_prompted_task_needs_a_model_that_writes(folder):
    task = load_task("rte", "pocket", n_train=16, prompted=True)
    classifier = load_model(folder, load_task("rte", "pocket", n_train=16))
    with pytest.raises(
        ModelError, match=r"rte is asked in words, and BertForSequenceClassification has a head for labels"
    ):
        fine_tune(classifier, task)


def test_a_mistake_in_a_call_for_one_s_own_file_is_told_before_anything_is_read(tmp_path):
    with pytest.raises(UnknownName, match=r"Unknown option 'txt'. Did you mean 'text'\?.*label.*learning_rate"):
        tune_own(tmp_path / "none.csv", txt="words")
    for method in ("lora", "full", "random_uniform"):
        with pytest.raises(AdapterError, match=rf"save= keeps an adapter.*'{method}'.*moves more"):
            tune_own(tmp_path / "none.csv", method=method, save=tmp_path / "a")


@pytest.mark.parametrize("verb, meant", [("lesson", "Did you mean 'lessons'"), ("xyzzy", "Known: course, test")])
def test_a_verb_that_is_not_there_names_those_that_are(verb, meant, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([verb])
    assert stopped.value.code == 2 and meant in capsys.readouterr().err


def test_no_verb_at_all_lists_them(capsys):
    with pytest.raises(SystemExit):
        main([])
    assert "choose a bias, tune it" in capsys.readouterr().out
