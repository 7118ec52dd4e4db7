"""Tests of the guarantees: seeded schedules of uploads, faults and actions, checked from outside.

One answer for each upload and one build for each import, whatever fails.
``python -m tests.resilience.soak --seed N`` replays a schedule.
"""
