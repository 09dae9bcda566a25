"""Writers of image files that other writers don't make: every field is said here."""

import struct
import zlib

import numpy as np


def pack_bits(rows, bits):
    """Rows of numbers as bytes, the first in the highest bits, each row from a new byte."""
    lines = []
    for row in rows:
        digits = "".join(format(int(v), f"0{bits}b") for v in np.ravel(row))
        digits += "0" * (-len(digits) % 8)
        lines.append(bytes(int(digits[i:i + 8], 2) for i in range(0, len(digits), 8)))
    return lines


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(samples, bits=8, color=None, before=(), after=()):
    """`samples` [height, width, channels]; `before` and `after` the pixels: pairs of a name and bytes."""
    height, width, channels = samples.shape
    color = {1: 0, 2: 4, 3: 2, 4: 6}[channels] if color is None else color
    lines = pack_bits(samples, bits)
    data = zlib.compress(b"".join(b"\0" + line for line in lines), 9)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))]
    chunks += [*before, (b"IDAT", data), *after, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*c) for c in chunks)


def iccp(profile):
    return b"iCCP", b"profile\0\0" + zlib.compress(profile, 9)


def exif(orientation):
    """EXIF with an orientation only, from the TIFF header on."""
    return b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHH", 0x112, 3, 1, orientation, 0) + bytes(4)


def tiff(samples, bits=8, photometric=None, order="<", fields=(), big=False, planar=False, floats=False):
    """One strip, not compressed. `samples` [height, width, channels]; `fields`: tag to (type, values)."""
    height, width, channels = samples.shape
    kind = {(8, False): "u1", (16, False): "u2", (16, True): "f2", (32, True): "f4", (64, True): "f8"}
    def plane(part):
        if bits < 8:
            return b"".join(pack_bits(part, bits))
        return np.ascontiguousarray(part).astype(order + kind[bits, floats]).tobytes()
    parts = [samples[..., c:c + 1] for c in range(channels)] if planar else [samples]
    strips = [plane(part) for part in parts]
    photometric = (1 if channels < 3 else 2) if photometric is None else photometric
    entries = {256: (3, [width]), 257: (3, [height]), 258: (3, [bits] * channels), 259: (3, [1]),
               262: (3, [photometric]), 277: (3, [channels]), 278: (3, [height]),
               279: (4, [len(s) for s in strips]), 284: (3, [2 if planar else 1])}
    if floats:
        entries[339] = (3, [3] * channels)
    entries.update(fields)
    head = 16 if big else 8
    offsets = np.cumsum([head] + [len(s) for s in strips])
    entries[273] = (4, [int(o) for o in offsets[:-1]])
    word, count, slot = ("Q", "Q", 8) if big else ("I", "H", 4)
    at = int(offsets[-1])
    directory, values = struct.pack(order + count, len(entries)), b""
    behind = at + len(directory) + len(entries) * (4 + 2 * slot) + slot
    for tag, (kind_number, numbers) in sorted(entries.items()):
        letter = {1: "B", 2: "B", 3: "H", 4: "I", 7: "B"}[kind_number]
        value = struct.pack(order + f"{len(numbers)}{letter}", *numbers)
        directory += struct.pack(order + "HH" + word, tag, kind_number, len(numbers))
        if len(value) <= slot:
            directory += value.ljust(slot, b"\0")
        else:
            directory += struct.pack(order + word, behind + len(values))
            values += value
    directory += bytes(slot)
    mark = b"II" if order == "<" else b"MM"
    header = mark + (struct.pack(order + "HHHQ", 43, 8, 0, at) if big else struct.pack(order + "HI", 42, at))
    return header + b"".join(strips) + directory + values


def qoi(samples):
    height, width, channels = samples.shape
    mark = b"\xfe" if channels == 3 else b"\xff"
    body = b"".join(mark + bytes(pixel) for pixel in samples.reshape(-1, channels).tolist())
    return b"qoif" + struct.pack(">IIBB", width, height, channels, 0) + body + bytes(7) + b"\x01"


def bmp_with_alpha(samples):
    """Version 4 of the header: 32 bits with masks, rows from the bottom."""
    height, width, _ = samples.shape
    pixels = samples[::-1, :, [2, 1, 0, 3]].astype("u1").tobytes()
    info = struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, len(pixels), 2835, 2835, 0, 0)
    info += struct.pack("<IIII", 0xff0000, 0xff00, 0xff, 0xff000000) + b"BGRs" + bytes(48)
    return b"BM" + struct.pack("<IHHI", 14 + len(info) + len(pixels), 0, 0, 14 + len(info)) + info + pixels


def jpeg_segments(data):
    """The segments before the scan as (marker, whole segment), and all from the scan on."""
    at, segments = 2, []
    while data[at + 1] != 0xda:
        length = struct.unpack(">H", data[at + 2:at + 4])[0]
        segments.append((data[at + 1], data[at:at + 2 + length]))
        at += 2 + length
    return segments, data[at:]


def without_marker(data, marker):
    segments, rest = jpeg_segments(data)
    return data[:2] + b"".join(s for m, s in segments if m != marker) + rest


def with_adobe_transform(data, transform):
    segments, rest = jpeg_segments(data)
    segments = [(m, s[:-1] + bytes([transform]) if m == 0xee else s) for m, s in segments]
    return data[:2] + b"".join(s for _, s in segments) + rest


def hdr(light):
    """Radiance RGBE, not compressed. Returns the file and the light that it holds."""
    height, width, _ = light.shape
    most = light.max(axis=-1)
    exponent = np.where(most > 0, np.floor(np.log2(np.maximum(most, 1e-30))) + 1, -128)
    mantissa = np.clip(np.floor(light / np.exp2(exponent)[..., None] * 256), 0, 255)
    held = mantissa * np.exp2(exponent - 8)[..., None]
    rgbe = np.concatenate([mantissa, exponent[..., None] + 128], axis=-1).astype("u1")
    head = f"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y {height} +X {width}\n".encode()
    return head + rgbe.tobytes(), held
