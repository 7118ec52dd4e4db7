"""``make audit``: what others' programs find in the template, the code and the dependencies."""
