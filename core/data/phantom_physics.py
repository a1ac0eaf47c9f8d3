"""From tissue to echo: scatterers, point-spread function, attenuation, time-gain compensation, log compression.

Echoes are simulated at baseband (the complex envelope), where many scatterers per resolution cell, each with a random
phase, are circular complex Gaussian noise: their envelope is Rayleigh distributed, "fully developed speckle", with a
mean-to-deviation ratio of sqrt(pi / (4 - pi)) = 1.91. Smooth interfaces reflect coherently and are added to the
scatterers before the convolution. The point-spread function is separable; its lateral width follows a Gaussian beam
around the focus and so depends on depth, which costs nothing: each row has its own lateral transfer function.

Sources: R. F. Wagner, S. W. Smith, J. M. Sandrik and H. Lopez, Statistics of speckle in ultrasound B-scans, IEEE Trans.
Sonics Ultrason. 30(3), 1983, doi:10.1109/T-SU.1983.31404; J. A. Jensen, Field: a program for simulating ultrasound
systems, Med. Biol. Eng. Comput. 34 suppl. 1, 1996, pp. 351-353; J. C. Bamber and R. J. Dickinson, Ultrasonic
B-scanning: a computer simulation, Phys. Med. Biol. 25(3), 1980, doi:10.1088/0031-9155/25/3/006.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from core.data.phantom_geometry import BeamGrid, Floats

# A axial samples, L scan lines
SOUND_MM_PER_US = 1.54
"""Speed of sound in soft tissue, mm per microsecond."""
RAYLEIGH_SNR = float(np.sqrt(np.pi / (4 - np.pi)))
"""Mean over standard deviation of a Rayleigh envelope (Wagner et al. 1983)."""
SIGMA_PER_FWHM = 1 / 2.355
_LEAST_SIGMA = 0.6
"""A Gaussian narrower than this many samples would be aliased on the grid."""


@dataclass(frozen=True, slots=True)
class PointSpread:
    """Widths of the two-way point-spread function, standard deviations in samples of the beam grid."""

    axial: float
    lateral: Floats
    """(A,), depends on depth."""


def point_spread(
    grid: BeamGrid, *, frequency_mhz: float, cycles: float, f_number: float, focus_mm: float, focal_zone_mm: float
) -> PointSpread:
    """The point-spread function of a probe, never narrower than the grid can carry.

    Args:
        grid: The beam grid.
        frequency_mhz: Centre frequency; the wavelength is 1.54 / frequency, in mm.
        cycles: Length of the pulse in periods; the axial resolution is cycles * wavelength / 2.
        f_number: Focal depth over aperture; the beam is f_number * wavelength wide at the focus.
        focus_mm: Depth of the focus.
        focal_zone_mm: Distance from the focus at which the beam is sqrt(2) times wider.
    """
    wavelength = SOUND_MM_PER_US / frequency_mhz
    axial = SIGMA_PER_FWHM * cycles * wavelength / 2 / grid.axial_step_mm
    spread_A = np.sqrt(1 + ((grid.range_mm[:, 0] - focus_mm) / focal_zone_mm) ** 2)
    lateral_A = SIGMA_PER_FWHM * f_number * wavelength * spread_A / grid.line_step_mm
    return PointSpread(max(axial, _LEAST_SIGMA), np.maximum(lateral_A, _LEAST_SIGMA).astype(np.float32))


def _gaussian_transfer(length: int, sigma: Floats | np.float32) -> Floats:
    """Transfer functions (..., length) of Gaussians with unit energy, so that filtered white noise keeps its power."""
    frequency = fft.fftfreq(length).astype(np.float32)
    transfer = np.exp(-2 * (np.pi * frequency * sigma) ** 2)
    power = np.mean(transfer**2, axis=-1, keepdims=True)
    return np.asarray(transfer / np.sqrt(power), np.float32)


def echo(
    scatter_AL: Floats, specular_AL: Floats, psf: PointSpread, generator: np.random.Generator
) -> NDArray[np.complex64]:
    """One acquisition: scatterers and interfaces convolved with the point-spread function.

    Args:
        scatter_AL: Root-mean-square amplitude of the backscatter, >= 0; 1 gives an echo of mean power 1.
        specular_AL: Amplitude of coherent reflection, >= 0.
        psf: The point-spread function on the same grid.
        generator: Draws the scatterers' amplitudes and phases.

    Returns:
        The complex envelope (A, L).
    """
    samples, lines = scatter_AL.shape
    noise = generator.standard_normal((samples, 2 * lines), np.float32).view(np.complex64)
    field = noise * (scatter_AL * np.float32(np.sqrt(0.5))) + specular_AL
    padded = fft.next_fast_len(samples + 16)
    axial_P1 = _gaussian_transfer(padded, np.float32(psf.axial))[:, None]
    field = fft.ifft(fft.fft(field, n=padded, axis=0) * axial_P1, axis=0)[:samples]
    lateral_AL = _gaussian_transfer(lines, psf.lateral[:, None])
    received: NDArray[np.complex64] = fft.ifft(fft.fft(field, axis=1) * lateral_AL, axis=1)
    return received


def attenuation_db(alpha_AL: Floats, *, axial_step_mm: float, frequency_mhz: float) -> Floats:
    """Loss on the way to each sample and back, dB: twice the path integral of alpha (dB/cm/MHz) times frequency.

    Shadows and posterior enhancement follow from this sum alone: what lies behind a strongly (weakly) attenuating
    region receives less (more) than the time-gain compensation expects.
    """
    step = 2 * frequency_mhz * axial_step_mm / 10
    return np.asarray(np.cumsum(alpha_AL, axis=0, dtype=np.float32) * np.float32(step))


def time_gain_db(range_A: Floats, *, alpha: float, frequency_mhz: float, limit_db: float = 60.0) -> Floats:
    """Amplification against depth, dB, as if all tissue attenuated `alpha` dB/cm/MHz, at most `limit_db`."""
    gain: Floats = np.minimum(np.float32(2 * alpha * frequency_mhz / 10) * range_A, np.float32(limit_db))
    return gain


def contact_db(lines: int, generator: np.random.Generator, *, height_db: float) -> Floats:
    """Gain of each line (1, lines), dB, at most about 0: elements differ, and where gel is missing a line fades."""
    wave = _gaussian_transfer(lines, np.float32(lines / 20)) * fft.fft(generator.standard_normal(lines, np.float32))
    smooth = fft.ifft(wave).real
    return np.asarray(-np.float32(height_db) * np.maximum(smooth, 0)[None, :] ** 2, np.float32)


def detect(echoes: list[NDArray[np.complex64]], gain_AL: Floats, noise_AL: Floats) -> Floats:
    """The envelope (A, L): root of the mean power over the looks, after gain, with the amplifier's noise.

    Args:
        echoes: One complex envelope for each look (compounded angle); more looks, less speckle.
        gain_AL: Amplitude factor of attenuation and time-gain compensation together.
        noise_AL: Root-mean-square amplitude of electronic noise after the gain.
    """
    power = sum(received.real**2 + received.imag**2 for received in echoes) / np.float32(len(echoes))
    return np.asarray(np.sqrt(power * gain_AL**2 + noise_AL**2), np.float32)


def log_compress(envelope_AL: Floats, *, dynamic_range_db: float, gain_db: float, gamma: float) -> Floats:
    """Envelope to grey in [0, 1]: an echo of amplitude 1 at gain 0 lies at 0.45 of the dynamic range.

    `gamma` is the exponent of the display curve (above 1 darkens the middle).
    """
    level_db = 20 * np.log10(np.maximum(envelope_AL, 1e-6)) + gain_db
    grey = np.clip(level_db / dynamic_range_db + 0.45, 0, 1)
    return np.asarray(grey**gamma, np.float32)
