"""How the command speaks: on a terminal, in a pipe, as JSON."""
