"""Command lines of the smaller entry points: help, and what is said of a word that fits nothing."""

from __future__ import annotations

import pytest

from atesd.arguments import INTERRUPTED, dotlist, run_main, settings
from atesd.convert import ConvertConfig
from atesd.errors import UserError


def test_help_says_what_each_setting_means(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        settings(ConvertConfig, dotlist(["--help"]))
    assert ended.value.code == 0
    assert "revision: commit of a model on the hub." in capsys.readouterr().out


def test_a_word_that_is_no_setting_is_answered_with_those_there_are() -> None:
    with pytest.raises(UserError, match=r"^pth is no setting; settings: path, output_dir, revision; --help"):
        settings(ConvertConfig, dotlist(["pth=a"]))


def test_a_value_that_is_no_yaml_is_named() -> None:
    with pytest.raises(UserError, match=r"^path=\[a is not read .*; quote a name that holds brackets or commas"):
        dotlist(["output_dir=b", "path=[a"])


def test_ctrl_c_ends_an_entry_point_with_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        run_main(interrupted)
    assert (ended.value.code, capsys.readouterr().err) == (INTERRUPTED, "stopped\n")
