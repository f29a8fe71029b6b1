"""Problems with worked references. One import line per task; importing one registers it as ``data=NAME``."""

from atesd.tasks import arithmetic as arithmetic
from atesd.tasks import benchmarks as benchmarks
from atesd.tasks import chain_sum as chain_sum
from atesd.tasks import gsm8k as gsm8k
from atesd.tasks import gsm_symbolic as gsm_symbolic
from atesd.tasks import jsonl as jsonl
from atesd.tasks import math as math
from atesd.tasks import openthoughts_math as openthoughts_math
