"""Example images of the report: reconstructions as inline PNG, spectra with the stopped rings as SVG."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from numpy.typing import NDArray
from PIL import Image

from core.errors import DataError
from core.evaluation.arms import arm_label
from core.evaluation.drawing import GRID, STYLE, Drawing, new_figure, plain, to_svg
from core.evaluation.formats import words

# H = W = S image side, F = S // 2 + 1 columns of a real transform

Picture = NDArray[np.floating]
RingMask = NDArray[np.bool_] | NDArray[np.floating]

DIFFERENCE_RANGE = 0.5
"""Brightness difference at which the colour of the difference picture is full; of a range from 0 (black) to 1."""

MOST_SPECTRA = 3
"""Columns of the spectra figure: more would be too small on a phone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One held-out image on its way through the objective, all (S, S) in [0, 1].

    Made of `core.objectives.dual_mim.Reconstruction` for one image, as plain arrays; `ring_mask` is `~stopped_BSF`.
    """

    organ: str
    arm: str
    """The arm whose model reconstructed it."""
    original: Picture
    corrupted: Picture
    """What the encoder saw: rings stopped, then blocks filled."""
    reconstructed: Picture
    filtered: Picture | None = None
    """Rings stopped, blocks still there."""
    ring_mask: RingMask | None = None
    """Passed frequencies in the layout of `rfft2`, (S, S // 2 + 1); None where no ring is stopped."""

    def __post_init__(self) -> None:
        """Check the shapes."""
        side = self.original.shape[0]
        pictures = [self.original, self.corrupted, self.reconstructed]
        pictures += [self.filtered] if self.filtered is not None else []
        if any(picture.shape != (side, side) for picture in pictures):
            raise DataError(f"report: the pictures of example {self.organ} are not all square and of one size")
        if self.ring_mask is not None and self.ring_mask.shape != (side, side // 2 + 1):
            raise DataError(f"report: the ring mask of example {self.organ} is {self.ring_mask.shape}, "
                            f"not {(side, side // 2 + 1)}")  # fmt: skip


def grey_png(picture_HW: Picture) -> str:
    """A `data:` address of a grey PNG; values outside [0, 1] are cut, non-finite ones black."""
    values = np.nan_to_num(np.asarray(picture_HW, np.float64), nan=0.0, posinf=1.0, neginf=0.0)
    return _png(Image.fromarray(np.round(255 * values.clip(0, 1)).astype(np.uint8)))


def difference_png(example: Example) -> str:
    """Reconstruction minus original: orange where too bright, violet where too dark, white where right."""
    difference_HW = np.nan_to_num(np.asarray(example.reconstructed - example.original, np.float64))
    colour_HWC = mpl.colormaps["PuOr_r"](0.5 + 0.5 * (difference_HW / DIFFERENCE_RANGE).clip(-1, 1))
    return colour_png(colour_HWC[..., :3])


def colour_png(colour_HWC: Picture) -> str:
    """A `data:` address of a PNG of red, green and blue (H, W, 3); values outside [0, 1] are cut."""
    return _png(Image.fromarray(np.round(255 * np.asarray(colour_HWC, np.float64).clip(0, 1)).astype(np.uint8)))


def _png(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def centred_passed(ring_mask_SF: RingMask) -> NDArray[np.float64]:
    """The whole plane (S, S) of a real transform's half-plane mask, frequency zero in the middle.

    The spectrum of a real image is symmetric: frequency (-u, -v) passes when (u, v) does.
    """
    side = ring_mask_SF.shape[0]
    u_SS, v_SS = np.indices((side, side))
    mirrored_SS = v_SS > side // 2
    rows = np.where(mirrored_SS, -u_SS % side, u_SS)
    columns = np.where(mirrored_SS, side - v_SS, v_SS)
    return np.fft.fftshift(np.asarray(ring_mask_SF, np.float64)[rows, columns])


@mpl.rc_context(STYLE)
def spectra(examples: Sequence[Example]) -> Drawing | None:
    """Log spectra of the original, of the image with rings stopped (where given) and of the reconstruction."""
    shown = list(examples)[:MOST_SPECTRA]
    if not shown:
        return None
    rows = ["original", "filtered", "reconstructed"]
    rows = [row for row in rows if all(getattr(example, row) is not None for example in shown)]
    figure, axes = new_figure(0.9 + 4.1 * len(rows) / max(len(shown), 2), rows=len(rows), columns=len(shown),
                              sharex=True, sharey=True)  # fmt: skip
    for column, example in enumerate(shown):
        axes[0, column].set_title(plain(words(example.organ)), loc="center")
        for row, name in enumerate(rows):
            image = _spectrum(axes[row, column], getattr(example, name), example.ring_mask)
    for axis, name in zip(axes[:, 0], rows, strict=True):
        axis.set_ylabel("rings stopped" if name == "filtered" else name)
    bar = figure.colorbar(image, ax=axes, shrink=0.7, ticks=[-3, -2, -1, 0, 1], pad=0.02)
    bar.ax.set_yticklabels(["0.001", "0.01", "0.1", "1", "10"])
    bar.outline.set_edgecolor(GRID)
    figure.supxlabel("cycles a pixel", fontsize=11)
    names = ", ".join(f"{words(e.organ)} ({arm_label(e.arm)})" for e in shown)
    data = {(e.organ, row): _magnitude(getattr(e, row)) for e in shown for row in rows}
    data |= {(e.organ, "passed"): centred_passed(e.ring_mask) for e in shown if e.ring_mask is not None}
    return _matrices("spectra", to_svg(figure, alt=f"Log spectra with the stopped rings drawn: {names}."), data)


def _magnitude(picture_HW: Picture) -> NDArray[np.float64]:
    """Magnitude of the orthonormal transform, frequency zero in the middle."""
    values = np.nan_to_num(np.asarray(picture_HW, np.float64))
    return np.asarray(np.abs(np.fft.fftshift(np.fft.fft2(values, norm="ortho"))), np.float64)


def pixels(examples: Sequence[Example], markup: str) -> Drawing | None:
    """What the rows of example pictures show, with the pictures' numbers."""
    pictures = ("original", "filtered", "corrupted", "reconstructed")
    data = {(e.organ, name): getattr(e, name) for e in examples for name in pictures if getattr(e, name) is not None}
    return _matrices("reconstructions", markup, data) if examples else None


def _matrices(name: str, markup: str, data: Mapping[tuple[str, str], Picture]) -> Drawing:
    """A drawing whose data are matrices: a line a row of pixels or frequencies, from the top."""
    side = max(matrix.shape[1] for matrix in data.values())
    rows = [
        (*key, number, *(f"{value:.4g}" for value in line))
        for key, matrix in data.items()
        for number, line in enumerate(np.asarray(matrix, np.float64).tolist())
    ]
    columns = ("organ", "picture", "row", *(f"column_{number}" for number in range(side)))
    return Drawing(name=name, markup=markup, columns=columns, rows=rows)


def _spectrum(axis: Axes, picture_HW: Picture, ring_mask_SF: RingMask | None) -> AxesImage:
    """One panel: the magnitude, the stopped rings outlined and lightly tinted."""
    extent = (-0.5, 0.5, 0.5, -0.5)
    image = axis.imshow(np.log10(np.maximum(_magnitude(picture_HW), 1e-3)), cmap="gray", vmin=-3, vmax=1, extent=extent,
                        interpolation="nearest")  # fmt: skip
    if ring_mask_SF is not None and not np.all(ring_mask_SF):
        stopped_SS = 1 - centred_passed(ring_mask_SF).clip(0, 1)
        tint_SSC = np.full((*stopped_SS.shape, 4), [0.90, 0.62, 0.0, 0.0])
        tint_SSC[..., 3] = 0.22 * stopped_SS
        axis.imshow(tint_SSC, extent=extent, interpolation="nearest")
        axis.contour(stopped_SS, levels=[0.5], colors=["#f0a000"], linewidths=0.7, extent=extent, origin="upper")
    axis.set_xticks([-0.5, 0, 0.5], ["", "0", "½"])
    axis.set_yticks([-0.5, 0, 0.5], ["½", "0", ""])
    axis.grid(visible=False)
    return image
