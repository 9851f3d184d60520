"""The start module of the local target: ministack, with what this project's stacks need of it mended.

`python -m local.emulator` starts it; docs/local.md says for each resource type what is real, stored or only declared.
"""
