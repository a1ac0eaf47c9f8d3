"""Organs seen with a linear probe: breast, thyroid and carotid artery.

Each function paints one patient: everything it draws comes from the patient's generator, in an order that neither the
frame nor the device changes; the frame enters through the scene's coordinates only.

Source: T. L. Szabo, Diagnostic Ultrasound Imaging: Inside Out, 2nd ed., 2014; and the look of public images
(breast: W. Al-Dhabyani et al., Data in Brief 28, 2020, doi:10.1016/j.dib.2019.104863; carotid: A. Momot, Mendeley Data,
2022, doi:10.17632/d4xt63mgjm.1).
"""

import numpy as np

from core.data.phantom_devices import NOMINAL_MHZ
from core.data.phantom_geometry import Floats
from core.data.phantom_lesions import draw_lesion, paint_lesion
from core.data.phantom_tissue import Scene, draw_noise, inside, strands


def paint_skin(scene: Scene, generator: np.random.Generator, *, thickness_mm: float) -> None:
    """Skin: a bright band between two interfaces, the first one the probe itself."""
    weight = inside(scene.depth - np.float32(thickness_mm), soft_mm=0.2)
    scene.fill(weight, echo_db=2.0, alpha=0.6)
    scene.surface(scene.depth - np.float32(0.15), amplitude=3.0, thickness_mm=0.15)
    scene.surface(scene.depth - np.float32(thickness_mm), amplitude=float(generator.uniform(1, 2)), thickness_mm=0.15)


def paint_muscle(
    scene: Scene, generator: np.random.Generator, weight: Floats, *, echo_db: float, slant: float, spacing_mm: float
) -> None:
    """Striated muscle: dark, with bright fibres that run at `slant` radians, `spacing_mm` apart."""
    noise, tone = draw_noise(generator, angle=slant), draw_noise(generator)
    fibres = strands(scene.x, scene.z, noise, along_mm=12 * spacing_mm, across_mm=1.6 * spacing_mm, width=0.3)
    mottle = tone(scene.x, scene.z, along_mm=8 * spacing_mm, across_mm=3 * spacing_mm)
    streaks = np.maximum(noise(scene.x, scene.z, along_mm=7 * spacing_mm, across_mm=0.9 * spacing_mm), 0)
    scene.fill(weight, echo_db=echo_db - 2 + 10 * fibres + 6 * streaks + 2 * mottle, alpha=0.55)


def paint_connective(
    scene: Scene, generator: np.random.Generator, *, echo_db: float, size_mm: float, height_db: float = 14
) -> None:
    """Loose tissue between organs: dark fat lobules, `size_mm` wide, in a net of bright septa; all of the scene."""
    net, fine = draw_noise(generator, angle=float(generator.uniform(-0.15, 0.15))), draw_noise(generator)
    septa = strands(scene.x, scene.z, net, along_mm=2.8 * size_mm, across_mm=0.6 * size_mm, width=0.16)
    thin = fine(scene.x, scene.z, along_mm=1.2 * size_mm, across_mm=0.22 * size_mm)
    tone = fine(scene.z, scene.x, along_mm=2 * size_mm, across_mm=3 * size_mm)
    streaks = np.maximum(thin - np.float32(0.1), 0)
    scene.echo_db += echo_db - 0.15 * height_db + 0.75 * height_db * septa + 0.6 * height_db * streaks + 2 * tone
    scene.alpha += np.float32(0.08) * tone


def breast(scene: Scene, generator: np.random.Generator, case: str) -> None:
    """Skin, lobulated fat with Cooper's ligaments, fibroglandular tissue, pectoral muscle and sometimes a rib."""
    fat_mm, gland_mm, fat_share = generator.uniform(4, 9), generator.uniform(14, 20), generator.uniform(0, 1.2)
    scene.warp(draw_noise(generator), size_mm=14, height_mm=0.5)
    paint_connective(scene, generator, echo_db=-17, size_mm=6, height_db=17)
    wave, lobes, bands, ducts = (draw_noise(generator, angle=a) for a in generator.uniform(-0.2, 0.2, 4))
    x, z = scene.x, scene.z
    ripple = wave(x, z * np.float32(0.3), along_mm=16, across_mm=16)
    top = z - np.float32(fat_mm) - np.float32(1.1) * ripple
    bottom = z - np.float32(fat_mm + gland_mm) + np.float32(1.0) * ripple
    gland = inside(np.maximum(-top, bottom), soft_mm=1.5)
    lobule = lobes(x, z, along_mm=9, across_mm=4)
    islands = inside(lobule - np.float32(1.6 - fat_share), soft_mm=1.0)
    grain = bands(x, z, along_mm=6, across_mm=1.6)
    streaks = np.maximum(ducts(x, z, along_mm=8, across_mm=1.3) - np.float32(0.1), 0)
    tissue = -3.5 + 2 * lobule + 2.5 * grain + 9 * streaks
    scene.fill(gland * islands, echo_db=tissue, alpha=0.56)
    scene.surface(top, amplitude=np.clip(0.6 + 0.8 * grain, 0, 2), thickness_mm=0.25)
    chest = float(fat_mm + gland_mm + generator.uniform(2, 4))
    slope = np.float32(generator.uniform(-0.08, 0.08))
    plane = z - np.float32(chest) - slope * x - np.float32(0.6) * ripple
    paint_muscle(scene, generator, inside(-plane, soft_mm=0.4), echo_db=-16, slant=float(slope), spacing_mm=1.0)
    scene.surface(plane, amplitude=np.clip(1.3 + lobule, 0.1, 3), thickness_mm=0.3)
    _rib(scene, generator, z=chest + 8.0)
    paint_skin(scene, generator, thickness_mm=float(generator.uniform(1.2, 2.2)))
    lesion_x, lesion_z = generator.uniform(-7, 7), fat_mm + gland_mm * generator.uniform(0.35, 0.6)
    radius = float(generator.uniform(3.2, 5.6))
    lesion = draw_lesion(
        generator,
        malignant=case == "malignant",
        x=float(lesion_x),
        z=float(lesion_z),
        radius_mm=radius,
        contrast_db=-17,
    )
    if case != "normal":
        paint_lesion(scene, lesion, frequency_mhz=NOMINAL_MHZ["breast"])


def _rib(scene: Scene, generator: np.random.Generator, *, z: float) -> None:
    present, x = generator.random() < 0.35, float(generator.uniform(-14, 14))
    if present:
        bone = scene.ellipse(x=x, z=z, half_width=6.0, half_height=3.0)
        scene.fill(inside(bone, soft_mm=0.3), echo_db=-14.0, alpha=2.5)
        scene.surface(bone, amplitude=2.5 * (scene.z < z - 0.5), thickness_mm=0.3)


def _vessel(scene: Scene, *, x: float, z: float, radius: float, flat: float = 1.0, wall: float = 2.2) -> Floats:
    """A vessel across: dark lumen, bright wall where the beam meets it squarely; returns its signed distance."""
    edge = scene.ellipse(x=x, z=z, half_width=radius, half_height=radius * flat)
    scene.fill(inside(edge - np.float32(0.7), soft_mm=0.3), echo_db=1.0, alpha=0.5)
    scene.fill(inside(edge, soft_mm=0.25), echo_db=-38.0, alpha=0.15)
    scene.surface(edge - np.float32(0.2), amplitude=wall, thickness_mm=0.25)
    return edge


def thyroid(scene: Scene, generator: np.random.Generator, case: str) -> None:
    """A lobe between the trachea (bright arc, reverberation below) and the carotid, under the strap muscles."""
    side = float(generator.choice((-1.0, 1.0)))
    scene.warp(draw_noise(generator), size_mm=12, height_mm=0.6)
    paint_connective(scene, generator, echo_db=-8, size_mm=5, height_db=12)
    x, z = scene.x, scene.z
    tone, fine = (draw_noise(generator) for _ in range(2))
    strap = float(generator.uniform(4.0, 6.0))
    ripple = tone(x, z * np.float32(0.2), along_mm=20, across_mm=20)
    band = np.maximum(np.float32(strap) - z, z - np.float32(strap + 4.0)) + np.float32(0.7) * ripple
    paint_muscle(scene, generator, inside(band, soft_mm=0.5), echo_db=-15, slant=0.05 * side, spacing_mm=0.9)
    scene.surface(band, amplitude=np.clip(1.2 + ripple, 0.2, 2.5), thickness_mm=0.25)
    deep = np.float32(strap + 21) + np.float32(1.5) * ripple - z
    paint_muscle(scene, generator, inside(deep, soft_mm=0.6), echo_db=-13, slant=-0.1 * side, spacing_mm=1.2)
    lobe_z, half = strap + 12.0 + float(generator.uniform(-1, 1)), float(generator.uniform(8.0, 9.5))
    turn = 0.25 * side
    lobe = scene.ellipse(x=0.5 * side, z=lobe_z, half_width=half, half_height=0.78 * half, angle=turn)
    isthmus = scene.ellipse(x=-10.0 * side, z=strap + 6.0, half_width=9.0, half_height=2.2)
    gland = np.minimum(lobe, isthmus)
    texture = 3 + 0.9 * fine(x, z, along_mm=2, across_mm=2) + fine(z, x, along_mm=9, across_mm=9)
    scene.fill(inside(gland, soft_mm=0.7), echo_db=texture, alpha=0.5)
    scene.surface(gland, amplitude=np.clip(1.1 + tone(x, z, along_mm=7, across_mm=7), 0.1, 2), thickness_mm=0.3)
    _trachea(scene, x=-16.0 * side, z=strap + 15.5, radius=8.0)
    beat = 1 + 0.06 * np.sin(2 * np.pi * scene.phase)
    radius = float(generator.uniform(3.0, 3.8) * beat)
    _vessel(scene, x=13.5 * side, z=strap + 13.0, radius=radius)
    paint_skin(scene, generator, thickness_mm=1.3)
    size = float(generator.uniform(2.8, 4.4))
    lesion = draw_lesion(
        generator,
        malignant=case == "malignant",
        x=float(0.5 * side + generator.uniform(-2, 2)),
        z=float(lobe_z + generator.uniform(-1.2, 1.2)),
        radius_mm=size,
        contrast_db=-11,
    )
    if case != "normal":
        paint_lesion(scene, lesion, frequency_mhz=NOMINAL_MHZ["thyroid"])


def _trachea(scene: Scene, *, x: float, z: float, radius: float) -> None:
    """Cartilage ring and air: nothing but rings of reverberation comes back from behind."""
    ring = scene.ellipse(x=x, z=z, half_width=radius, half_height=0.85 * radius)
    front = np.clip((np.float32(z) - scene.z) / np.float32(0.5 * radius), 0, 1)
    scene.fill(inside(ring, soft_mm=0.5), echo_db=-14.0, alpha=0.6)
    scene.fill(inside(ring + np.float32(1.5), soft_mm=0.6), echo_db=-22.0, alpha=3.0)
    scene.surface(ring, amplitude=front, thickness_mm=0.3)
    scene.surface(ring + np.float32(1.6), amplitude=5 * front, thickness_mm=0.35)
    scene.surface(ring + np.float32(3.4), amplitude=12 * front, thickness_mm=0.35)


def carotid(scene: Scene, generator: np.random.Generator, _case: str) -> None:
    """The common carotid artery, along (two walls of two lines each) or across; sometimes a plaque on the far wall."""
    scene.warp(draw_noise(generator), size_mm=16, height_mm=0.45)
    paint_connective(scene, generator, echo_db=-15, size_mm=6, height_db=18)
    x, z = scene.x, scene.z
    muscle = np.maximum(np.float32(3.5) - z, z - np.float32(9.5)) + np.float32(0.06) * x
    paint_muscle(scene, generator, inside(muscle, soft_mm=0.5), echo_db=-16, slant=-0.06, spacing_mm=1.0)
    scene.surface(muscle, amplitude=1.8, thickness_mm=0.25)
    middle, slope = float(generator.uniform(15, 20)), float(generator.uniform(-0.1, 0.1))
    beat = 1 + 0.07 * np.sin(2 * np.pi * scene.phase)
    radius = float(generator.uniform(2.8, 3.8) * beat)
    along, plaque = generator.random() < 0.65, generator.random() < 0.45
    where, size = float(generator.uniform(-8, 8)), float(generator.uniform(1.0, 2.0))
    if along:
        _along(scene, middle=middle, slope=slope, radius=radius, plaque=(where, size) if plaque else None)
    else:
        edge = _vessel(scene, x=0.3 * where, z=middle, radius=radius, wall=2.2)
        vein = scene.ellipse(x=0.3 * where + 9.0, z=middle - 4.0, half_width=5.5, half_height=2.4, angle=0.3)
        scene.fill(inside(vein, soft_mm=0.3), echo_db=-36.0, alpha=0.15)
        scene.surface(vein, amplitude=1.2, thickness_mm=0.25)
        scene.mask = inside(edge, soft_mm=0.4)
    paint_skin(scene, generator, thickness_mm=1.3)


def _along(scene: Scene, *, middle: float, slope: float, radius: float, plaque: tuple[float, float] | None) -> None:
    """The artery along its axis: adventitia, the dark media and the intima line at both walls, and the lumen."""
    axis = scene.z - np.float32(middle) - np.float32(slope) * scene.x
    edge = np.abs(axis) - np.float32(radius)
    scene.fill(inside(edge - np.float32(2.0), soft_mm=0.6), echo_db=3.0, alpha=0.5)
    scene.fill(inside(edge - np.float32(0.9), soft_mm=0.2), echo_db=-30.0, alpha=0.3)
    scene.surface(edge - np.float32(1.0), amplitude=2.6, thickness_mm=0.3)
    scene.surface(edge, amplitude=1.0, thickness_mm=0.22)
    lumen = edge
    if plaque is not None:
        where, size = plaque
        bulge = scene.ellipse(
            x=where, z=middle + slope * where + radius + 0.4, half_width=2.6 * size, half_height=0.9 * size
        )
        scene.fill(inside(np.maximum(bulge, axis - np.float32(radius + 0.6)), soft_mm=0.3), echo_db=-3.0, alpha=1.2)
        lumen = np.maximum(edge, -bulge)
    scene.mask = inside(lumen, soft_mm=0.4)
