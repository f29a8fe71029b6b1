"""Everything that touches an engine: the student on DeepSpeed, its rollouts, its teacher, its checkpoints."""
