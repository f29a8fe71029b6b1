"""Folders that results are written to: none is taken from somebody else, and one that cannot be is said so at once."""

from __future__ import annotations

from pathlib import Path

from atesd.errors import UserError


def claim(folder: Path, *own: str) -> None:
    """Make a folder to write to; one that holds something must hold one of our ``own`` files or folders.

    Raises:
        UserError: it holds something else, or cannot be made.
    """
    if held(folder) and not any((folder / name).exists() for name in own):
        raise UserError(
            f"output_dir={folder} exists and holds no {' or '.join(own) or 'room'}; choose another or remove it"
        )
    make(folder)


def make(folder: Path) -> None:
    """Make a folder, which may be there.

    Raises:
        UserError: the system refuses.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"output_dir={folder} cannot be made ({error.strerror}); name another output_dir=…") from error


def held(folder: Path) -> bool:
    """Return whether something is there that is not an empty folder.

    Raises:
        UserError: the system cannot even look.
    """
    try:
        return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    except OSError as error:
        short = str(folder) if len(str(folder)) < 80 else f"{str(folder)[:80]}…"
        raise UserError(f"output_dir={short} cannot be used ({error.strerror}); name another output_dir=…") from error
