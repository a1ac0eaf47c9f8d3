"""How the study's arms are called and drawn: as in every other report, and public weights beside them."""

from core.evaluation.arms import arm_label
from core.evaluation.drawing import Look, look_of

PUBLIC = "public"
"""Name of the arm of any weights file; several have a name of their own after a colon."""

_LABELS = {"local": "one hospital, median", PUBLIC: "public weights"}
_TWINS = {"local": "local_mean"}
_PUBLIC_MARKERS = ("s", "P", "*", "<", ">")


def arm_name(arm: str) -> str:
    """A few words for a table row or a legend."""
    if arm.startswith(f"{PUBLIC}:"):
        return f"{arm.removeprefix(f'{PUBLIC}:')} (public)"
    return _LABELS.get(arm) or arm_label(arm)


def arm_look(arm: str) -> Look:
    """How an arm is drawn: the looks of the other reports; public weights in red, their markers by their names."""
    if arm.split(":")[0] == PUBLIC:
        number = sum(arm.encode()) % len(_PUBLIC_MARKERS) if ":" in arm else 0
        return Look("#d55e00", "--", _PUBLIC_MARKERS[number])
    return look_of(_TWINS.get(arm, arm))
