"""Problems with worked references. One import line per task; importing one registers it as ``data=NAME``."""

from atesd.tasks import arithmetic as arithmetic
from atesd.tasks import jsonl as jsonl
