"""Put the lessons and the data into the wheel; everything else is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithCourse(build_py):
    """A wheel carries ``notebooks/`` as ``beft_lib/_notebooks`` and ``data/`` as ``beft_lib/_data``.

    An editable install does not: ``beft_lib.places`` then finds the checkout's own folders.
    """

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for folder in ("notebooks", "data"):
            target = Path(self.build_lib) / "beft_lib" / f"_{folder}"
            shutil.rmtree(target, ignore_errors=True)  # a build folder may hold what has since been deleted
            if Path(folder).is_dir():
                unwanted = shutil.ignore_patterns(".*", "__pycache__", "*.part")
                shutil.copytree(folder, target, ignore=unwanted)


setup(cmdclass={"build_py": BuildWithCourse})
