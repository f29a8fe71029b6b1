"""Write a model as an ordinary Hugging Face folder: ``python -m atesd.convert path=FILE.gguf output_dir=FOLDER``.

A GGUF file also loads as it is, but its tokenizer takes some ten seconds to build each time. Its weights stay as coarse
as the file's quantisation left them; the folder holds them in fp32.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from atesd.arguments import dotlist, run_main, settings
from atesd.logbook import refuse_existing
from atesd.models import HfConfig


@dataclass
class ConvertConfig:
    """Settings of a conversion.

    Attributes:
        path: what ``model.path`` takes: a GGUF file, a folder, or a hub name.
        revision: commit of a model on the hub.
        output_dir: where the folder is written; an existing one is refused.
    """

    path: str = "???"
    output_dir: str = "???"
    revision: str = ""


def convert(given: ConvertConfig) -> None:
    """Load a model and save it as a folder."""
    from atesd.training import language_model

    folder = Path(given.output_dir)
    refuse_existing(folder)
    language_model.load(HfConfig(path=given.path, revision=given.revision, style="plain")).save(folder)
    print(f"written to {folder}: model=hf model.path={folder}")


def main() -> None:
    """Read the settings from the command line and convert."""
    convert(settings(ConvertConfig, dotlist(sys.argv[1:])))


if __name__ == "__main__":
    run_main(main)
