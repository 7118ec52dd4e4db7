"""Generates and checks the contract: schemas, samples and pages.

``make contract`` generates all of it; ``make lint`` checks, without a stack, that it is up to date.
"""
