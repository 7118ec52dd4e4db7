"""``python -m isodrop_cli``: the command, for when its script is not installed."""

import sys

from isodrop_cli.main import main

sys.exit(main())
