"""``make audit``: checks template, code and dependencies with external programs."""
