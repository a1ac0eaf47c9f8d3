"""Organs seen through the body wall: liver and kidney with a curved probe, the heart with a phased one.

Each function paints one patient, as in `phantom_superficial`.

Source: T. L. Szabo, Diagnostic Ultrasound Imaging: Inside Out, 2nd ed., 2014; C. M. Rumack and D. Levine, Diagnostic
Ultrasound, 5th ed., Elsevier, 2017 (liver, kidney); C. Mitchell et al., Guidelines for performing a comprehensive
transthoracic echocardiographic examination in adults, JASE 32(1), 2019, doi:10.1016/j.echo.2018.06.004 (four chambers).
"""

import numpy as np

from core.data.phantom_devices import NOMINAL_MHZ
from core.data.phantom_geometry import Floats
from core.data.phantom_lesions import draw_lesion, paint_lesion
from core.data.phantom_superficial import paint_muscle, paint_skin
from core.data.phantom_tissue import Noise, Scene, draw_noise, inside, strands


def _body_wall(scene: Scene, generator: np.random.Generator) -> float:
    """Skin, fat and muscle; returns the depth at which the abdomen begins, mm."""
    fat, muscle = float(generator.uniform(6, 14)), float(generator.uniform(6, 10))
    septa = strands(scene.x, scene.depth, draw_noise(generator), along_mm=30, across_mm=6, width=0.25)
    scene.fill(inside(scene.depth - np.float32(fat), soft_mm=1), echo_db=-8 + 14 * septa, alpha=0.5)
    band = np.maximum(np.float32(fat) - scene.depth, scene.depth - np.float32(fat + muscle))
    paint_muscle(scene, generator, inside(band, soft_mm=1), echo_db=-10, slant=0.0, spacing_mm=2.0)
    scene.surface(band, amplitude=1.1, thickness_mm=0.8)
    paint_skin(scene, generator, thickness_mm=2.0)
    return fat + muscle


def _branch(scene: Scene, start: tuple[float, float], end: tuple[float, float], *, radius: float) -> Floats:
    """Signed distance from a tapering vessel between two points, mm."""
    (x0, z0), (x1, z1) = start, end
    along_x, along_z = np.float32(x1 - x0), np.float32(z1 - z0)
    place = ((scene.x - np.float32(x0)) * along_x + (scene.z - np.float32(z0)) * along_z) / (along_x**2 + along_z**2)
    place = np.clip(place, 0, 1)
    away = np.hypot(scene.x - np.float32(x0) - place * along_x, scene.z - np.float32(z0) - place * along_z)
    return np.asarray(away - np.float32(radius) * (1 - np.float32(0.6) * place), np.float32)


def _wobble(scene: Scene, noise: Noise, *, scale_mm: float, height_mm: float) -> Floats:
    return np.float32(height_mm) * noise(scene.x, scene.z, along_mm=scale_mm, across_mm=scale_mm)


def _liver_vessels(scene: Scene, generator: np.random.Generator, wobble: Floats) -> None:
    """Three hepatic veins that meet, without walls, and six cuts through portal branches, with bright ones."""
    root_x, root_z = float(generator.uniform(-25, 25)), float(generator.uniform(92, 104))
    for number, (a, b) in enumerate(generator.uniform(-1, 1, (3, 2))):
        tip = (root_x + (number - 1) * 42 + 14 * float(a), 48 + 16 * float(b))
        edge = _branch(scene, (root_x, root_z), tip, radius=3.2) + np.float32(0.5) * wobble
        scene.fill(inside(edge, soft_mm=1.5), echo_db=-20.0, alpha=0.4)
    for a, b in generator.uniform(-1, 1, (6, 2)):
        turn = float(generator.uniform(-0.8, 0.8))
        edge = scene.ellipse(
            x=50 * float(a),
            z=62 + 30 * float(b),
            half_width=float(generator.uniform(3, 9)),
            half_height=1.5,
            angle=turn,
        )
        edge += np.float32(0.4) * wobble
        scene.fill(inside(edge - np.float32(1.5), soft_mm=1.5), echo_db=6.0, alpha=0.5)
        scene.fill(inside(edge, soft_mm=1.0), echo_db=-20.0, alpha=0.4)


def liver(scene: Scene, generator: np.random.Generator, case: str) -> None:
    """Even parenchyma with hepatic veins and bright-walled portal branches; the diaphragm as a bright arc behind."""
    fine, bend = draw_noise(generator), draw_noise(generator)
    scene.warp(draw_noise(generator), size_mm=45, height_mm=4)
    x, z = scene.x, scene.z
    scene.echo_db += 1.2 * fine(x, z, along_mm=5, across_mm=5) + 1.2 * fine(z, x, along_mm=35, across_mm=35)
    scene.alpha += np.float32(0.03) * fine(z, x, along_mm=35, across_mm=35)
    wobble = _wobble(scene, bend, scale_mm=22, height_mm=2.0)
    _liver_vessels(scene, generator, wobble)
    lesion = draw_lesion(
        generator,
        malignant=case == "malignant",
        x=float(generator.uniform(-22, 22)),
        z=float(generator.uniform(52, 80)),
        radius_mm=float(generator.uniform(10, 16)),
        contrast_db=-11 if case == "malignant" else -17,
    )
    if case != "normal":
        paint_lesion(scene, lesion, frequency_mhz=NOMINAL_MHZ["liver"])
    wall = _body_wall(scene, generator)
    scene.surface(scene.depth - np.float32(wall + 1.5), amplitude=1.8, thickness_mm=0.8)
    reach = float(generator.uniform(112, 122))
    dome = scene.ellipse(x=float(generator.uniform(-15, 15)), z=reach - 90, half_width=105, half_height=90)
    beyond = inside(np.float32(1) - dome - np.float32(0.4) * wobble, soft_mm=1.5) * (scene.z > 60)
    scene.fill(beyond, echo_db=-14.0, alpha=0.9)
    bright = np.clip(2.5 + 1.5 * fine(x, z, along_mm=30, across_mm=30), 0.3, 5) * (scene.z > 60)
    scene.surface(dome + np.float32(0.4) * wobble, amplitude=bright, thickness_mm=1.2)


def kidney(scene: Scene, generator: np.random.Generator, _case: str) -> None:
    """The kidney along its axis under the liver: bright capsule, cortex, a ring of dark pyramids, bright sinus."""
    fine, mottle, bend = (draw_noise(generator) for _ in range(3))
    scene.warp(draw_noise(generator), size_mm=35, height_mm=2.5)
    scene.echo_db += fine(scene.x, scene.z, along_mm=5, across_mm=5) + fine(scene.z, scene.x, along_mm=30, across_mm=30)
    wall = _body_wall(scene, generator)
    centre_x, centre_z = float(generator.uniform(-6, 6)), wall + float(generator.uniform(42, 50))
    half, ratio = float(generator.uniform(46, 54)), float(generator.uniform(0.42, 0.5))
    turn = float(generator.uniform(-0.3, 0.3))
    wobble = _wobble(scene, bend, scale_mm=14, height_mm=1.2)
    body = scene.ellipse(x=centre_x, z=centre_z, half_width=half, half_height=half * ratio, angle=turn) + wobble
    behind = inside(np.float32(half * ratio * 0.7) + np.float32(centre_z) - scene.z, soft_mm=6)
    paint_muscle(scene, generator, behind, echo_db=-8, slant=turn, spacing_mm=2.5)
    scene.fill(inside(body - np.float32(4), soft_mm=4), echo_db=4.0, alpha=0.5)
    cortex = -5 + fine(scene.x, scene.z, along_mm=8, across_mm=8)
    scene.fill(inside(body, soft_mm=1.5), echo_db=cortex, alpha=0.45)
    scene.surface(body, amplitude=1.6, thickness_mm=0.9)
    cosine, sine = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    across, down = scene.x - np.float32(centre_x), scene.z - np.float32(centre_z)
    u = (cosine * across + sine * down) / np.float32(half)
    v = (cosine * down - sine * across) / np.float32(half * ratio)
    place, angle = np.hypot(u, v), np.arctan2(v, u)
    count = int(generator.integers(7, 10))
    cones = np.cos(count * angle + np.float32(generator.uniform(0, 6))) - np.float32(2.2) * (place - np.float32(0.55))
    pyramids = inside(np.maximum(-cones, np.abs(place - np.float32(0.62)) * 6 - 1), soft_mm=1.0)
    scene.fill(pyramids, echo_db=-13.0, alpha=0.4)
    sinus = place - np.float32(0.46) + np.float32(0.09) * mottle(scene.x, scene.z, along_mm=12, across_mm=9)
    fat = 6 + 5 * mottle(scene.z, scene.x, along_mm=4, across_mm=9)
    scene.fill(inside(sinus, soft_mm=0.15), echo_db=fat, alpha=0.6)


def heart(scene: Scene, generator: np.random.Generator, _case: str) -> None:
    """Four chambers from the apex: dark ventricles above, atria below, septum, valves that move, bright pericardium."""
    fine, bend = draw_noise(generator), draw_noise(generator)
    beat = 0.5 - 0.5 * float(np.cos(2 * np.pi * scene.phase))  # 0 relaxed, 1 contracted
    size, lean = float(generator.uniform(0.92, 1.08)), float(generator.uniform(-0.12, 0.12))
    scene.warp(draw_noise(generator), size_mm=32, height_mm=3)
    wobble = _wobble(scene, bend, scale_mm=14, height_mm=1.4)
    x, z = scene.x, scene.z
    scene.echo_db += -12 + 5 * fine(x, z, along_mm=22, across_mm=16)
    muscle = 1 + 2 * fine(x, z, along_mm=9, across_mm=7) + 2.5 * fine(z, x, along_mm=40, across_mm=40)
    sac = scene.ellipse(x=0, z=70 * size, half_width=47 * size, half_height=58 * size, angle=lean) + wobble
    scene.fill(inside(sac, soft_mm=3), echo_db=muscle, alpha=0.5)
    bright = np.clip(1.6 + 1.5 * fine(x, z, along_mm=25, across_mm=25), 0, 4)
    scene.surface(sac, amplitude=bright, thickness_mm=1.3)
    ventricle, atrium = 1 - 0.2 * beat, 1 + 0.12 * beat
    chambers = (
        (18.5, 52.0, 17.5 * ventricle, 36.0, 0.12),  # left ventricle
        (-20.0, 60.0, 14.0 * ventricle, 29.0, -0.2),  # right ventricle
        (18.0, 99.0, 17.5 * atrium, 16.5 * atrium, 0.0),  # left atrium
        (-18.5, 99.0, 16.5 * atrium, 16.0 * atrium, 0.0),  # right atrium
    )
    for middle, level, wide, tall, turn in chambers:
        edge = scene.ellipse(
            x=middle * size, z=level * size, half_width=wide * size, half_height=tall * size, angle=turn + lean
        )
        edge += np.float32(0.8) * wobble
        scene.fill(inside(edge, soft_mm=2.2), echo_db=-27 + 2 * bright, alpha=0.3)
        scene.surface(edge, amplitude=np.float32(0.4) * bright, thickness_mm=1.0)
    _valves(scene, size=size, z=86.0 * size, opening=1 - beat)
    scene.fill(inside(scene.depth - np.float32(8), soft_mm=10), echo_db=4.0, alpha=0.5)


def _valves(scene: Scene, *, size: float, z: float, opening: float) -> None:
    """Mitral and tricuspid leaflets: thin bright lines from the ring, hanging into the ventricles when open."""
    swing = 10 * opening * size
    for middle, half in ((18.0 * size, 16.0 * size), (-19.0 * size, 14.0 * size)):
        for end in (-1.0, 1.0):
            root = (middle + end * half, z)
            tip = (middle + end * half * (0.15 + 0.45 * opening), z - swing - 1.5)
            leaflet = _branch(scene, root, tip, radius=1.3)
            scene.fill(inside(leaflet, soft_mm=1.2), echo_db=6.0, alpha=0.5)
