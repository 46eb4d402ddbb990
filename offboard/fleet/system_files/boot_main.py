"""``python3 -I -S /opt/wombet/boot boot`` or ``control-failed``: needs no release to be sound."""

import sys

from onboard.releases.guardian import main

raise SystemExit(main(sys.argv[1:]))
