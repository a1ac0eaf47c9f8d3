"""Focal lesions of two kinds that differ in shape, margin and what lies behind them.

Benign: a smooth ellipse, wider than tall, thin bright capsule, little attenuation, so the tissue behind is enhanced.
Malignant: taller than wide, angular and spiculated margin, a bright halo, strong attenuation, so a shadow lies behind.

Sources: A. T. Stavros et al., Solid breast nodules: use of sonography to distinguish between benign and malignant
lesions, Radiology 196(1), 1995, doi:10.1148/radiology.196.1.7784555; ACR BI-RADS Atlas, 5th ed., 2013, ultrasound;
F. N. Tessler et al., ACR Thyroid Imaging, Reporting and Data System (TI-RADS), JACR 14(5), 2017,
doi:10.1016/j.jacr.2017.01.046.
"""

from dataclasses import dataclass

import numpy as np

from core.data.phantom_geometry import Floats
from core.data.phantom_tissue import Noise, Scene, draw_noise, inside

# A axial samples, L scan lines


@dataclass(frozen=True, slots=True)
class Lesion:
    """The shape of one lesion: an ellipse whose radius varies with the angle."""

    malignant: bool
    x: float
    z: float
    half_width: float
    half_height: float
    angle: float
    orders: tuple[int, ...]
    heights: tuple[float, ...]
    phases: tuple[float, ...]
    spicules: tuple[tuple[float, float, float], ...]
    """(angle, height relative to the radius, width in radians) of each spicule."""
    contrast_db: float
    texture: Noise

    def radius(self, angle: Floats) -> Floats:
        """Relative radius of the margin in a direction, 1 for a plain ellipse."""
        radius = np.ones_like(angle)
        for order, height, phase in zip(self.orders, self.heights, self.phases, strict=True):
            radius += np.float32(height) * np.cos(order * angle + np.float32(phase))
        for where, height, width in self.spicules:
            away = np.abs((angle - np.float32(where) + np.float32(np.pi)) % np.float32(2 * np.pi) - np.float32(np.pi))
            radius += np.float32(height) * np.maximum(0, 1 - away / np.float32(width))
        return radius

    def distance(self, scene: Scene) -> Floats:
        """Signed distance (about mm) from the margin, (A, L), negative inside."""
        cosine, sine = np.float32(np.cos(self.angle)), np.float32(np.sin(self.angle))
        across, down = scene.x - np.float32(self.x), scene.z - np.float32(self.z)
        u = (cosine * across + sine * down) / np.float32(self.half_width)
        v = (cosine * down - sine * across) / np.float32(self.half_height)
        scale = np.float32(np.sqrt(self.half_width * self.half_height))
        return np.asarray((np.sqrt(u * u + v * v) - self.radius(np.arctan2(v, u))) * scale, np.float32)


def draw_lesion(
    generator: np.random.Generator, *, malignant: bool, x: float, z: float, radius_mm: float, contrast_db: float = -13.0
) -> Lesion:
    """A random lesion around (x, z) of about `radius_mm`: its shape is the patient's, not the frame's."""
    if malignant:
        stretch = generator.uniform(1.2, 1.6)  # height over width, above 1: "taller than wide"
        orders: tuple[int, ...] = (2, 3, 4, 5, 7, 11)
        heights = generator.uniform(0.4, 1, 6) * (0.05, 0.1, 0.07, 0.06, 0.05, 0.04)
        count = int(generator.integers(4, 9))
        where = (np.arange(count) + generator.uniform(-0.3, 0.3, count)) * 2 * np.pi / count
        tall, wide = generator.uniform(0.1, 0.45, count), generator.uniform(0.12, 0.3, count)
        spicules = tuple((float(a), float(h), float(w)) for a, h, w in zip(where, tall, wide, strict=True))
    else:
        stretch = generator.uniform(0.5, 0.75)
        orders, heights, spicules = (2, 3), generator.uniform(0, 0.025, 2), ()
    return Lesion(
        malignant=malignant,
        x=x,
        z=z,
        half_width=radius_mm / float(np.sqrt(stretch)),
        half_height=radius_mm * float(np.sqrt(stretch)),
        angle=float(generator.uniform(-0.15, 0.15)),
        orders=orders,
        heights=tuple(float(height) for height in heights),
        phases=tuple(float(phase) for phase in generator.uniform(0, 2 * np.pi, len(orders))),
        spicules=spicules,
        contrast_db=contrast_db + float(generator.uniform(-4, 3)),
        texture=draw_noise(generator),
    )


def paint_lesion(scene: Scene, lesion: Lesion, *, frequency_mhz: float) -> None:
    """Paints a lesion and marks it in the mask.

    Args:
        scene: What it lies in.
        lesion: Its shape.
        frequency_mhz: The examination's nominal frequency: attenuation is chosen so that the shadow (about 16 dB) or
            the enhancement shows at that frequency; a scanner with a higher one shows more of it.
    """
    distance = lesion.distance(scene)
    path = 2 * frequency_mhz * 2 * lesion.half_height / 10  # MHz cm, there and back
    mottle = lesion.texture(scene.x, scene.z, along_mm=0.8 * lesion.half_width, across_mm=0.5 * lesion.half_width)
    soft = 0.06 * lesion.half_width
    if lesion.malignant:
        halo = np.exp(-((distance - np.float32(2 * soft)) ** 2) / np.float32(2 * (3 * soft) ** 2))
        scene.echo_db += np.float32(5) * halo * (distance > 0)
        echo_db, alpha = lesion.contrast_db + 3 * mottle, 0.5 + 16.0 / path
        core = inside(distance, soft_mm=3.5 * soft)
    else:
        echo_db, alpha = lesion.contrast_db + 0.8 * mottle, max(0.05, 0.5 - 7.0 / path)
        core = inside(distance, soft_mm=soft)
    scene.fill(core, echo_db=echo_db, alpha=alpha)
    if not lesion.malignant:
        scene.surface(distance, amplitude=0.5, thickness_mm=0.8 * soft)
        tangent = (scene.cosine(distance) < 0.35) & (np.abs(distance) < soft)  # refraction at the edges
        scene.alpha += np.float32(0.25 * 9.0 / (2 * frequency_mhz * lesion.half_height / 10)) * tangent
    scene.mask = np.maximum(scene.mask, inside(distance, soft_mm=0.1 * lesion.half_width))
