"""The canvas on which anatomy is painted: backscatter, attenuation, interfaces and the mask, point by point.

Anatomy is a function of position in millimetres, so that a probe that moves sees the same patient from elsewhere.
Regions are signed distances (negative inside). The slope of a signed distance along the scan line is the cosine of the
angle at which the beam meets the surface, which gives interfaces their brightness: bright across the beam, faint along.

Source: values of backscatter and attenuation follow F. A. Duck, Physical Properties of Tissues, Academic Press, 1990,
chapter 4, rounded to what the eye tells apart.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage

from core.data.phantom_geometry import BeamGrid, Floats

# A axial samples, L scan lines
_TILE = 256
_TILES = 6
_CORRELATION = 5.0
"""Standard deviation of the smoothing of a noise tile, in cells."""
_FEATURE = 3.0 * _CORRELATION
"""Size of one blob of the field, in cells: about half the distance between two of a kind."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Motion:
    """What changes from frame to frame: how the probe is held, and the heart's phase."""

    shift_mm: float = 0.0
    tilt: float = 0.0
    """Sideways displacement per depth, about -0.1 to 0.1."""
    squeeze: float = 1.0
    """How much deeper the tissue lies than without pressure, about 0.9 to 1.1."""
    phase: float = 0.0
    """Phase of the heart's cycle, 0 (end of diastole) to 1."""


@dataclass(frozen=True, slots=True)
class Noise:
    """A smooth random field over the plane, mean 0, variance 1, fixed for a patient."""

    tile: int
    angle: float
    offset: tuple[float, float]

    def __call__(self, x: Floats, z: Floats, *, along_mm: float, across_mm: float) -> Floats:
        """The field at (x, z): blobs `along_mm` wide and `across_mm` high, before its rotation."""
        cosine, sine = np.float32(np.cos(self.angle)), np.float32(np.sin(self.angle))
        u = (cosine * x + sine * z) * np.float32(_FEATURE / along_mm) + np.float32(self.offset[0])
        v = (cosine * z - sine * x) * np.float32(_FEATURE / across_mm) + np.float32(self.offset[1])
        column, row = np.floor(u).astype(np.int32), np.floor(v).astype(np.int32)
        right, down = u - column, v - row
        tile = _tiles()[self.tile].ravel()
        column, row, mask = column & (_TILE - 1), row & (_TILE - 1), _TILE - 1
        top, bottom, next_column = row * _TILE, ((row + 1) & mask) * _TILE, (column + 1) & mask
        above = tile[top + column] * (1 - right) + tile[top + next_column] * right
        below = tile[bottom + column] * (1 - right) + tile[bottom + next_column] * right
        return np.asarray(above * (1 - down) + below * down, np.float32)


@lru_cache(maxsize=1)
def _tiles() -> Floats:
    """Periodic smooth noise (tiles, 256, 256), the same in every process; patients differ in where they read it."""
    white = np.random.Generator(np.random.Philox(key=20)).standard_normal((_TILES, _TILE, _TILE), np.float32)
    smooth = np.stack([ndimage.gaussian_filter(tile, _CORRELATION, mode="wrap") for tile in white])
    return np.asarray((smooth - smooth.mean((1, 2), keepdims=True)) / smooth.std((1, 2), keepdims=True), np.float32)


def draw_noise(generator: np.random.Generator, *, angle: float = 0.0) -> Noise:
    """A random field of its own; `angle` (radians) turns its grain."""
    offset = generator.uniform(0, _TILE, 2)
    return Noise(int(generator.integers(_TILES)), angle, (float(offset[0]), float(offset[1])))


def ridges(noise: Floats, *, width: float) -> Floats:
    """Thin curved lines along the zeros of a smooth field, 1 on the line: septa, ligaments, muscle fibres."""
    return np.asarray(np.exp(-((noise / np.float32(width)) ** 2)), np.float32)


def inside(distance: Floats, *, soft_mm: float) -> Floats:
    """Weight 1 inside (distance < 0), 0 outside, with an edge `soft_mm` wide."""
    return np.asarray(np.clip(0.5 - distance / np.float32(soft_mm), 0, 1), np.float32)


def strands(x: Floats, z: Floats, noise: Noise, *, along_mm: float, across_mm: float, width: float) -> Floats:
    """Ridges of uneven strength, 0 to about 1.5: connective tissue, drawn along the noise's grain."""
    line = ridges(noise(x, z, along_mm=along_mm, across_mm=across_mm), width=width)
    strength = noise(x + np.float32(61), z - np.float32(43), along_mm=along_mm, across_mm=across_mm)
    return np.asarray(line * np.clip(np.float32(0.6) + np.float32(0.6) * strength, 0, 1.5), np.float32)


class Scene:
    """One view of one patient on a beam grid, before any sound.

    Attributes:
        x, z: Position in the patient, mm, after the frame's motion, (A, L).
        depth: Distance from the skin along the line, mm, (A, L).
        echo_db: Backscatter, dB relative to liver-like parenchyma.
        alpha: Attenuation, dB/cm/MHz.
        specular: Amplitude of coherent reflection.
        mask: Weight in [0, 1] of the structure to be segmented.
    """

    def __init__(self, grid: BeamGrid, motion: Motion) -> None:
        """An empty scene: uniform tissue."""
        self.x: Floats = grid.x + np.float32(motion.shift_mm) + np.float32(motion.tilt) * grid.z
        self.z: Floats = grid.z * np.float32(motion.squeeze)
        self.depth: Floats = grid.range_mm * np.float32(motion.squeeze)
        self.phase = motion.phase
        self._step = np.float32(grid.axial_step_mm)
        self.echo_db: Floats = np.zeros_like(self.x)
        self.alpha: Floats = np.full_like(self.x, 0.5)
        self.specular: Floats = np.zeros_like(self.x)
        self.mask: Floats = np.zeros_like(self.x)

    def warp(self, noise: Noise, *, size_mm: float, height_mm: float) -> None:
        """Bends the patient, so that no ellipse stays one: smooth displacements of about `height_mm`."""
        bend_x = noise(self.x, self.z, along_mm=size_mm, across_mm=size_mm)
        bend_z = noise(self.z + np.float32(3.3 * size_mm), self.x, along_mm=size_mm, across_mm=size_mm)
        deep = np.clip(self.depth / np.float32(size_mm), 0, 1)  # the skin stays where the probe is
        self.x += np.float32(height_mm) * bend_x
        self.z += np.float32(height_mm) * bend_z * deep

    def fill(self, weight: Floats, *, echo_db: Floats | float, alpha: float) -> None:
        """Replaces tissue where `weight` is 1, blends where it is between."""
        self.echo_db += weight * (np.asarray(echo_db, np.float32) - self.echo_db)
        self.alpha += weight * (np.float32(alpha) - self.alpha)
        self.specular *= 1 - weight

    def cosine(self, distance: Floats) -> Floats:
        """How squarely the beam meets the level lines of a signed distance: 1 across, 0 along."""
        slope = np.empty_like(distance)
        np.subtract(distance[2:], distance[:-2], out=slope[1:-1])
        slope[0], slope[-1] = slope[1], slope[-2]
        return np.minimum(np.abs(slope) / (2 * self._step), np.float32(1))

    def surface(self, distance: Floats, *, amplitude: Floats | float, thickness_mm: float, facing: bool = True) -> None:
        """An interface at distance 0; `facing` makes it fade where it runs along the beam."""
        line = np.exp(-((distance / np.float32(thickness_mm)) ** 2)) * np.asarray(amplitude, np.float32)
        if facing:
            line *= np.float32(0.12) + np.float32(0.88) * self.cosine(distance) ** 2
        self.specular += line

    def ellipse(self, *, x: float, z: float, half_width: float, half_height: float, angle: float = 0.0) -> Floats:
        """Signed distance (about mm) from an ellipse turned by `angle` radians."""
        cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        across, down = self.x - np.float32(x), self.z - np.float32(z)
        u = (cosine * across + sine * down) / np.float32(half_width)
        v = (cosine * down - sine * across) / np.float32(half_height)
        scale = np.float32(min(half_width, half_height))
        return np.asarray((np.sqrt(u * u + v * v) - 1) * scale, np.float32)
