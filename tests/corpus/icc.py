"""ICC profiles made from formulas: matrices, curves and tables, versions 2 and 4."""

import struct

import numpy as np

D50 = np.array([0.9642, 1.0, 0.8249])
D65 = (0.3127, 0.3290)
BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
ADOBE = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
BT2020 = ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))


def xyz(xy):
    x, y = xy
    return np.array([x / y, 1.0, (1 - x - y) / y])


def to_d50(primaries, white=D65):
    """Linear RGB of these primaries to XYZ under D50 (Bradford)."""
    columns = np.stack([xyz(p) for p in primaries], axis=1)
    matrix = columns * np.linalg.solve(columns, xyz(white))
    cone = (BRADFORD @ D50) / (BRADFORD @ xyz(white))
    return np.linalg.inv(BRADFORD) @ np.diag(cone) @ BRADFORD @ matrix


def srgb_to_light(v):
    v = np.asarray(v, float)
    return np.where(v <= 0.04045, v / 12.92, ((np.maximum(v, 0) + 0.055) / 1.055) ** 2.4)


def light_to_srgb(v):
    v = np.clip(np.asarray(v, float), 0, 1)
    return np.where(v <= 0.0031308, v * 12.92, 1.055 * v ** (1 / 2.4) - 0.055)


def lab_to_xyz(lab):
    fy = (lab[..., 0] + 16) / 116
    f = np.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], axis=-1)
    return np.where(f > 6 / 29, f**3, (f - 4 / 29) * 3 * (6 / 29) ** 2) * D50


def xyz_to_lab(value):
    t = np.asarray(value) / D50
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack(
        [116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1
    )


def s15(values):
    return b"".join(struct.pack(">i", round(v * 65536)) for v in values)


def xyz_tag(value):
    return b"XYZ \0\0\0\0" + s15(value)


def gamma_curve(gamma):
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def sampled_curve(function, count):
    points = np.round(np.clip(function(np.linspace(0, 1, count)), 0, 1) * 65535).astype(int)
    return b"curv\0\0\0\0" + struct.pack(f">I{count}H", count, *points)


def parametric_srgb():
    return b"para\0\0\0\0\0\x03\0\0" + s15([2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045])


def parametric_gamma(gamma):
    return b"para\0\0\0\0\0\0\0\0" + s15([gamma])


def text(version, words):
    if version == 4:
        body = words.encode("utf-16-be")
        return b"mluc\0\0\0\0" + struct.pack(">II", 1, 12) + b"enUS" + struct.pack(">II", len(body), 28) + body
    return b"desc\0\0\0\0" + struct.pack(">I", len(words) + 1) + words.encode() + b"\0" + bytes(78)


def profile(version, space, tags, pcs=b"XYZ ", kind=b"mntr", name="made for a test"):
    tags = {
        b"desc": text(version, name),
        b"cprt": text(4, "public domain") if version == 4 else b"text\0\0\0\0public domain\0",
        b"wtpt": xyz_tag(D50),
        **tags,
    }
    table, data = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for tag, value in tags.items():
        value += bytes(-len(value) % 4)
        table += tag + struct.pack(">II", start + len(data), len(value))
        data += value
    header = struct.pack(">I4sI4s4s4s", 128 + len(table) + len(data), b"\0\0\0\0",
                         0x04300000 if version == 4 else 0x02400000, kind, space, pcs)
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + s15(D50) + bytes(48)
    return header + table + data


def matrix_profile(version, primaries, curve, **rest):
    red, green, blue = to_d50(primaries).T
    tags = {b"rXYZ": xyz_tag(red), b"gXYZ": xyz_tag(green), b"bXYZ": xyz_tag(blue),
            b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    return profile(version, b"RGB ", tags, **rest)


def grey_profile(version, curve, **rest):
    return profile(version, b"GRAY", {b"kTRC": curve}, **rest)


def grid(channels, points):
    axes = np.meshgrid(*[np.linspace(0, 1, points)] * channels, indexing="ij")
    return np.stack(axes, axis=-1).reshape(-1, channels)


def identity16(channels):
    return struct.pack(">2H", 0, 65535) * channels


def lut16(channels, points, to_lab):
    """A2B of version 2 with 16 bits: lightness 100 is 0xff00."""
    lab = to_lab(grid(channels, points))
    scaled = np.stack([lab[:, 0] * 652.8, (lab[:, 1] + 128) * 256, (lab[:, 2] + 128) * 256], axis=-1)
    table = np.clip(np.round(scaled), 0, 65535).astype(">u2").tobytes()
    return (b"mft2\0\0\0\0" + bytes([channels, 3, points, 0]) + s15(np.eye(3).ravel())
            + struct.pack(">2H", 2, 2) + identity16(channels) + table + identity16(3))


def lut8(channels, points, to_lab):
    lab = to_lab(grid(channels, points))
    scaled = np.stack([lab[:, 0] * 2.55, lab[:, 1] + 128, lab[:, 2] + 128], axis=-1)
    table = np.clip(np.round(scaled), 0, 255).astype("u1").tobytes()
    ramp = bytes(range(256))
    return (b"mft1\0\0\0\0" + bytes([channels, 3, points, 0]) + s15(np.eye(3).ravel())
            + ramp * channels + table + ramp * 3)


def lut_mab(channels, points, to_lab):
    """A2B of version 4: curves, a table of 16 bits, curves; lightness 100 is 0xffff."""
    lab = to_lab(grid(channels, points))
    scaled = np.stack([lab[:, 0] * 655.35, (lab[:, 1] + 128) * 257, (lab[:, 2] + 128) * 257], axis=-1)
    table = np.clip(np.round(scaled), 0, 65535).astype(">u2").tobytes()
    line = b"curv\0\0\0\0\0\0\0\0"
    clut = bytes([points] * channels + [0] * (16 - channels)) + b"\x02\0\0\0" + table
    clut += bytes(-len(clut) % 4)
    curves_b, offset_b = line * 3, 32
    offset_clut = offset_b + len(curves_b)
    offset_a = offset_clut + len(clut)
    offsets = struct.pack(">5I", offset_b, 0, 0, offset_clut, offset_a)
    return b"mAB \0\0\0\0" + bytes([channels, 3, 0, 0]) + offsets + curves_b + clut + line * channels


def rgb_to_lab(rgb):
    """A smooth space that has no matrix: P3 colours, a little compressed."""
    light = (0.02 + 0.98 * rgb) ** 2.0
    return xyz_to_lab(light @ to_d50(P3).T)


def cmyk_to_lab(inks):
    """Inks of a press of this test's own: each lets through some of each light, over paper."""
    through = np.array([[0.10, 0.45, 0.75], [0.70, 0.12, 0.30], [0.95, 0.85, 0.10], [0.05, 0.05, 0.05]])
    light = np.prod(1 - inks[:, :, None] * (1 - through[None]), axis=1)
    return xyz_to_lab(light @ to_d50(SRGB).T * 0.9)
