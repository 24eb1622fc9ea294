"""`python -m observability.rules` is the container command `rules`."""

import sys

from observability.rules.command import main

sys.exit(main(sys.argv[1:]))
