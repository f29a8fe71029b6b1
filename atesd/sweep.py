"""What the runs of a sweep have in common, whichever launcher plays them and in whichever process.

A run that fails is said on stderr and the others go on. Whether a run has succeeded is read from its folder once all
have ended, since nothing that a process keeps in memory outlives it on another machine.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from atesd.errors import UserError
from atesd.logbook import changed, read_summary


class NameFailures(Callback):
    """Lets a sweep go on after a failed run, and ends its command by naming every run that is not complete.

    Made in the process of the command and carried by the launcher to those of the runs.
    """

    def __init__(self) -> None:
        self.folder = os.getcwd()
        self.argv = list(sys.orig_argv)

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        os.chdir(self.folder)  # where paths of the command begin, also on another machine
        sys.orig_argv = self.argv  # a run says by which command it came about

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        if config.hydra.mode is not RunMode.MULTIRUN or job_return.status is not JobStatus.FAILED:
            return
        error = job_return._return_value  # what the property of that name would raise
        if not isinstance(error, UserError):
            traceback.print_exception(error)
        print(f"error: {config.output_dir}: {error}", file=sys.stderr, flush=True)
        # Hydra's sweeper would raise the first failure and lose the others.
        job_return.status, job_return.return_value = JobStatus.COMPLETED, None

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        try:
            runs = list(jobs(config))
            failed = [str(folder) for folder, settings in runs if not played(folder, settings)]
        except Exception as error:  # which Hydra would turn into a warning
            sys.exit(f"error: a folder of the sweep cannot be read: {error}")
        if failed:
            named = ", ".join(failed)
            sys.exit(f"error: {len(failed)} of {len(runs)} runs failed: {named}; the same command plays them again")


def jobs(config: DictConfig) -> Iterator[tuple[Path, str]]:
    """Yield folder and settings, as YAML, of every run of a sweep.

    Args:
        config: of the sweep, with Hydra's own node.
    """
    loader = GlobalHydra.instance().config_loader()
    # Unresolved: what they refer to differs from run to run.
    hydra: Any = OmegaConf.to_container(config.hydra, resolve=False)
    swept = [f"{key}={values}" for key, values in (hydra["sweeper"]["params"] or {}).items()]
    overrides = OverridesParser.create(loader).parse_overrides([*swept, *hydra["overrides"]["task"]])
    for batch in BasicSweeper.split_arguments(overrides, None):
        for chosen in batch:
            yield _settings(loader.load_sweep_config(config, chosen))


def _settings(job: DictConfig) -> tuple[Path, str]:
    HydraConfig.instance().set_config(job)  # the default folder is made of Hydra's own settings
    with read_write(job), open_dict(job):
        del job["hydra"]
    return Path(job.output_dir), OmegaConf.to_yaml(job, resolve=True)


def played(folder: Path, settings: str) -> bool:
    """Return whether a folder holds a complete run of these settings."""
    return bool(read_summary(folder).get("complete")) and not changed(folder, settings)
