"""Rival methods, one import line each; importing one registers it as ``baseline=NAME``."""

from baselines import grpo as grpo
from baselines import none as none
from baselines import opsd as opsd
from baselines import sft as sft
