"""Tasks shared among the actors of a Ray cluster: the one that RAY_ADDRESS names, else one of this machine's own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from ..errors import BadInput, MissingModel
from .workers import Died, Work, share


class Holder:
    """What runs in an actor: it makes its Work once. folder: where relative paths begin."""

    def __init__(self, setup: Callable[[], Work], folder: str):
        os.chdir(folder)
        self.work = setup()

    def do(self, task: Any) -> Any:
        return self.work(task)


class Actor:
    """A worker of the cluster. holder: `Holder` as a class of Ray's."""

    def __init__(self, ray: Any, holder: Any, setup: Callable[[], Work]):
        self.ray, self.actor = ray, holder.remote(setup, os.getcwd())
        self.task: int | None = None
        self.answered: Any = None

    def give(self, number: int, task: Any) -> None:
        """Begin a task."""
        self.task, self.answered = number, self.actor.do.remote(task)

    def answer(self) -> Any:
        """The answer to its task, or Died."""
        try:
            return self.ray.get(self.answered)
        except self.ray.exceptions.RayActorError:
            return Died(None)

    def stop(self) -> None:
        """End the process."""
        with suppress(self.ray.exceptions.RayError):
            self.ray.kill(self.actor)


def ray_answers(
    tasks: Sequence[Any], setup: Callable[[], Work], workers: int | None, gpus: float = 0.0
) -> Iterator[tuple[int, Any]]:
    """`share` among actors of one CPU each. workers: how many, by default as many as the cluster has CPUs, or GPUs when
    each takes some. gpus: what each takes of a GPU. MissingModel without the package, BadInput without a GPU."""
    ray = package()
    own = not ray.is_initialized()
    if own:
        start(ray)
    try:
        there = ray.cluster_resources()
        if gpus and not there.get("GPU"):
            raise BadInput("the Ray cluster has no GPU; leave --device cuda out, or start a node with one")
        if workers is None:
            workers = int(there["GPU"] / gpus) if gpus else int(there.get("CPU", 1))
        holder = ray.remote(num_cpus=1, num_gpus=gpus)(Holder)

        def ready(busy: Sequence[Actor]) -> list[Actor]:
            done, _ = ray.wait([one.answered for one in busy])
            return [one for one in busy if one.answered in done]

        yield from share(tasks, partial(Actor, ray, holder, setup), ready, workers)
    finally:
        if own:
            ray.shutdown()


def package() -> Any:
    """Ray, or MissingModel."""
    try:
        import ray
    except ImportError:
        raise MissingModel(
            "Ray is not installed; pip install 'ganime_age[ray]', or leave out --engine ray"
        ) from None
    return ray


def start(ray: Any) -> None:
    """Join the cluster of RAY_ADDRESS, or begin one on this machine; BadInput when neither is possible."""
    # Ray warns where it is not said that an actor without a share of a GPU may still see those that there are.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        ray.init(log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError) as error:
        named = os.environ.get("RAY_ADDRESS")
        where = (
            f"the Ray cluster at {named} cannot be reached"
            if named
            else "no Ray cluster could be started here"
        )
        raise BadInput(
            f"{where} ({str(error).splitlines()[0]}); check RAY_ADDRESS, or leave out --engine ray"
        ) from None
