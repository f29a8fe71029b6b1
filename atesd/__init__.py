"""ATESD: adaptive teacher exposure for on-policy self-distillation.

Shape suffixes, used on tensors at the point of use:

    B  sequences in a batch        T  completion tokens      V  vocabulary entries
    P  prompt tokens               S  reference segments     D  decisions
    W  student updates in a window

One word per idea: *exposure* (share of the reference the teacher sees, in [0, 1]), *student update*, *hold window*
(student updates that share one exposure), *decision* (the choice of one exposure), *look-ahead* (student updates a
decision is judged by), *probe* (held-out problems that measure progress), *mismatch* (teacher against student).

Importing this package imports nothing else.
"""

__version__ = "0.1.0"
