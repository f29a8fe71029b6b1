"""Train a student under an exposure controller or a rival method: ``python -m atesd.run controller=beta_reinforce``.

The only module that knows all the parts: it composes the settings, builds the parts and plays the run. Help:
``--help``; the composed settings: ``--cfg job``; a sweep: ``-m seed=0,1,2``.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from contextlib import closing
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

import atesd.models
import atesd.tasks
import atesd.trackers
import atesd.training.adapter
import atesd.training.engine
import atesd.training.rollout
import baselines
import controllers
from atesd.arguments import exit_interrupted, flat
from atesd.command import not_given
from atesd.config import RunConfig
from atesd.errors import UserError
from atesd.folders import held
from atesd.interfaces import Controller, Setting
from atesd.logbook import Logbook, changed, read_summary, refuse_existing
from atesd.observation import NAMES
from atesd.progress import Display
from atesd.segmentation import describe
from atesd.session import Session, Stopped
from atesd.stopwatch import Stopwatch
from atesd.trackers import Tracker
from controllers.fixed import Fixed

STOPPED_EXIT_CODE = 143
LAUNCHERS = "launch=ray needs pip install -e '.[ray]', and launch=slurm '.[slurm]'"


def method(run: RunConfig, setting: Setting) -> tuple[str, Any, list[Controller], int]:
    """Return the method's name, its signal, what chooses each group's exposure, and its number of student updates."""
    if run.baseline is None:
        groups = run.env.groups
        own = [run.controller.build(setting.of_group(group, groups)) for group in range(groups)]
        return run.controller.name, run.signal.build(run.exposure.cut), own, run.train.updates
    held = Fixed(setting, run.baseline.exposure())
    return run.baseline.name, run.baseline.signal(run), [held], run.baseline.updates(run)


def play(run: RunConfig, settings: str) -> dict[str, Any]:
    """Play or resume one run and return its summary.

    Args:
        run: the checked settings.
        settings: the same as YAML, for ``config.yaml``.
    """
    folder = Path(run.output_dir)
    if run.resume:
        refuse_changed(folder, settings)
        if (finished := read_summary(folder)).get("complete"):
            print(f"{folder} is complete: nothing to do")
            return finished
    else:
        refuse_existing(folder)
    name, signal, chosen_by, updates = method(run, Setting(run.seed, run.windows, len(NAMES), run.env.hold_window))
    stopwatch = Stopwatch()
    with stopwatch.phase("load"):
        from envs.exposure_env import ExposureEnv

        task = run.data.build(run.seed)
        trainer = run.model.trainer(run, signal, task, stopwatch)
        rule = run.reward.rule(run.env.hold_window)
        limit = run.train.tokens_generated
        env = ExposureEnv(trainer, rule, updates, run.env.hold_window, run.env.groups, limit)
    logbook = Logbook(folder, trainer.leads)
    tracker = run.tracker.build(folder, flat(settings)) if run.tracker and trainer.leads else Tracker()
    with Display(name, updates, trainer.leads) as display, closing(tracker):
        if described := describe(task, run.exposure.cut):
            display.say(described)
        session = Session(run, env, chosen_by, logbook, display, stopwatch, tracker)
        with session.stopping_on_signals():
            if run.resume:
                session.resume()
            else:
                logbook.open_new(settings)
                session.begin()
            session.play()
        summary = session.finish({"method": name, "seed": run.seed})
        display.say(f"{folder}: accuracy {summary['accuracy/before']:.3f} -> {summary['accuracy/after']:.3f}")
    return summary


def refuse_changed(folder: Path, settings: str) -> None:
    """Raise ``UserError`` unless the folder holds a run of the same settings."""
    if not (folder / "config.yaml").is_file():
        raise UserError(f"resume=true, but output_dir={folder} holds no run; leave resume out to start one")
    if found := changed(folder, settings):
        differences = ", ".join(f"{key} was {old} and is {new}" for key, (old, new) in found.items())
        raise UserError(
            f"output_dir={folder} holds a run of other settings, which cannot be gone on with: {differences}; use the "
            "old ones, or another output_dir=…"
        )


def refuse_two_methods(settings: DictConfig) -> None:
    """Raise ``UserError`` if a command names a baseline and a controller."""
    overrides = HydraConfig.get().overrides.task
    named = [override for override in overrides if override.lstrip("+~").startswith(("controller=", "controller."))]
    if settings.baseline is not None and named:
        raise UserError(
            f"baseline={settings.baseline.name} and {named[0]} are two methods; a baseline brings its own exposure, so "
            "name one of them"
        )


def checked(settings: DictConfig) -> RunConfig:
    """Return the settings as dataclasses, which check themselves.

    Raises:
        UserError: a value is out of its range, or one without default is not given.
    """
    try:
        run = OmegaConf.to_object(settings)
    except MissingMandatoryValue as missing:
        raise UserError(not_given(missing)) from missing
    assert isinstance(run, RunConfig)
    return run


@hydra.main(config_path="pkg://configs", config_name="config", version_base="1.3")
def _run(settings: DictConfig) -> None:
    quiet()
    try:
        refuse_two_methods(settings)
        run = checked(settings)
        if sweeping():  # one that is started again goes on where it stopped
            run.resume = held(Path(run.output_dir))
        play(run, OmegaConf.to_yaml(settings, resolve=True))
    except UserError as error:
        if sweeping():
            raise  # the other runs go on (atesd.sweep)
        sys.exit(f"error: {error}")
    except Stopped:
        how = "the same command" if sweeping() else "the same command and resume=true"
        print(f"stopped; go on with {how}", file=sys.stderr)
        sys.exit(STOPPED_EXIT_CODE)


def sweeping() -> bool:
    """Return whether this run is one of several of a command."""
    return HydraConfig.get().mode is RunMode.MULTIRUN


def quiet() -> None:
    """Silence what DeepSpeed says about itself; its errors still show."""
    logging.getLogger("DeepSpeed").addFilter(lambda record: record.levelno >= logging.ERROR)
    warnings.filterwarnings("ignore", module="deepspeed")


def main() -> None:
    """Run the command line; call this from your own script after importing your own controllers."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra hands its errors on instead of printing half of them
    try:
        _run()
    except (HydraException, OmegaConfBaseException) as error:
        words = " ".join(f"{error} {error.__cause__ or ''}".split())
        launcher = "hydra/launcher/" in words
        sys.exit(f"error: {words}; {LAUNCHERS if launcher else '--help lists every setting'}")
    except KeyboardInterrupt:  # before there is a run to stop after its hold window
        exit_interrupted()


REGISTERED = (
    controllers,
    baselines,
    atesd.models,
    atesd.tasks,
    atesd.trackers,
    atesd.training.adapter,
    atesd.training.engine,
    atesd.training.rollout,
)

if __name__ == "__main__":
    main()
