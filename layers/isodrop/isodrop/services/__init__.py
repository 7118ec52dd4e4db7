"""The use cases: processing, building, distributing, publishing and sweeping."""
