"""Where scan lines run, and how what they receive becomes a picture: a rectangle, a trapezoid or a fan.

A linear array fires parallel lines. A curved array fires lines that diverge from the centre of its curvature; a phased
array is the limit of a tiny radius, a trapezoid ("virtual convex") that of a large one, so two kinds suffice. Echoes
are simulated on the beam grid (depth along the line x line) and interpolated to square pixels afterwards, as a
scanner's scan converter does; what no line reaches stays black.

Sources: R. S. C. Cobbold, Foundations of Biomedical Ultrasound, Oxford University Press, 2007, chapter 8;
J. Ophir and N. F. Maklad, Digital scan converters in diagnostic ultrasound imaging, Proc. IEEE 67(4), 1979,
doi:10.1109/PROC.1979.11289.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from core.errors import ConfigError

# A axial samples, L scan lines, S image side
Floats = NDArray[np.float32]
MARGIN_LINES = 8
"""Lines simulated beyond each edge, so that the periodic lateral filter never shows its seam."""
AXIAL_OVERSAMPLING = 2
"""Axial samples for one row of the image, since a pulse is shorter than a beam is wide."""

_SHOWN_WIDTH = 0.84
"""Share of a fan's width that is shown: the picture cuts its outermost corners, as scanners do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Aperture:
    """The field of view of one probe at one depth setting."""

    depth_mm: float
    """Depth shown along a line, > 0."""
    width_mm: float = 0.0
    """Footprint of a linear array; 0 for a curved one."""
    radius_mm: float = 0.0
    """Radius of curvature of a curved array; 0 for a linear one."""
    sector_degrees: float = 0.0
    """Full opening angle of a curved array, below 170; 0 for a linear one."""

    def __post_init__(self) -> None:
        """Raises ConfigError, listing every field that is out of range."""
        problems = []
        if self.depth_mm <= 0:
            problems.append(f"depth_mm is {self.depth_mm}, expected more than 0")
        if (self.width_mm > 0) == (self.radius_mm > 0):
            problems.append("give width_mm (linear) or radius_mm (curved), one of the two")
        if self.radius_mm > 0 and not 0 < self.sector_degrees < 170:
            problems.append(f"sector_degrees is {self.sector_degrees}, expected between 0 and 170")
        if problems:
            raise ConfigError(problems, title="aperture")

    @property
    def curved(self) -> bool:
        """Whether the lines diverge."""
        return self.radius_mm > 0

    @property
    def half_angle(self) -> float:
        """Half the opening angle, radians."""
        return math.radians(self.sector_degrees) / 2

    @property
    def extent_mm(self) -> tuple[float, float, float]:
        """Width of the field, its highest and its lowest point (z = 0 is the middle of the probe's face)."""
        if not self.curved:
            return self.width_mm, 0.0, self.depth_mm
        reach = self.radius_mm + self.depth_mm
        top = self.radius_mm * (math.cos(self.half_angle) - 1)
        return 2 * reach * math.sin(self.half_angle), top, self.depth_mm


@dataclass(frozen=True, slots=True)
class BeamGrid:
    """The points at which echoes are simulated. All arrays are read-only float32."""

    x: Floats
    """(A, L) lateral position, mm; 0 is the middle."""
    z: Floats
    """(A, L) depth below the middle of the probe's face, mm."""
    range_mm: Floats
    """(A, L) distance from the probe's face along the line, mm."""
    axial_step_mm: float
    line_step_mm: Floats
    """(A,) distance between neighbouring lines, mm; grows with depth for a curved array."""


@dataclass(frozen=True, slots=True)
class ScanConverter:
    """Bilinear interpolation from the beam grid to an image, as gather indices and weights."""

    side: int
    pixels: NDArray[np.intp]
    """Flat indices of the P image pixels that a line reaches."""
    corners: NDArray[np.intp]
    """(4, P) flat beam-grid indices of each pixel's four neighbours."""
    weights: Floats
    """(4, P) bilinear weights."""

    def __call__(self, values_AL: Floats) -> Floats:
        """(A, L) on the beam grid to (S, S); 0 outside the field."""
        flat = values_AL.ravel()
        image = np.zeros(self.side * self.side, np.float32)
        image[self.pixels] = sum(self.weights[i] * flat[self.corners[i]] for i in range(4))
        return image.reshape(self.side, self.side)


def _frozen(values: NDArray[np.floating]) -> Floats:
    array = np.ascontiguousarray(values, np.float32)
    array.setflags(write=False)
    return array


@lru_cache(maxsize=64)
def beam_grid(aperture: Aperture, *, side: int) -> BeamGrid:
    """The beam grid for an image of `side` pixels: (2 * side) samples by (side + 2 * MARGIN_LINES) lines."""
    step = aperture.depth_mm / (AXIAL_OVERSAMPLING * side)
    range_A1 = ((np.arange(AXIAL_OVERSAMPLING * side) + 0.5) * step)[:, None]
    line_L = (np.arange(-MARGIN_LINES, side + MARGIN_LINES) + 0.5) / side - 0.5
    if aperture.curved:
        theta_1L = (2 * aperture.half_angle * line_L)[None, :]
        reach_A1 = aperture.radius_mm + range_A1
        x, z = reach_A1 * np.sin(theta_1L), reach_A1 * np.cos(theta_1L) - aperture.radius_mm
        line_step = reach_A1[:, 0] * 2 * aperture.half_angle / side
    else:
        x, z = np.broadcast_arrays((aperture.width_mm * line_L)[None, :], range_A1)
        line_step = np.full(range_A1.shape[0], aperture.width_mm / side)
    distance = np.broadcast_to(range_A1, x.shape)
    return BeamGrid(_frozen(x), _frozen(z), _frozen(distance), step, _frozen(line_step))


@lru_cache(maxsize=64)
def scan_converter(aperture: Aperture, *, side: int) -> ScanConverter:
    """The converter to a square image of `side` pixels with square pixels, the field in the middle."""
    width, top, bottom = aperture.extent_mm
    pixel = max(_SHOWN_WIDTH * width if aperture.curved else width, bottom - top) / side
    offset = (np.arange(side) + 0.5 - side / 2) * pixel
    x_SS, z_SS = np.meshgrid(offset, (top + bottom) / 2 + offset)
    if aperture.curved:
        theta = np.arctan2(x_SS, z_SS + aperture.radius_mm)
        distance = np.hypot(x_SS, z_SS + aperture.radius_mm) - aperture.radius_mm
        across = theta / (2 * aperture.half_angle)
    else:
        distance, across = z_SS, x_SS / aperture.width_mm
    inside = (np.abs(across) <= 0.5) & (distance >= 0) & (distance < aperture.depth_mm)
    samples, lines = AXIAL_OVERSAMPLING * side, side + 2 * MARGIN_LINES
    row = np.clip(distance[inside] / aperture.depth_mm * samples - 0.5, 0, samples - 1.001)
    column = (across[inside] + 0.5) * side - 0.5 + MARGIN_LINES
    top_row, left = np.floor(row).astype(np.intp), np.floor(column).astype(np.intp)
    down, right = row - top_row, column - left
    corner = top_row * lines + left
    return ScanConverter(
        side=side,
        pixels=np.flatnonzero(inside),
        corners=np.stack([corner, corner + 1, corner + lines, corner + lines + 1]),
        weights=np.stack(
            [(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right],
        ).astype(np.float32),
    )
