"""Rival methods, one import line each; importing one registers it as ``baseline=NAME``."""

from baselines import crisp as crisp
from baselines import dapo as dapo
from baselines import gkd as gkd
from baselines import grpo as grpo
from baselines import instruction_only as instruction_only
from baselines import minillm as minillm
from baselines import none as none
from baselines import opsd as opsd
from baselines import opsd_topk as opsd_topk
from baselines import rft as rft
from baselines import sdft as sdft
from baselines import sdpo as sdpo
from baselines import sft as sft
from baselines import wrong_reference as wrong_reference
