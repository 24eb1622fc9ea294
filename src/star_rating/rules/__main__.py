"""`python -m star_rating.rules` is the container command `rules`."""

import sys

from star_rating.rules.command import main

sys.exit(main(sys.argv[1:]))
