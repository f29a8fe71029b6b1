"""Rival methods, one import line each; importing one registers it as ``baseline=NAME``."""

from baselines import dapo as dapo
from baselines import gkd as gkd
from baselines import grpo as grpo
from baselines import minillm as minillm
from baselines import none as none
from baselines import opsd as opsd
from baselines import rft as rft
from baselines import sft as sft
