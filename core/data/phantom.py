"""The built-in data set: simulated ultrasound of six organs from five unlike sites, made from a seed.

Patients have anatomy of their own and several frames (the probe moves, the speckle is new); each belongs to one site
with one scanner. Breast, thyroid and liver hold a benign lesion, a malignant one or none, with masks; the
carotid's mask is its lumen. Every patient has a seed of their own, so more patients or frames
leave the earlier ones as they were.

Sources: R. F. Wagner et al., Statistics of speckle in ultrasound B-scans, IEEE Trans. Sonics Ultrason. 30(3), 1983,
doi:10.1109/T-SU.1983.31404; J. A. Jensen, Field: a program for simulating ultrasound systems, Med. Biol. Eng. Comput.
34 suppl. 1, 1996; what is simulated and what is simplified stands in `phantom_physics`.
"""

import csv
import fcntl
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.data.phantom_deep import heart, kidney, liver
from core.data.phantom_devices import DEVICES, LESION_ORGANS, ORGANS, DeviceProfile, roster
from core.data.phantom_geometry import beam_grid, scan_converter
from core.data.phantom_physics import (
    attenuation_db,
    contact_db,
    detect,
    echo,
    log_compress,
    point_spread,
    time_gain_db,
)
from core.data.phantom_superficial import breast, carotid, thyroid
from core.data.phantom_tissue import Motion, Scene
from core.errors import ConfigError, DataError
from core.seeding import numpy_generator

# A axial samples, L scan lines, S image side
SCHEMA_VERSION = 1
"""Goes up whenever the same parameters would give other images."""
COLUMNS = ("image", "organ", "patient", "mask", "label", "site", "device", "dataset", "licence")
_PARAMETERS = "phantom.json"
_MANIFEST = "manifest.csv"
_Painter = Callable[[Scene, np.random.Generator, str], None]
_PAINTERS: Mapping[str, _Painter] = {
    "breast": breast, "thyroid": thyroid, "liver": liver, "kidney": kidney, "heart": heart, "carotid": carotid,
}  # fmt: skip
_SHIFT_MM = {"breast": 2.5, "thyroid": 1.5, "carotid": 3.0, "liver": 6.0, "kidney": 6.0, "heart": 4.0}


@dataclass(frozen=True, slots=True)
class PhantomImage:
    """One frame: grey image and mask, both (S, S) uint8; the mask is 0 or 255, None for an organ without."""

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Parameters:
    """What the folder's content follows from."""

    schema_version: int
    seed: int
    patients_per_organ: int
    frames: int
    side: int
    devices: int

    def __post_init__(self) -> None:
        """Raises ConfigError, listing every parameter that is out of range."""
        problems = [
            f"{name} is {value}, expected {low} to {high}"
            for name, value, low, high in (
                ("patients_per_organ", self.patients_per_organ, 1, 100_000),
                ("frames", self.frames, 1, 1_000),
                ("side", self.side, 32, 1024),
                ("devices", self.devices, 1, len(DEVICES)),
            )
            if not low <= value <= high
        ]
        if problems:
            raise ConfigError(problems, title="phantom")


def render(
    organ: str, *, seed: int, patient: int, frame: int, side: int, device: DeviceProfile, case: str
) -> PhantomImage:
    """One frame of one patient.

    Args:
        organ: One of ORGANS.
        seed: The data set's seed.
        patient: Number of the patient within the organ.
        frame: Number of the frame; anatomy follows from the patient alone.
        side: Side of the square image, pixels.
        device: The scanner.
        case: "normal", "benign" or "malignant" for an organ with lesions, else "".
    """
    aperture = device.aperture(organ)
    grid = beam_grid(aperture, side=side)
    generator = numpy_generator(seed, "phantom", organ, patient, "frame", frame)
    scene = Scene(grid, _motion(organ, generator))
    _PAINTERS[organ](scene, numpy_generator(seed, "phantom", organ, patient, "anatomy"), case)
    convert = scan_converter(aperture, side=side)
    grey_AL = _sound(scene, organ, device, generator)
    image = np.rint(convert(grey_AL) * 255).astype(np.uint8)
    mask = None
    if organ in LESION_ORGANS or organ == "carotid":
        mask = np.where(convert(scene.mask) > 0.5, np.uint8(255), np.uint8(0))
    return PhantomImage(image, mask)


def _motion(organ: str, generator: np.random.Generator) -> Motion:
    shift, tilt, squeeze, phase = generator.uniform(-1, 1, 4)
    return Motion(
        shift_mm=_SHIFT_MM[organ] * float(shift),
        tilt=0.06 * float(tilt),
        squeeze=1 + 0.05 * float(squeeze),
        phase=0.5 + 0.5 * float(phase),
    )


def _sound(scene: Scene, organ: str, device: DeviceProfile, generator: np.random.Generator) -> NDArray[np.float32]:
    """What the scanner shows of a scene, grey in [0, 1] on the beam grid."""
    aperture = device.aperture(organ)
    side = scene.x.shape[0] // 2
    grid, frequency = beam_grid(aperture, side=side), device.frequency_mhz(organ)
    psf = point_spread(
        grid,
        frequency_mhz=frequency,
        cycles=2.0,
        f_number=device.f_number,
        focus_mm=device.focus * aperture.depth_mm,
        focal_zone_mm=0.45 * aperture.depth_mm,
    )
    loss_db = attenuation_db(scene.alpha, axial_step_mm=grid.axial_step_mm, frequency_mhz=frequency)
    gain_db = time_gain_db(grid.range_mm[:, :1], alpha=device.time_gain_alpha, frequency_mhz=frequency)
    scatter_AL = 10 ** (scene.echo_db / np.float32(20))
    gain_db = gain_db + contact_db(scene.x.shape[1], generator, height_db=1.5)
    echoes = [echo(scatter_AL, scene.specular, psf, generator) for _ in range(device.looks)]
    noise_AL = 10 ** ((gain_db + np.float32(device.noise_db)) / np.float32(20))
    envelope_AL = detect(echoes, 10 ** ((gain_db - loss_db) / np.float32(20)), noise_AL)
    return log_compress(
        envelope_AL, dynamic_range_db=device.dynamic_range_db, gain_db=device.gain_db, gamma=device.gamma
    )


def build_phantom(
    folder: Path,
    *,
    seed: int,
    patients_per_organ: int,
    frames: int,
    side: int,
    devices: int,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Writes the data set, or finds it there already; returns the absolute path of its manifest.

    The folder appears whole or not at all. A phantom of other parameters in its place is replaced; any other folder
    that is not empty is left alone.

    Args:
        folder: Where it shall lie; `images/`, `masks/`, `manifest.csv` and `phantom.json` are written there.
        seed: Everything follows from it.
        patients_per_organ: At least 1.
        frames: Images of one patient, at least 1.
        side: Side of the square images in pixels, 32 to 1024.
        devices: How many of the five scanners (and sites) take part, 1 to 5.
        progress: Called with (images done, images in all) after each patient.

    Raises:
        ConfigError: Parameters out of range, all of them.
        DataError: The folder holds something else, or cannot be written.
    """
    folder, parameters = folder.absolute(), _Parameters(
        schema_version=SCHEMA_VERSION, seed=seed, patients_per_organ=patients_per_organ, frames=frames, side=side,
        devices=devices,
    )  # fmt: skip
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            if not _is_there(folder, parameters):
                _write_whole(folder, parameters, progress)
    except OSError as error:
        raise DataError(f"the phantom cannot be written to {folder}: {error.strerror or error}") from error
    return folder / _MANIFEST


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Holds the folder's lock file, so that of two builders one waits and then finds the work done."""
    with folder.with_name(f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_there(folder: Path, parameters: _Parameters) -> bool:
    """Whether the folder is this very phantom; DataError where it is something that is not ours to replace."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    try:
        found = json.loads((folder / _PARAMETERS).read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} holds something else than a phantom; name another folder or empty it") from error
    return bool(found == asdict(parameters)) and (folder / _MANIFEST).is_file()


def _write_whole(folder: Path, parameters: _Parameters, progress: Callable[[int, int], None] | None) -> None:
    """Writes beside the folder, then renames, so that whatever stops the build leaves nothing half-written."""
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # left by a build that was killed
    try:
        _write(part, parameters, progress)
        shutil.rmtree(folder, ignore_errors=True)
        part.replace(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write(part: Path, parameters: _Parameters, progress: Callable[[int, int], None] | None) -> None:
    total, rows = len(ORGANS) * parameters.patients_per_organ * parameters.frames, list[dict[str, str]]()
    for organ in ORGANS:
        (part / "images" / organ).mkdir(parents=True)
        (part / "masks" / organ).mkdir(parents=True)
        patients = roster(
            organ, seed=parameters.seed, patients=parameters.patients_per_organ, devices=parameters.devices
        )
        for index, (device, case) in enumerate(patients):
            rows += _write_patient(part, organ, index, parameters, device=device, case=case)
            if progress is not None:
                progress(len(rows), total)
    with (part / _MANIFEST).open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: row["image"]))
    (part / _PARAMETERS).write_text(json.dumps(asdict(parameters), indent=2) + "\n")


def _write_patient(
    part: Path, organ: str, index: int, parameters: _Parameters, *, device: DeviceProfile, case: str
) -> list[dict[str, str]]:
    """Renders and saves one patient's frames; returns their rows of the manifest."""
    patient = f"{organ}_{index:05d}"
    rows = []
    for frame in range(parameters.frames):
        picture = render(
            organ, seed=parameters.seed, patient=index, frame=frame, side=parameters.side, device=device, case=case
        )
        name = f"{organ}/{patient}_{frame:03d}.png"
        Image.fromarray(picture.image).save(part / "images" / name)
        if picture.mask is not None:
            Image.fromarray(picture.mask).save(part / "masks" / name)
        rows.append(
            dict(zip(COLUMNS, (
                f"images/{name}", organ, patient, f"masks/{name}" if picture.mask is not None else "", case,
                device.site, device.name, "phantom", "CC0-1.0",
            ), strict=True))
        )  # fmt: skip
    return rows
