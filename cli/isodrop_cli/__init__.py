"""The command ``isodrop``: the operator's side. Nothing of it is shipped to Lambda."""
