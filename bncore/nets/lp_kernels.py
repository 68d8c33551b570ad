"""The Triton kernels of `bncore.nets.lp_fused`.

y and grad point to [rows, channels], the other inputs to one number per channel. A program holds `tile_rows` times
`tile_channels` values; a summing program goes down a slab of rows and writes its part of out,
[slabs, 3, channels].
"""

import triton
import triton.language as tl


@triton.jit
def power(x, exponent):
    """x^exponent for x >= 0 and exponent > 0; on a GPU, exp2 in float32 is within 2^-22 of it."""
    return tl.exp2(exponent * tl.log2(x))


@triton.jit
def write(out, channels, channel, one, other, third):
    """Write a slab's three numbers for each of these channels."""
    out += tl.program_id(0) * 3 * channels + channel
    tl.store(out, one, channel < channels)
    tl.store(out + channels, other, channel < channels)
    tl.store(out + 2 * channels, third, channel < channels)


@triton.jit
def statistics(
    y, out, rows, channels, slab, p: tl.constexpr, tile_rows: tl.constexpr, tile_channels: tl.constexpr
):
    """For each slab and channel: sum of y, max|y|, sum of |y|^p (in units of max|y|^p unless p is 1 or 2)."""
    channel = tl.program_id(1) * tile_channels + tl.arange(0, tile_channels)
    first = tl.program_id(0) * slab
    last = tl.minimum(first + slab, rows)
    total = tl.zeros([tile_channels], y.dtype.element_ty)
    largest = tl.zeros([tile_channels], y.dtype.element_ty)
    moment = tl.zeros([tile_channels], y.dtype.element_ty)
    for start in range(first, last, tile_rows):
        row = (start + tl.arange(0, tile_rows)).to(tl.int64)
        inside = (row < last)[:, None] & (channel < channels)[None, :]
        value = tl.load(y + row[:, None] * channels + channel[None, :], inside, 0.0)
        size = tl.abs(value)
        total += tl.sum(value, 0)
        if p == 1.0:
            moment += tl.sum(size, 0)
        elif p == 2.0:
            moment += tl.sum(size * size, 0)
        else:
            before = largest
            largest = tl.maximum(largest, tl.max(size, 0))
            if p != float("inf"):
                unit = tl.where(largest > 0, largest, 1.0)
                moment = moment * power(before / unit, p) + tl.sum(power(size / unit[None, :], p), 0)
    write(out, channels, channel, total, largest, moment)


@triton.jit
def sums(
    y,
    grad,
    mean,
    scale,
    out,
    rows,
    channels,
    slab,
    p: tl.constexpr,
    tile_rows: tl.constexpr,
    tile_channels: tl.constexpr,
):
    """For each slab and channel: sum of grad, sum of grad * (y - mean) and, for p = inf, number of maxima."""
    channel = tl.program_id(1) * tile_channels + tl.arange(0, tile_channels)
    first = tl.program_id(0) * slab
    last = tl.minimum(first + slab, rows)
    middle = tl.load(mean + channel, channel < channels, 0.0)
    length = tl.load(scale + channel, channel < channels, 1.0)
    total = tl.zeros([tile_channels], y.dtype.element_ty)
    product = tl.zeros([tile_channels], y.dtype.element_ty)
    maxima = tl.zeros([tile_channels], y.dtype.element_ty)
    for start in range(first, last, tile_rows):
        row = (start + tl.arange(0, tile_rows)).to(tl.int64)
        inside = (row < last)[:, None] & (channel < channels)[None, :]
        offset = row[:, None] * channels + channel[None, :]
        value = tl.load(y + offset, inside, 0.0)
        given = tl.load(grad + offset, inside, 0.0)
        total += tl.sum(given, 0)
        product += tl.sum(given * (value - middle[None, :]), 0)
        if p == float("inf"):
            maxima += tl.sum((tl.abs(value) == length[None, :]).to(value.dtype), 0)
    write(out, channels, channel, total, product, maxima)


@triton.jit
def gradient(
    y,
    grad,
    scale,
    factor,
    shift,
    share,
    out,
    rows,
    channels,
    p: tl.constexpr,
    tile_rows: tl.constexpr,
    tile_channels: tl.constexpr,
):
    """factor * grad + shift + share * slope for every value, with the slope of `bncore.nets.lp`."""
    channel = tl.program_id(1) * tile_channels + tl.arange(0, tile_channels)
    valid = channel < channels
    row = tl.program_id(0).to(tl.int64) * tile_rows + tl.arange(0, tile_rows)
    inside = (row < rows)[:, None] & valid[None, :]
    offset = row[:, None] * channels + channel[None, :]
    value = tl.load(y + offset, inside, 0.0)
    length = tl.load(scale + channel, valid, 1.0)[None, :]
    if p == 1.0:
        slope = (value > 0).to(value.dtype) - (value < 0).to(value.dtype)
    elif p == 2.0:
        slope = value
    elif p == float("inf"):
        slope = tl.where(tl.abs(value) == length, value, 0.0)
    else:
        size = power(tl.abs(value) / length, p - 1.0)
        slope = tl.where(value < 0, -size, size)
    result = tl.load(factor + channel, valid, 0.0)[None, :] * tl.load(grad + offset, inside, 0.0)
    result += (
        tl.load(shift + channel, valid, 0.0)[None, :] + tl.load(share + channel, valid, 0.0)[None, :] * slope
    )
    tl.store(out + offset, result, inside)
