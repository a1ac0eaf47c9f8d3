"""Five scanners, one to a site, that differ as real ones do, and which patients come to which of them.

Frequencies, depths and dynamic ranges lie in the ranges that manufacturers and guidelines give for the examination
(linear 6 to 14 MHz for breast, thyroid and vessels; curved 2.5 to 5 MHz for the abdomen; phased 2 to 3.5 MHz for the
heart). The sites' case mixes are unlike on purpose: a general hospital sees everything, a breast clinic no hearts.

Sources: AIUM practice parameters for breast, thyroid, abdominal and extracranial cerebrovascular examinations;
T. L. Szabo, Diagnostic Ultrasound Imaging: Inside Out, 2nd ed., Academic Press, 2014, chapter 10.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from core.data.phantom_geometry import Aperture
from core.errors import ConfigError
from core.seeding import derive

ORGANS = ("breast", "thyroid", "liver", "kidney", "heart", "carotid")
LESION_ORGANS = ("breast", "thyroid", "liver")
NOMINAL_DEPTH_MM: Mapping[str, float] = {
    "breast": 40, "thyroid": 38, "carotid": 36, "liver": 140, "kidney": 125, "heart": 145,
}  # fmt: skip
NOMINAL_MHZ: Mapping[str, float] = {
    "breast": 10,
    "thyroid": 10,
    "carotid": 9,
    "liver": 3.5,
    "kidney": 3.5,
    "heart": 2.8,
}
_GOLDEN = 0.6180339887498949
_ROOT_TWO = 0.4142135623730951


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceProfile:
    """One scanner with its three probes and the settings its site keeps."""

    name: str
    site: str
    frequency_factor: float
    """Centre frequency over the examination's nominal one, 0.5 to 1.5."""
    depth_factor: float
    """Depth setting over the examination's nominal one, 0.5 to 1.5."""
    dynamic_range_db: float
    """Displayed range, 30 to 90 dB."""
    gain_db: float
    gamma: float
    """Exponent of the display curve, 0.5 to 2."""
    time_gain_alpha: float
    """Attenuation that the time-gain compensation assumes, dB/cm/MHz, 0.3 to 0.9."""
    noise_db: float
    """Electronic noise before gain, below an echo of amplitude 1."""
    looks: int
    """Compounded looks, 1 to 8: more smooths speckle."""
    f_number: float
    focus: float
    """Focal depth over displayed depth, 0 to 1."""
    linear_width_mm: float
    trapezoid_degrees: float
    """Opening of the linear probe's field, 0 for a rectangle."""
    curved_radius_mm: float
    curved_degrees: float
    phased_degrees: float
    case_mix: Mapping[str, float]
    """Organ -> how much this site draws of its patients, relative to the other sites."""

    def frequency_mhz(self, organ: str) -> float:
        """Centre frequency for the examination."""
        return self.frequency_factor * NOMINAL_MHZ[organ]

    def aperture(self, organ: str) -> Aperture:
        """The field of view for the examination: phased for the heart, curved for the abdomen, else linear."""
        depth = self.depth_factor * NOMINAL_DEPTH_MM[organ]
        if organ == "heart":
            return Aperture(depth_mm=depth, radius_mm=4, sector_degrees=self.phased_degrees)
        if organ in ("liver", "kidney"):
            return Aperture(depth_mm=depth, radius_mm=self.curved_radius_mm, sector_degrees=self.curved_degrees)
        if self.trapezoid_degrees > 0:
            radius = self.linear_width_mm / (self.trapezoid_degrees * math.pi / 180)
            return Aperture(depth_mm=depth, radius_mm=radius, sector_degrees=self.trapezoid_degrees)
        return Aperture(depth_mm=depth, width_mm=self.linear_width_mm)


def _everything(share: float) -> dict[str, float]:
    return dict.fromkeys(ORGANS, share)


DEVICES: tuple[DeviceProfile, ...] = (
    DeviceProfile(
        name="A", site="general_hospital", frequency_factor=1.0, depth_factor=1.0, dynamic_range_db=54, gain_db=0,
        gamma=1.1, time_gain_alpha=0.53, noise_db=-76, looks=2, f_number=2.2, focus=0.5, linear_width_mm=40,
        trapezoid_degrees=0, curved_radius_mm=50, curved_degrees=64, phased_degrees=80, case_mix=_everything(1.0),
    ),
    DeviceProfile(
        name="B", site="breast_clinic", frequency_factor=1.25, depth_factor=0.9, dynamic_range_db=58, gain_db=3,
        gamma=1.1, time_gain_alpha=0.51, noise_db=-84, looks=3, f_number=1.8, focus=0.4, linear_width_mm=46,
        trapezoid_degrees=0, curved_radius_mm=55, curved_degrees=58, phased_degrees=75,
        case_mix={"breast": 2.0, "thyroid": 1.0},
    ),
    DeviceProfile(
        name="C", site="heart_centre", frequency_factor=0.9, depth_factor=1.1, dynamic_range_db=46, gain_db=-2,
        gamma=1.3, time_gain_alpha=0.48, noise_db=-70, looks=1, f_number=2.6, focus=0.6, linear_width_mm=36,
        trapezoid_degrees=0, curved_radius_mm=40, curved_degrees=72, phased_degrees=90,
        case_mix={"heart": 2.0, "carotid": 2.0},
    ),
    DeviceProfile(
        name="D", site="abdominal_unit", frequency_factor=1.15, depth_factor=1.05, dynamic_range_db=66, gain_db=5,
        gamma=1.2, time_gain_alpha=0.55, noise_db=-80, looks=2, f_number=2.0, focus=0.65, linear_width_mm=38,
        trapezoid_degrees=22, curved_radius_mm=60, curved_degrees=60, phased_degrees=70,
        case_mix={"liver": 2.0, "kidney": 2.0, "thyroid": 0.5},
    ),
    DeviceProfile(
        name="E", site="rural_practice", frequency_factor=0.72, depth_factor=1.15, dynamic_range_db=47, gain_db=4,
        gamma=0.95, time_gain_alpha=0.6, noise_db=-62, looks=1, f_number=3.2, focus=0.45, linear_width_mm=38,
        trapezoid_degrees=14, curved_radius_mm=30, curved_degrees=76, phased_degrees=84,
        case_mix=_everything(0.4) | {"breast": 0.0},
    ),
)  # fmt: skip
"""In the order in which `devices=n` takes them; the first sees every organ."""


def device_of(organ: str, *, index: int, devices: int, start: float) -> DeviceProfile:
    """The scanner of an organ's patient number `index`, by a golden-ratio sequence over the sites' case mixes.

    The sequence fills every site in proportion however few the patients are, and patients that are added later leave
    the earlier ones where they were.

    Args:
        organ: One of ORGANS.
        index: Number of the patient within the organ, from 0.
        devices: How many of DEVICES take part, 1 to 5.
        start: Where the sequence starts, in [0, 1).
    """
    if not 1 <= devices <= len(DEVICES):
        raise ConfigError(f"devices is {devices}, expected 1 to {len(DEVICES)}")
    present = DEVICES[:devices]
    left = (start + index * _GOLDEN) % 1 * sum(device.case_mix.get(organ, 0.0) for device in present)
    for device in present:
        left -= device.case_mix.get(organ, 0.0)
        if left < 0:
            return device
    return present[0]  # only by rounding, at the very end of the last share


def roster(organ: str, *, seed: int, patients: int, devices: int) -> list[tuple[DeviceProfile, str]]:
    """Scanner and case of an organ's first `patients` patients.

    Cases are dealt out within each scanner, so that the scanner does not tell the label.
    """
    start = derive(seed, "phantom", organ, "device") / 2**63
    seen: Counter[str] = Counter()
    entries = []
    for index in range(patients):
        device = device_of(organ, index=index, devices=devices, start=start)
        first = derive(seed, "phantom", organ, "case", device.name) / 2**63
        entries.append((device, case_of(organ, index=seen[device.name], start=first)))
        seen[device.name] += 1
    return entries


def case_of(organ: str, *, index: int, start: float) -> str:
    """The label of patient number `index`: normal, benign or malignant (1/4, 3/8, 3/8); "" for other organs."""
    if organ not in LESION_ORGANS:
        return ""
    place = (start + index * _ROOT_TWO) % 1
    return "normal" if place < 0.25 else "benign" if place < 0.625 else "malignant"
