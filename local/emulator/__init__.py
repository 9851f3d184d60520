"""The start module of the local target: ministack, with what this project's stacks need of it mended.

`python -m local.emulator` starts it; docs/local.md says for each resource type what is real, stored or only declared.

The comment of each mend says what ministack 1.5.33 does wrong. How that is seen, local/tests/test_needs.py shows: one test for each,
which fails when a new version does it right.
"""
