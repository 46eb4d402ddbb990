"""Are our top-level names really ours? PyPI has a foreign package called ``protocol``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import packages_distributions

from protocol.errors import ConfigError

DISTRIBUTION = "wombet"
NAMES = ("protocol", "onboard", "offboard", "sim_harness")


def check_install(installed: Mapping[str, Sequence[str]] | None = None) -> None:
    """Refuse to run beside a distribution that installs a package of the same name.

    Args:
        installed: distributions by top-level name; asked from the interpreter if omitted. A name
            without any is a source tree on the path, which is fine.

    Raises:
        ConfigError: naming the intruder.
    """
    owners = packages_distributions() if installed is None else installed
    for name in NAMES:
        foreign = sorted(set(owners.get(name, ())) - {DISTRIBUTION})
        if foreign:
            raise ConfigError(
                f"package {name!r} is also installed by {', '.join(foreign)}; uninstall it"
            )
