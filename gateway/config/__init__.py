"""Configuration: the environment, ``models.yaml`` and ``policy.yaml``, read, checked, compiled and watched."""
