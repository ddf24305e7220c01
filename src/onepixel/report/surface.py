"""One channel of a signature as a surface (ECCV 2020, Fig. 5)."""

from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator
from scipy.ndimage import distance_transform_edt

from onepixel.report.figures import INK
from onepixel.report.scale import Array, Scale, value_range


def surface_grid(channel: Array) -> tuple[Array, Array, Array]:
    """Columns x, rows y and heights z of a channel (H, W) as a surface.

    Rows and columns that were never visited are left out, so that a stride's gaps are bridged; a pixel that is still
    missing stands as high as the nearest visited one. A single row or column becomes a strip one pixel wide.
    """
    visited = np.isfinite(channel)
    rows, columns = np.flatnonzero(visited.any(axis=1)), np.flatnonzero(visited.any(axis=0))
    nearest = distance_transform_edt(~visited, return_distances=False, return_indices=True)
    z = channel[tuple(nearest)][np.ix_(rows, columns)]
    x, y = columns.astype(float), rows.astype(float)
    if len(y) == 1:
        y, z = np.array([y[0] - 0.5, y[0] + 0.5]), np.repeat(z, 2, axis=0)
    if len(x) == 1:
        x, z = np.array([x[0] - 0.5, x[0] + 0.5]), np.repeat(z, 2, axis=1)
    return x, y, z


def coarser(x: Array, y: Array, z: Array, most: int) -> tuple[Array, Array, Array]:
    """A surface on a grid of at most `most` points, or as it is where it has no more.

    Neighbouring points become one that stands as far from the channel's median as the farthest of them, so that a
    lone peak keeps its height.

    Parameters
    ----------
    x, y : array of shape (columns,), (rows,)
    z : array of shape (rows, columns)
    most : int
        At least 4.
    """
    step = 1
    while -(-len(y) // step) * -(-len(x) // step) > most:
        step += 1
    if step == 1:
        return x, y, z
    middle = np.median(z)
    padded = np.pad(z - middle, [(0, -len(axis) % step) for axis in (y, x)])
    rows, columns = padded.shape[0] // step, padded.shape[1] // step
    blocks = padded.reshape(rows, step, columns, step).swapaxes(1, 2).reshape(rows, columns, step * step)
    farthest = np.abs(blocks).argmax(axis=2)[..., None]
    heights = np.take_along_axis(blocks, farthest, axis=2)[..., 0] + middle
    return np.linspace(x[0], x[-1], columns), np.linspace(y[0], y[-1], rows), heights


def draw_surface(axes: Any, values: Array, k: int, scale: Scale, pixel: tuple[int, int]) -> None:
    """Channel k of values (K, H, W) as a surface on 3-D axes, the pixel marked (ECCV 2020, Fig. 5, first row).

    Heights run from the lowest to the highest value of all channels, so that surfaces of one model can be compared.
    """
    x, y, z = surface_grid(values[k])
    columns, rows = np.meshgrid(x, y)
    axes.computed_zorder = False
    look = {"cmap": scale.colours, "vmin": scale.low, "vmax": scale.high, "rstride": 1, "cstride": 1}
    surface = axes.plot_surface(columns, rows, z, linewidth=0.15, **look)
    if z.size <= 64 * 64:  # on a finer grid the lines would hide the colours
        surface.set_edgecolor((0, 0, 0, 0.25))
    row, column = pixel
    top = values[k, row, column]
    if np.isfinite(top):
        axes.plot([column], [row], [top], "o", markersize=8, color="white", markeredgecolor=INK, mew=1.6, zorder=5)
    low, high = value_range(values)
    axes.set(xlabel="column", ylabel="row", zlim=(low, high))
    axes.invert_yaxis()
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, integer=True))
    axes.view_init(elev=32, azim=-60)
    axes.tick_params(labelsize=8, pad=0)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.pane.set(facecolor="#f6f6f6", edgecolor="#dddddd")
