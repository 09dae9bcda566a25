"""Makes the images of this folder, and `expected.tsv`: the pixels that reading each must give.

Run from any place: `python3 make.py`. What is here was made with Pillow 13.0.0 (littlecms 2.19, libtiff 4.7.2,
libwebp 1.6.0, libjpeg-turbo), numpy 2.4.6 and ImageMagick 6.9.11-60; other versions may give other bytes, and
must give the same expected pixels.

Expected pixels come from formulas wherever one exists: matrices and curves, depths, alpha, orientation. Littlecms
says what tables give, and libjpeg what a JPEG's blocks are. A line of `expected.tsv` is: file, width, height, levels
that a value may be off, notes, RGB in hex, alpha in hex or `-`.
"""

import io
import pathlib
import struct
import subprocess
import tempfile

import numpy as np
from PIL import Image, ImageCms

import files
import icc

HERE = pathlib.Path(__file__).parent
LINES = []
FIRST, IGNORED = "FirstFrameOnly", "ProfileIgnored"


def case(name, data, pixels, within=0, notes=""):
    """A file, and what it must give: [height, width, 3 or 4] in levels of 8 bits, not yet rounded."""
    pixels = np.clip(np.rint(pixels), 0, 255).astype("u1")
    height, width, channels = pixels.shape
    alpha = pixels[..., 3].tobytes().hex() if channels == 4 and (pixels[..., 3] < 255).any() else "-"
    (HERE / name).write_bytes(data)
    LINES.append("\t".join([name, str(width), str(height), str(within), notes or "-",
                            pixels[..., :3].tobytes().hex(), alpha]))


def rgb(height=6, width=8):
    """Colours all over the cube, with greys on the diagonal."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([(x * 36) % 256, (y * 51) % 256, (x * y * 29 + 7 * x) % 256], axis=-1)
    grey = (x == y)[..., None]
    return np.where(grey, (x * 37)[..., None], pixels).astype("u1")


def alpha(height=6, width=8):
    y, x = np.mgrid[0:height, 0:width]
    return ((x * 85 + y * 17) % 256).astype("u1")[..., None]


def grey(height=6, width=8):
    return (np.arange(height * width).reshape(height, width, 1) * 5 % 256).astype("u1")


RGB, ALPHA, GREY = rgb(), alpha(), grey()
RGBA = np.concatenate([RGB, ALPHA], axis=-1)
RGB16 = RGB.astype(int) * 257 + np.arange(3) * 77 - 77 * (RGB > 128)
RGB16 = np.clip(RGB16, 0, 65535)


def shown(pixels):
    """RGB of grey."""
    return np.repeat(pixels, 3, axis=-1)


def from16(values):
    return values * 255 / 65535


def saved(image, kind, **options):
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(np.squeeze(image))).save(file, kind, **options)
    return file.getvalue()


def opened(data):
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def converted(data, *options):
    """What ImageMagick makes of a file."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = f"{folder}/in", f"{folder}/{options[-1]}"
        pathlib.Path(source).write_bytes(data)
        subprocess.run(["convert", source, "-strip", *options[:-1], target], check=True)
        return pathlib.Path(target).read_bytes()


def turned(pixels, orientation):
    """Row 0 and column 0 of the stored image are, from 1 on: top left, top right, bottom right, bottom left, left
    top, right top, right bottom, left bottom (EXIF, tag 0x0112)."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    flip_rows = orientation in (3, 4, 7, 8)
    flip_columns = orientation in (2, 3, 6, 7)
    return pixels[::-1 if flip_rows else 1, ::-1 if flip_columns else 1]


def by_matrix(values, primaries, to_light):
    """sRGB, 0 to 255, of RGB from 0 to 1 with these primaries and this curve."""
    light = to_light(values) @ icc.to_d50(primaries).T
    return 255 * icc.light_to_srgb(light @ np.linalg.inv(icc.to_d50(icc.SRGB)).T)


def by_littlecms(profile, samples, mode, inverted=False):
    """Relative colorimetric, no compensation of the black point."""
    image = Image.fromarray(np.ascontiguousarray(255 - samples if inverted else samples), mode)
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    unoptimised = 0x0100
    transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB", 1, unoptimised)
    return np.asarray(ImageCms.applyTransform(image, transform)).astype(float)


def blocks(channels, side=8):
    """3 x 2 flat blocks: a JPEG of quality 100 keeps them within a level."""
    y, x = np.mgrid[0:2, 0:3]
    levels = np.stack([30 + x * 90, 40 + y * 160, 220 - x * 45 - y * 80, 10 + x * 60 + y * 40], axis=-1)
    return np.kron(levels[..., :channels], np.ones((side, side, 1))).astype("u1")


def orientations():
    jpeg = blocks(3)
    for orientation in range(1, 9):
        exif = files.exif(orientation)
        data = saved(jpeg, "JPEG", quality=100, subsampling=0, exif=b"Exif\0\0" + exif)
        case(f"orientation{orientation}.jpg", data, turned(opened(data), orientation), within=1)
        case(f"orientation{orientation}.png", files.png(RGBA, before=[(b"eXIf", exif)]), turned(RGBA, orientation))
        data = saved(RGBA, "WEBP", lossless=True, exact=True, exif=exif)
        case(f"orientation{orientation}.webp", data, turned(RGBA, orientation))
        case(f"orientation{orientation}.tif", files.tiff(RGB, fields={274: (3, [orientation])}.items()),
             turned(RGB, orientation))
    case("orientation6-behind.png", files.png(RGB, after=[(b"eXIf", files.exif(6))]), turned(RGB, 6))
    data = saved(RGB, "WEBP", lossless=True, exif=b"Exif\0\0" + files.exif(8))
    case("orientation8-prefixed.webp", data, turned(RGB, 8))
    case("orientation9.png", files.png(RGB, before=[(b"eXIf", files.exif(9))]), RGB)


def profiles():
    def put(name, profile, pixels, within=1, samples=RGB, bits=8, notes=""):
        case(name, files.png(samples, bits, before=[files.iccp(profile)]), pixels, within, notes)

    def checked(name, profile, primaries, curve):
        pixels = by_matrix(RGB / 255, primaries, curve)
        off = np.abs(pixels - by_littlecms(profile, RGB, "RGB")).max()
        assert off <= 1.5, (name, off)
        put(name, profile, pixels)

    adobe = 563 / 256
    power = lambda gamma: lambda v: v**gamma
    sampled = icc.sampled_curve(icc.srgb_to_light, 1024)
    p3 = icc.matrix_profile(4, icc.P3, icc.parametric_srgb())
    checked("p3-v4.png", p3, icc.P3, icc.srgb_to_light)
    checked("p3-v2.png", icc.matrix_profile(2, icc.P3, sampled), icc.P3, icc.srgb_to_light)
    adobe_v2 = icc.matrix_profile(2, icc.ADOBE, icc.gamma_curve(adobe))
    checked("adobe-v2.png", adobe_v2, icc.ADOBE, power(adobe))
    lies = icc.matrix_profile(4, icc.ADOBE, icc.parametric_gamma(2.2), name="sRGB IEC61966-2.1")
    checked("adobe-called-srgb.png", lies, icc.ADOBE, power(2.2))
    checked("srgb-primaries-gamma22.png", icc.matrix_profile(4, icc.SRGB, icc.parametric_gamma(2.2)), icc.SRGB,
            power(2.2))

    put("srgb-v2.png", icc.matrix_profile(2, icc.SRGB, sampled), RGB, 0)
    put("srgb-v4.png", icc.matrix_profile(4, icc.SRGB, icc.parametric_srgb()), RGB, 0)
    small = icc.matrix_profile(2, icc.SRGB, icc.sampled_curve(icc.srgb_to_light, 64))
    put("srgb-coarse-curve.png", small, RGB, 0)

    for name, profile, primaries, curve in [
        ("p3-16.png", p3, icc.P3, icc.srgb_to_light),
        ("linear-16.png", icc.matrix_profile(4, icc.SRGB, icc.parametric_gamma(1)), icc.SRGB, power(1)),
    ]:
        put(name, profile, by_matrix(RGB16 / 65535, primaries, curve), 1, RGB16, 16)
    pixels = np.concatenate([by_matrix(RGB / 255, icc.P3, icc.srgb_to_light), ALPHA], axis=-1)
    put("p3-alpha.png", p3, pixels, 1, RGBA)
    put("grey-in-p3.png", p3, shown(GREY), 0, GREY)
    pixels = by_matrix(RGB / 255, icc.P3, icc.srgb_to_light)
    case("p3.webp", saved(RGB, "WEBP", lossless=True, icc_profile=p3), pixels, within=1)
    profile_field = {34675: (7, list(p3))}
    case("p3.tif", files.tiff(RGB, fields=profile_field.items()), pixels, within=1)
    data = saved(blocks(3), "JPEG", quality=100, subsampling=0, icc_profile=adobe_v2)
    case("adobe.jpg", data, by_matrix(opened(data) / 255, icc.ADOBE, power(adobe)), within=1)

    def dot_gain(v):
        """Ink covers more than it should, by up to a fifth in the middle."""
        ink = 1 - v
        return 1 - (ink + 0.8 * ink * (1 - ink))

    for name, profile, to_light in [
        ("grey-gamma18.png", icc.grey_profile(2, icc.gamma_curve(461 / 256)), power(461 / 256)),
        ("grey-gamma22.png", icc.grey_profile(4, icc.parametric_gamma(2.2)), power(2.2)),
        ("grey-dot-gain.png", icc.grey_profile(2, icc.sampled_curve(dot_gain, 256), kind=b"prtr"), dot_gain),
        ("grey-lightness.png", icc.grey_profile(2, icc.gamma_curve(1), pcs=b"Lab "),
         lambda v: icc.lab_to_xyz(np.concatenate([100 * v, 0 * v, 0 * v], axis=-1))[..., 1:2]),
    ]:
        put(name, profile, shown(255 * icc.light_to_srgb(to_light(GREY / 255))), 0, GREY)
    put("grey-srgb.png", icc.grey_profile(4, icc.parametric_srgb()), shown(GREY), 0, GREY)
    data = saved(blocks(1), "JPEG", quality=100, icc_profile=icc.grey_profile(2, icc.gamma_curve(461 / 256)))
    light = power(461 / 256)(opened(data)[..., None] / 255)
    case("grey-gamma18.jpg", data, shown(255 * icc.light_to_srgb(light)), within=1)

    # The reader takes eight points of a table, littlecms four: they differ where few points must do.
    for name, version, lut, points, within in [
        ("table-v2.png", 2, icc.lut16, 17, 1),
        ("table-v4.png", 4, icc.lut_mab, 9, 3),
        ("table-8bit-v2.png", 2, icc.lut8, 17, 2),
    ]:
        profile = icc.profile(version, b"RGB ", {b"A2B0": lut(3, points, icc.rgb_to_lab)}, pcs=b"Lab ")
        put(name, profile, by_littlecms(profile, RGB, "RGB"), within)

    put("profile-cut.png", p3[:200], RGB, 0, notes=IGNORED)
    put("profile-noise.png", bytes(range(256)) * 2, RGB, 0, notes=IGNORED)
    put("profile-of-grey.png", icc.grey_profile(4, icc.parametric_gamma(2.2)), RGB, 0, notes=IGNORED)


def inks():
    profile = icc.profile(2, b"CMYK", {b"A2B0": icc.lut16(4, 7, icc.cmyk_to_lab)}, pcs=b"Lab ", kind=b"prtr")
    def without(cmyk):
        light = 1 - cmyk / 255
        return 255 * light[..., :3] * light[..., 3:]

    data = saved(Image.fromarray(blocks(4), "CMYK"), "JPEG", quality=100, subsampling=0)
    case("cmyk.jpg", data, without(opened(data)), within=1)
    case("cmyk-no-adobe.jpg", files.without_marker(data, 0xee), without(opened(data)), within=1)
    data = saved(Image.fromarray(blocks(4), "CMYK"), "JPEG", quality=100, subsampling=0, icc_profile=profile)
    case("cmyk-profile.jpg", data, by_littlecms(profile, opened(data), "CMYK"), within=1)

    # Four channels stored as they are, then declared to be luma and chromas: the complement of the inks.
    cmyk = blocks(4)
    ycc = np.asarray(Image.fromarray(cmyk[..., :3], "RGB").convert("YCbCr"))
    stored = np.concatenate([255 - ycc, cmyk[..., 3:]], axis=-1)
    data = saved(Image.fromarray(stored, "CMYK"), "JPEG", quality=100, subsampling=0)
    data = files.with_adobe_transform(data, 2)
    assert np.abs(opened(data).astype(int) - cmyk).max() <= 3
    case("ycck.jpg", data, without(opened(data)), within=2)

    few = blocks(4, side=2)
    case("cmyk.tif", files.tiff(few, photometric=5), without(few))
    fields = {34675: (7, list(profile))}.items()
    data = files.tiff(few, photometric=5, fields=fields)
    case("cmyk-profile.tif", data, by_littlecms(profile, few, "CMYK"), within=1)
    case("cmyk16.tif", files.tiff(few.astype(int) * 257, 16, photometric=5), without(few))


def png_colors():
    def put(name, chunks, pixels, within=1, samples=RGB, bits=8, notes=""):
        case(name, files.png(samples, bits, before=chunks), pixels, within, notes)

    values = RGB / 255
    srgb, p3 = icc.srgb_to_light, icc.P3
    number = lambda *numbers: b"".join(struct.pack(">I", round(n * 100000)) for n in numbers)
    def chrm(primaries, white=icc.D65):
        return b"cHRM", number(*white, *primaries[0], *primaries[1], *primaries[2])
    cicp = lambda primaries, transfer: (b"cICP", bytes([primaries, transfer, 0, 1]))
    profile = files.iccp(icc.matrix_profile(4, icc.ADOBE, icc.parametric_gamma(2.2)))
    put("cicp-p3.png", [cicp(12, 13)], by_matrix(values, p3, srgb))
    put("cicp-srgb.png", [cicp(1, 13)], RGB, 0)
    put("cicp-over-profile.png", [cicp(12, 13), profile], by_matrix(values, p3, srgb))
    put("cicp-2020-linear-16.png", [cicp(9, 8)], by_matrix(RGB16 / 65535, icc.BT2020, lambda v: v), 1, RGB16, 16)
    put("cicp-unknown.png", [cicp(200, 13)], RGB, 0, notes=IGNORED)

    def quantizer(v):
        root = v ** (1 / 78.84375)
        light = (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)
        return np.clip(10000 / 203 * light, 0, 1)
    put("cicp-pq-16.png", [cicp(9, 16)], by_matrix(RGB16 / 65535, icc.BT2020, quantizer), 1, RGB16, 16)

    put("profile-over-srgb.png", [profile, (b"gAMA", number(0.45455))], by_matrix(values, icc.ADOBE, lambda v: v**2.2))
    put("srgb-over-gamma.png", [(b"sRGB", b"\0"), (b"gAMA", number(1)), chrm(p3)], RGB, 0)
    put("gamma-of-srgb.png", [(b"gAMA", number(0.45455))], RGB, 0)
    put("gamma-and-primaries-of-srgb.png", [(b"gAMA", number(0.45455)), chrm(icc.SRGB)], RGB, 0)
    put("gamma-linear.png", [(b"gAMA", number(1))], by_matrix(values, icc.SRGB, lambda v: v))
    put("gamma-18.png", [(b"gAMA", number(0.55556))], by_matrix(values, icc.SRGB, lambda v: v ** (1 / 0.55556)))
    put("gamma-grey.png", [(b"gAMA", number(1))], shown(255 * icc.light_to_srgb(GREY / 255)), 1, GREY)
    put("primaries-p3.png", [chrm(p3)], by_matrix(values, p3, srgb))
    put("gamma-and-primaries.png", [(b"gAMA", number(0.5)), chrm(icc.ADOBE)],
        by_matrix(values, icc.ADOBE, lambda v: v**2))
    put("gamma-zero.png", [(b"gAMA", number(0))], RGB, 0)
    put("primaries-of-nothing.png", [(b"cHRM", bytes(32))], RGB, 0, notes=IGNORED)


def depths():
    for bits in (1, 2, 4):
        full = 2**bits - 1
        levels = GREY.astype(int) // 5 % (full + 1)
        case(f"grey{bits}.png", files.png(levels, bits), shown(levels * 255 / full))
        case(f"grey{bits}.tif", files.tiff(levels, bits), shown(levels * 255 / full))
        case(f"grey{bits}-inverted.tif", files.tiff(levels, bits, photometric=0), shown(255 - levels * 255 / full))
        palette = RGB.reshape(-1, 3)[:full + 1] if bits < 4 else RGB.reshape(-1, 3)[:16]
        chunk = (b"PLTE", palette.tobytes())
        case(f"palette{bits}.png", files.png(levels, bits, 3, [chunk]), palette[levels[..., 0]])
        map_field = {320: (3, (palette.T.astype(int) * 257).ravel().tolist())}.items()
        case(f"palette{bits}.tif", files.tiff(levels, bits, 3, fields=map_field), palette[levels[..., 0]])
        key = (b"tRNS", struct.pack(">H", full))
        alphas = np.where(levels == full, 0, 255)
        case(f"grey{bits}-key.png", files.png(levels, bits, before=[key]),
             np.concatenate([shown(levels * 255 / full), alphas], axis=-1))
    palette = np.concatenate([RGB.reshape(-1, 3)] * 6)[:256]
    indexes = (np.arange(48) * 5 % 256).reshape(6, 8, 1)
    clear = bytes(range(0, 250, 5))
    alphas = np.array(list(clear) + [255] * 206)
    colors = palette[indexes[..., 0]]
    case("palette8-alpha.png", files.png(indexes, 8, 3, [(b"PLTE", palette.tobytes()), (b"tRNS", clear)]),
         np.concatenate([colors, alphas[indexes]], axis=-1))
    for name, scale, order in [("257", 257, "<"), ("256", 256, ">"), ("1", 1, "<")]:
        map_field = {320: (3, (palette.T.astype(int) * scale).ravel().tolist())}.items()
        case(f"palette8-times{name}.tif", files.tiff(indexes, 8, 3, order, map_field), colors)

    case("rgb8.png", files.png(RGB), RGB)
    case("rgb16.png", files.png(RGB16, 16), from16(RGB16))
    case("rgba16.png", files.png(np.concatenate([RGB16, ALPHA.astype(int) * 256], axis=-1), 16),
         from16(np.concatenate([RGB16, ALPHA.astype(int) * 256], axis=-1)))
    grey16 = np.arange(48).reshape(6, 8, 1) * 1390
    case("grey16.png", files.png(grey16, 16), shown(from16(grey16)))
    both = np.concatenate([grey16, grey16[::-1]], axis=-1)
    case("grey16-alpha.png", files.png(both, 16), from16(both[..., [0, 0, 0, 1]]))
    key = RGB16[2, 3]
    alphas = np.where((RGB16 == key).all(axis=-1, keepdims=True), 0, 65535)
    case("rgb16-key.png", files.png(RGB16, 16, before=[(b"tRNS", struct.pack(">3H", *key))]),
         from16(np.concatenate([RGB16, alphas], axis=-1)))
    for name, kind, pixels in [("rgb8", "PNG24", RGB), ("rgba8", "PNG32", RGBA)]:
        interlaced = converted(files.png(pixels), "-interlace", "PNG", f"{kind}:out.png".split(":")[1])
        case(f"{name}-interlaced.png", interlaced, pixels)

    for order, name in (("<", "little"), (">", "big")):
        case(f"rgb16-{name}.tif", files.tiff(RGB16, 16, order=order), from16(RGB16))
        values = RGB / 255 * 1.3 - 0.1
        values[0, 0] = [np.nan, np.inf, -np.inf]
        case(f"rgb-float-{name}.tif", files.tiff(values.astype("f4"), 32, order=order, floats=True),
             255 * np.clip(np.nan_to_num(values.astype("f4").astype(float), posinf=1), 0, 1))
    case("grey-float.tif", files.tiff((GREY / 255).astype("f4"), 32, floats=True), shown(GREY))
    case("grey-float16.tif", files.tiff((GREY / 255).astype("f2"), 16, floats=True),
         shown((GREY / 255).astype("f2").astype("f4") * 255))
    case("grey-float64.tif", files.tiff(GREY / 255, 64, floats=True), shown(GREY))
    case("grey16.tif", files.tiff(grey16, 16), shown(from16(grey16)))
    case("grey16-inverted.tif", files.tiff(grey16, 16, photometric=0), shown(255 - from16(grey16)))


def tiffs():
    straight, associated = {338: (3, [2])}.items(), {338: (3, [1])}.items()
    times = np.concatenate([np.rint(RGB * (ALPHA / 255)), ALPHA], axis=-1)
    divided = np.where(ALPHA > 0, np.minimum(times[..., :3] * 255 / np.maximum(ALPHA, 1), 255), 0)
    case("rgba.tif", files.tiff(RGBA, fields=straight), RGBA)
    data = files.tiff(times, fields=associated)
    case("rgba-associated.tif", data, np.concatenate([divided, ALPHA], axis=-1), within=1)
    wide = RGB16 / 65535 * (ALPHA / 255)
    wide = np.concatenate([np.rint(wide * 65535), ALPHA.astype(int) * 257], axis=-1)
    divided = np.where(ALPHA > 0, wide[..., :3] * 255 / np.maximum(wide[..., 3:], 1), 0)
    case("rgba16-associated.tif", files.tiff(wide, 16, fields=associated), np.concatenate([divided, ALPHA], axis=-1))
    both = np.concatenate([GREY, ALPHA], axis=-1)
    case("grey-alpha.tif", files.tiff(both, fields=straight), both[..., [0, 0, 0, 1]])
    other = {338: (3, [0])}.items()
    case("grey-and-other.tif", files.tiff(both, fields=other), shown(GREY))
    case("rgb-planes.tif", files.tiff(RGB, planar=True), RGB)
    case("rgba-planes16.tif", files.tiff(RGBA.astype(int) * 257, 16, planar=True, fields=straight), RGBA)
    case("rgb-big.tif", files.tiff(RGB, big=True), RGB)
    case("rgb-big-be.tif", files.tiff(RGB, big=True, order=">", fields={274: (3, [6])}.items()), turned(RGB, 6))
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
        case(f"rgb-{compression}.tif", saved(RGB, "TIFF", compression=compression), RGB)
    fax = np.repeat(GREY > 120, 2, axis=1)
    data = saved(Image.fromarray(fax[..., 0]), "TIFF", compression="group4")
    case("fax.tif", data, shown(fax * 255))
    data = saved(blocks(3), "TIFF", compression="jpeg", quality=100)
    case("jpeg.tif", data, opened(data), within=2)
    pages = io.BytesIO()
    Image.fromarray(RGB).save(pages, "TIFF", save_all=True, append_images=[Image.fromarray(255 - RGB)])
    case("two-pages.tif", pages.getvalue(), RGB, notes=FIRST)


def others():
    case("rgba.webp", saved(RGBA, "WEBP", lossless=True, exact=True), RGBA)
    case("rgb.webp", saved(RGB, "WEBP", lossless=True), RGB)
    case("rgb.bmp", saved(RGB, "BMP"), RGB)
    case("rgba.bmp", files.bmp_with_alpha(RGBA), RGBA)
    case("grey.bmp", saved(GREY, "BMP"), shown(GREY))
    case("one-bit.bmp", saved(Image.fromarray(GREY[..., 0] > 120), "BMP"), shown((GREY > 120) * 255))
    case("rgb.qoi", files.qoi(RGB), RGB)
    case("rgba.qoi", files.qoi(RGBA), RGBA)
    for name, options in [("rgb", {}), ("rgb-rle", {"compression": "tga_rle"}), ("rgb-top", {"orientation": 1})]:
        case(f"{name}.tga", saved(RGB, "TGA", **options), RGB)
    case("rgba.tga", saved(RGBA, "TGA"), RGBA)
    case("grey.tga", saved(GREY, "TGA"), shown(GREY))

    words = lambda values: " ".join(map(str, np.ravel(values).tolist())).encode()
    bit = (GREY > 120).astype(int)
    case("ascii.pbm", b"P1\n8 6\n" + words(1 - bit), shown(bit * 255))
    case("packed.pbm", b"P4\n8 6\n" + b"".join(files.pack_bits(1 - bit, 1)), shown(bit * 255))
    few = GREY.astype(int) % 16
    case("ascii-of-15.pgm", b"P2\n# a comment\n8 6\n15\n" + words(few), shown(few * 17))
    case("ascii.ppm", b"P3\n8 6 255\n" + words(RGB), RGB)
    case("grey.pgm", b"P5\n8 6 255\n" + GREY.tobytes(), shown(GREY))
    few = GREY.astype(int) % 101
    data = b"P5\n8 6 100\n" + few.astype("u1").tobytes()
    # The reader rounds halves up here.
    case("of-100.pgm", data, shown(few * 255 / 100), within=1)
    case("rgb16.ppm", b"P6\n8 6 65535\n" + RGB16.astype(">u2").tobytes(), from16(RGB16))
    head = b"P7\nWIDTH 8\nHEIGHT 6\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n"
    case("rgba.pam", head + RGBA.tobytes(), RGBA)

    still = Image.fromarray(RGB).quantize(48)
    case("still.gif", saved(still, "GIF"), np.asarray(still.convert("RGB")))
    clear = np.where(GREY[..., 0] < 60, 0, GREY[..., 0])
    data = saved(Image.fromarray(clear), "GIF", transparency=0)
    alphas = np.where(clear == 0, 0, 255)[..., None]
    case("clear.gif", data, np.concatenate([shown(clear[..., None]) * (alphas > 0), alphas], axis=-1))

    small = Image.fromarray(RGB[:3, :4]).quantize(12)
    data = bytearray(saved(small, "GIF"))
    at = data.index(b"\x2c")
    data[6:10], data[at + 1:at + 5] = struct.pack("<HH", 8, 6), struct.pack("<HH", 2, 1)
    canvas = np.zeros((6, 8, 4))
    canvas[1:4, 2:6] = np.asarray(small.convert("RGBA"))
    case("first-frame-inside.gif", bytes(data), canvas)

    frames = [Image.fromarray(RGBA), Image.fromarray(255 - RGBA)]
    rest = dict(save_all=True, append_images=frames[1:], duration=100)
    case("moving.webp", saved(frames[0], "WEBP", lossless=True, exact=True, **rest), RGBA, notes=FIRST)
    case("moving.png", saved(frames[0], "PNG", **rest), RGBA, notes=FIRST)
    opaque = [Image.fromarray(RGB).quantize(48), Image.fromarray(255 - RGB).quantize(48)]
    data = saved(opaque[0], "GIF", save_all=True, append_images=opaque[1:])
    case("moving.gif", data, np.asarray(opaque[0].convert("RGB")), notes=FIRST)
    data, light = files.hdr(icc.srgb_to_light(RGB / 255) * 1.2)
    case("light.hdr", data, 255 * icc.light_to_srgb(light), within=1)


def jpegs():
    for name, options in [("rgb", {}), ("progressive", {"progressive": True}), ("no-ycc", {"keep_rgb": True}),
                          ("restarts", {"restart_marker_blocks": 2})]:
        data = saved(blocks(3), "JPEG", quality=100, subsampling=0, **options)
        case(f"{name}.jpg", data, opened(data), within=1)
    data = saved(blocks(3, 16), "JPEG", quality=100, subsampling=2)
    case("half-chroma.jpg", data, opened(data), within=2)
    data = saved(blocks(1), "JPEG", quality=100)
    case("grey.jpg", data, shown(opened(data)[..., None]), within=1)
    data = saved(blocks(3), "JPEG", quality=100, subsampling=0)
    case("rgb-and-more.jpg", data + b"\0\0trailing bytes\xff\xd8", opened(data), within=1)


def main():
    for old in HERE.iterdir():
        if old.suffix not in (".py", "") and old.is_file():
            old.unlink()
    for make in (orientations, profiles, inks, png_colors, depths, tiffs, others, jpegs):
        make()
    (HERE / "expected.tsv").write_text("\n".join(LINES) + "\n")


if __name__ == "__main__":
    main()
