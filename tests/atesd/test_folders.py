"""Folders to write to: whose they are, and what the system says."""

from __future__ import annotations

from pathlib import Path

import pytest

from atesd.errors import UserError
from atesd.folders import claim, held


def test_only_an_empty_folder_or_ones_own_is_taken(tmp_path: Path) -> None:
    for fresh in (tmp_path / "a/b", tmp_path / "a/b"):
        claim(fresh, "own.json")
        assert not held(fresh)
    (tmp_path / "a/b/summary.json").touch()
    with pytest.raises(UserError, match=r"a/b exists and holds no own\.json or blocks; choose another or remove it"):
        claim(tmp_path / "a/b", "own.json", "blocks")
    (tmp_path / "a/b/blocks").mkdir()
    claim(tmp_path / "a/b", "own.json", "blocks")


def test_what_the_system_refuses_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"output_dir=.*file/inner cannot be made \(Not a directory\); name another"):
        claim(tmp_path / "file/inner", "own.json")
    with pytest.raises(UserError, match=r"output_dir=.*x… cannot be used \(File name too long\); name another"):
        held(tmp_path / ("x" * 300))
