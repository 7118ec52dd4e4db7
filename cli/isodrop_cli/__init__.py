"""The command ``isodrop``: the operator's side. None of it is shipped to Lambda."""
