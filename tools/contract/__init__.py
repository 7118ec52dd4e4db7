"""Tool: the contract's schemas, samples and pages, made of the models, and held to them.

``make contract`` makes all of it; ``make lint`` sees, without a stack, that nothing drifted.
"""
