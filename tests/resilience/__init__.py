"""The promise under fire: seeded schedules of uploads, faults and deeds, and who judges the end.

One drop, one answer, one build for one import, whatever breaks.
``python -m tests.resilience.soak --seed N`` replays a schedule.
"""
