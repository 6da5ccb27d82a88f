"""What the first cell of every lesson calls: says where we are, and keeps the libraries quiet."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from dataclasses import dataclass

from .hardware import device_name, loaded_against_installed, machine, threads
from .runtime import Choice, choose_profile

# OWNER/NAME on GitHub; `python -m beft_lib badges --repo OWNER/NAME` writes this line.
REPOSITORY = ""
# What pip is given where the course is missing (Colab).
COURSE_WHEEL = f"git+https://github.com/{REPOSITORY}" if REPOSITORY else "beft-lib"

# The first cell of every lesson, the same but for the number; a test holds the notebooks to it. With --no-deps nothing
# that is there is replaced, torch and numpy least of all, but for a PEFT from before it had BEFT (in June 2026 Colab's
# was 0.19); evaluate is what Colab lacks. The quotes are for the shell, to which > would be a file.
_INSTALL = f"install -q --no-deps {COURSE_WHEEL} evaluate 'peft>=0.20'"
FIRST_CELL = f"""\
from importlib.util import find_spec  # where the course is missing (Colab), the next line fetches it, and nothing else
if not find_spec("beft_lib"): get_ipython().run_line_magic("pip", "{_INSTALL}")
import beft_lib; beft_lib.start("NN")"""


@dataclass(frozen=True)
class Start:
    """Where a lesson runs; shown by the notebook as the text below."""

    lesson: str
    choice: Choice
    machine: dict[str, object]
    device: str
    threads: int
    stale: tuple[str, ...]

    def __repr__(self) -> str:
        profile = self.choice.profile
        cores = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        versions = ", ".join(f"{name} {self.machine[name]}" for name in ("python", "torch", "transformers", "beft_lib"))
        lines = [
            f"Lesson {self.lesson}, profile {profile.name}: {self.choice.reason}",
            f"A lesson takes {profile.lesson_takes}. Here: {self.device}, {cores}",
            versions,
        ]
        if self.stale:
            lines.append(f"Restart the kernel (Kernel > Restart): {'; '.join(self.stale)}")
        return "\n".join(lines)


def first_cell(number: str) -> str:
    """The source of the first code cell of lesson ``number``, "00" to "99"."""
    return FIRST_CELL.replace("NN", number)


def start(lesson: str) -> Start:
    """Begin a lesson: quiet libraries, a sensible number of threads, and a few lines on where it runs.

    Raises UnknownName when ``BEFT_PROFILE`` or ``BEFT_DEVICE`` names nothing we know.
    """
    quieten()
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(threads())
    stale = tuple(f"{p} {there} is installed, {used} is loaded" for p, there, used in loaded_against_installed())
    return Start(lesson, choose_profile(), machine(), device_name(), torch.get_num_threads(), stale)


def quieten() -> None:
    """No warnings, load reports or progress bars of the libraries below us; a download still shows its bar.

    Set as environment variables for what is not imported yet, and by call for what is.
    """
    os.environ.update(
        TRANSFORMERS_VERBOSITY="error",
        DATASETS_VERBOSITY="error",
        HF_DATASETS_DISABLE_PROGRESS_BARS="1",
        HF_HUB_DISABLE_TELEMETRY="1",
        TOKENIZERS_PARALLELISM="false",  # its warning about forks would be the first thing a learner sees
    )
    if "transformers" in sys.modules:
        import transformers

        transformers.utils.logging.set_verbosity_error()
    if "datasets" in sys.modules:
        import datasets

        datasets.utils.logging.set_verbosity_error()
        datasets.disable_progress_bars()
    for library in ("torch", "transformers", "datasets", "evaluate", "huggingface_hub", "accelerate", "peft"):
        warnings.filterwarnings("ignore", module=rf"{library}(\.|$)")
    for library in ("huggingface_hub", "accelerate", "peft"):
        logging.getLogger(library).setLevel(logging.ERROR)
