"""The error tree. A boundary raises only its own family, ``from`` the cause.

::

    WombetError
    ├── WireError     a message or frame that cannot be trusted (size, version, type, range)
    ├── ConfigError   a robot TOML, MJCF or command line that makes no sense
    ├── BundleError   a policy bundle that must not run (signature, digest, graph, weights)
    ├── BusError      the motor bus did not answer, or answered nonsense
    └── StoreError    a spool, episode store or run directory that cannot be read or written
"""


class WombetError(Exception):
    """Root of every error this project raises on purpose."""


class WireError(WombetError):
    """Bytes from a peer were refused."""


class ConfigError(WombetError):
    """Configuration was refused; the text names the file, the key and the remedy."""


class BundleError(WombetError):
    """A policy bundle was refused; the running policy is untouched."""


class BusError(WombetError):
    """The motor bus failed."""


class LineLostError(BusError):
    """The device of the motor bus is gone: an adapter was unplugged. It has to be opened anew."""


class StoreError(WombetError):
    """Durable storage failed."""
