"""``badges``: says once where the course lives on GitHub, and stamps "Open in Colab" on every lesson."""

from __future__ import annotations

import argparse
import re
from importlib import reload
from pathlib import Path

from . import authoring, lesson
from .errors import BeftError
from .files import write_text_whole
from .places import checkout

# GitHub's own rules: 39 letters, digits and single hyphens for an owner, 100 of a few more signs for a repository.
NAME = re.compile(r"[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*/[A-Za-z0-9._-]{1,100}")
LINE = re.compile(r'^REPOSITORY = ".*"$', re.MULTILINE)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repo", required=True, metavar="OWNER/NAME", help='on GitHub; "" takes the badges off again')


def run(args: argparse.Namespace) -> int:
    if checkout() is None:
        raise BeftError("Badges are stamped on the repository, not on an installed package: clone it first.")
    record(args.repo, Path(lesson.__file__))
    reload(lesson)
    for source in authoring.sources().values():
        for version in authoring.VERSIONS:
            print(authoring.author(source, version, execute=False), flush=True)
    return 0


def record(repo: str, file: Path) -> None:
    """Write ``repo`` into the line of ``file`` that names it. BeftError for what is no OWNER/NAME of GitHub."""
    owner, _, name = repo.partition("/")
    if repo and (not NAME.fullmatch(repo) or name in (".", "..") or len(owner) > 39):
        found = re.search(r"github\.com[/:]([^/\s]+/[^/\s]+?)(?:\.git)?/?$", repo)
        hint = f" Did you mean {found[1]}?" if found else ""
        raise BeftError(f"{repo!r} is no repository's name.{hint} Give OWNER/NAME, as in ada/beft-course.")
    text, count = LINE.subn(f'REPOSITORY = "{repo}"', file.read_text(encoding="utf-8"))
    if count != 1:
        raise BeftError(f'{file} should have one line REPOSITORY = "…", and has {count}.')
    write_text_whole(file, text)
