"""From a policy to an announced, signed bundle."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from offboard.export import Exporter, Origin
from offboard.publish import Repository
from offboard.run_dir import RunDir, commit


class Publisher:
    """Exports with parity check, signs, announces and logs.

    Args:
        exporter: for this robot, task and architecture.
        seen: (N, O) observations for golden vectors and the parity check.
        repository: the signed repository robots update from.
        announce: called with the version once it can be fetched.
        run: gets one ``published`` event per bundle.
    """

    def __init__(
        self,
        exporter: Exporter,
        seen: Tensor,
        repository: Repository,
        announce: Callable[[int], None],
        run: RunDir,
    ) -> None:
        self._exporter = exporter
        self._seen = seen
        self._repository = repository
        self._announce = announce
        self._run = run
        self._commit = commit()

    def publish(self, policy: Tensor, exploration: float, evaluation: dict[str, float]) -> int:
        """The version under which ``policy`` (P,) was published.

        Raises:
            BundleError: the policy is not finite or its export differs; nothing was published.
            StoreError: the repository cannot be written; the previous bundle stands.
        """
        parent = self._repository.latest_version
        origin = Origin(
            version=parent + 1,
            parent_version=parent,
            run=self._run.path.name,
            commit=self._commit,
            exploration_scale=exploration,
            evaluation=evaluation,
        )
        bundle = self._exporter.bundle(policy.cpu(), self._seen, origin)
        version = self._repository.publish(bundle.manifest, bundle.graph, bundle.weights)
        self._announce(version)
        self._run.log(event="published", version=version, exploration=exploration, **evaluation)
        return version
