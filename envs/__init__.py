"""Environments whose action is the teacher's exposure. Importing this package registers them with Gymnasium."""

import gymnasium

gymnasium.register("ATESD/Exposure-v0", entry_point="envs.exposure_env:ExposureEnv")
gymnasium.register(
    "ATESD/Surrogate-v0",
    entry_point="envs.surrogate_env:SurrogateEnv",
    vector_entry_point="envs.surrogate_env:SurrogateVectorEnv",
)
