"""The arms of all training seeds as one: what stands for an arm in tables, and the losses that comparisons pair.

An arm's number is the mean over the seeds; the hospital that did best and the pooled reference are chosen once for all
seeds, on validation patients.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from core.evaluation.arms import LOCAL
from core.evaluation.held_out import PatientLosses
from core.evaluation.intervals import organ_balanced
from core.evaluation.over_seeds import mean_score
from simulations.results import BySeed, Scored, Trained

POOLED = ("centralized_wide", "centralized_long")
Found = tuple[Trained, Scored]


@dataclass(frozen=True)
class Merged:
    """A run's results, by seed."""

    results: BySeed
    mix: Mapping[str, float]
    like: "Merged | None" = None
    """Whose choice of reference and best hospital holds; None chooses here."""

    @cached_property
    def names(self) -> list[str]:
        """Arms that were trained with every seed, in the order of training."""
        return list(next(iter(self.results.values())))

    @cached_property
    def hospitals(self) -> list[str]:
        """The arms of hospitals that trained alone."""
        return [name for name in self.names if name.startswith(LOCAL)]

    @cached_property
    def reference(self) -> str | None:
        """The pooled arm with the lower loss on validation patients, mean over the seeds."""
        return self.like.reference if self.like else self._chosen([name for name in POOLED if name in self.names])

    @cached_property
    def best(self) -> str | None:
        """The hospital alone that did best on validation patients, mean over the seeds."""
        return self.like.best if self.like else self._chosen(self.hospitals)

    def of(self, arm: str) -> list[Found]:
        """What was found of an arm, a seed each; `centralized` and `local_best` name what was chosen."""
        if arm in ("centralized", "local_best"):
            return self.of((self.reference if arm == "centralized" else self.best) or "")
        return [found[arm] for found in self.results.values() if arm in found]

    def losses(self, arm: str) -> list[PatientLosses]:
        """Held-out losses of an arm, a seed each."""
        return [scored.test for _, scored in self.of(arm)]

    def local_losses(self) -> list[list[PatientLosses]]:
        """Held-out losses of every hospital alone, by seed."""
        return [
            [found[name][1].test for name in self.hospitals] for found in self.results.values() if self._whole(found)
        ]

    def arms(self) -> dict[str, dict[str, Any]]:
        """`metrics.json`'s `arms`."""
        arms = {name: arm_document(self.of(name), self.mix) for name in self.names}
        return {**arms, **self._derived(arms)}

    def by_seed(self) -> dict[str, dict[str, Any]]:
        """`metrics.json`'s `by_seed`: held-out losses and scores of each arm with each seed."""
        return {
            str(seed): {"arms": {name: _short(arm) for name, arm in one.arms().items()}} for seed, one in self.each()
        }

    def each(self) -> list[tuple[int, "Merged"]]:
        """Each training seed by itself, with this choice of reference and best hospital."""
        return [
            (seed, Merged({seed: found}, self.mix, like=self))
            for seed, found in self.results.items()
            if self._whole(found)
        ]

    def _derived(self, arms: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        if self.best:
            role = f"chosen on validation patients: {self.best.removeprefix(LOCAL)}"
            found["local_best"] = {**arms[self.best], "role": role}
            found["local_mean"] = _mean_arm([arms[name] for name in self.hospitals])
        if self.reference:
            found["centralized"] = {**arms[self.reference], "role": f"the stronger pooled arm: {self.reference}"}
        return found

    def _chosen(self, names: Sequence[str]) -> str | None:
        def loss(name: str) -> float:
            return float(np.mean([organ_balanced(scored.validation, self.mix) for _, scored in self.of(name)]))

        return min(names, key=loss) if names else None

    def _whole(self, found: Mapping[str, Found]) -> bool:
        """Whether a seed trained every arm; further random initializations have that arm alone."""
        return all(name in found for name in self.names)


def arm_document(found: Sequence[Found], mix: Mapping[str, float]) -> dict[str, Any]:
    """One arm of `metrics.json`: means over the seeds."""
    scored = [scores for _, scores in found]
    organs = sorted({organ for organ, _ in scored[0].test.values()})
    by_organ = {
        organ: float(np.mean([loss for one in scored for at, loss in one.test.values() if at == organ]))
        for organ in organs
    }
    overall = float(np.mean([organ_balanced(one.test, mix) for one in scored]))
    tasks = {
        task: {probe: mean_score([one.tasks[task][probe] for one in scored]) for probe in probes}
        for task, probes in scored[0].tasks.items()
    }
    return {
        "held_out_loss": {"overall": overall, **by_organ},
        "tasks": tasks,
        "images": int(np.mean([trained.images for trained, _ in found])),
        "seconds": float(np.mean([trained.seconds for trained, _ in found])),
    }


def _short(document: Mapping[str, Any]) -> dict[str, Any]:
    """What one seed adds to the mean over seeds."""
    tasks = {
        task: {probe: {"mean": score["mean"]} for probe, score in probes.items()}
        for task, probes in document["tasks"].items()
    }
    return {"held_out_loss": document["held_out_loss"], "tasks": tasks}


def _mean_arm(arms: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over the hospitals; a probe's mean has no interval, since it is no single model's score."""
    keys = arms[0]["held_out_loss"]
    tasks: dict[str, dict[str, dict[str, Any]]] = {}
    for task, probes in arms[0]["tasks"].items():
        tasks[task] = {}
        for probe in probes:
            means = [arm["tasks"][task][probe]["mean"] for arm in arms]
            known = all(mean is not None for mean in means)
            value = float(np.mean(means)) if known else None
            tasks[task][probe] = {"mean": value, "low": None, "high": None, "reason": "mean over the hospitals' models"}
    return {
        "held_out_loss": {key: float(np.mean([arm["held_out_loss"][key] for arm in arms])) for key in keys},
        "tasks": tasks,
        "images": int(np.mean([arm["images"] for arm in arms])),
        "seconds": float(np.mean([arm["seconds"] for arm in arms])),
        "role": f"mean over {len(arms)} hospitals, each trained alone",
    }
