"""Makes the AVIF files of this folder from formulas, and what libavif decodes from them.

Needs avifenc and avifdec (0.11 made the committed files), Pillow and imagecodecs. `expected.tsv` has a line a file:
name, width, height, bits a sample, channels, orientation as EXIF counts, samples in hexadecimal digits, row by row.

The samples are what avifdec decodes to 16 bits, reduced to the bits of the file. Asked for 8 bits, libavif takes a
short cut through libyuv that is up to 13 levels off its own arithmetic (in 444-limited).
"""

import pathlib
import subprocess
import tempfile

import imagecodecs
import numpy as np
from PIL import Image, ImageCms

HERE = pathlib.Path(__file__).parent


def picture(width, height, channels=3):
    """Slopes in luma, edges in colour, 8 bits a sample."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [
        x * 9 + y * 3,
        y * 11 + 40 * ((x // 5 + y // 4) % 2),
        200 - x * 6 + 50 * ((x // 7) % 2),
        x * 10 + y * 4 + 20,
    ]
    return np.stack([np.clip(p, 0, 255) for p in planes[:channels]], -1).astype(np.uint8)


def by_avifenc(name, image, *arguments):
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "in.png"
        Image.fromarray(image).save(source)
        command = ["avifenc", "-j", "1", "-s", "4", *arguments, source, HERE / f"{name}.avif"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return name


def by_pillow(name, image, **arguments):
    Image.fromarray(image).save(HERE / f"{name}.avif", speed=4, quality=90, max_threads=1, **arguments)
    return name


def with_alpha_of_tiles(name, grid):
    """A grid whose alpha is a grid too, as one whose tiles have each its own."""

    def reference(kind, *ids):
        body = kind + b"".join(number.to_bytes(2, "big") for number in ids)
        return (4 + len(body)).to_bytes(4, "big") + body

    data = (HERE / f"{grid}.avif").read_bytes()
    # Items: 1 to 3 are the grid and its tiles, 4 to 6 the same for alpha.
    before = reference(b"dimg", 4, 2, 5, 6) + reference(b"auxl", 4, 1, 1)
    # To be as long, one of them is said twice.
    after = reference(b"auxl", 5, 1, 2) + reference(b"auxl", 6, 2, 3, 3)
    assert data.count(before) == 1 and len(before) == len(after)
    (HERE / f"{name}.avif").write_bytes(data.replace(before, after))
    return name


def profile():
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def exif(orientation):
    data = Image.Exif()
    data[0x0112] = orientation
    data[0x010F] = "Maker"
    return data


def files():
    color, small, clear = picture(17, 11), picture(11, 7), picture(11, 7, 4)
    quality = ["--min", "4", "--max", "12"]
    for layout, code in [("420", "6"), ("422", "1"), ("444", "9")]:
        for sampled in ["full", "limited"]:
            cicp = ["--cicp", f"1/13/{code}", "-y", layout, "-r", sampled]
            yield by_avifenc(f"{layout}-{sampled}", color, *cicp, *quality)
            for bits in ["10", "12"]:
                name = f"{layout}-{sampled}-{bits}"
                yield by_avifenc(name, small, "-d", bits, *cicp, *quality)
    yield by_avifenc("grey", color, "-y", "400", *quality)
    yield by_avifenc("grey-limited-alpha", clear, "-y", "400", "-r", "limited", *quality)
    yield by_avifenc("identity", color, "--lossless")
    yield by_avifenc("ycgco", color, "--cicp", "1/13/8", "-y", "444", *quality)
    yield by_avifenc("alpha", clear, "-y", "420", *quality)
    yield by_avifenc("alpha-10", clear, "-y", "444", "-d", "10", *quality)
    yield by_avifenc("premultiplied", clear, "-y", "444", "-p", *quality)
    yield by_avifenc("p3", small, "--cicp", "12/13/6", "-y", "444", *quality)
    yield by_avifenc("grid", picture(148, 136) // 3 * 3, "--grid", "2x2", "-y", "420", "--min", "40", "--max", "50")
    two = ["--grid", "2x1", "-y", "420", "--min", "40", "--max", "50"]
    yield by_avifenc("grid-alpha", picture(140, 70, 4), *two)
    yield with_alpha_of_tiles("grid-alpha-of-tiles", "grid-alpha")
    yield by_pillow("profile", small, icc_profile=profile(), exif=exif(1), subsampling="4:4:4")
    for number in range(2, 9):
        yield by_pillow(f"orientation-{number}", small, exif=exif(number), subsampling="4:4:4")
    frames = [Image.fromarray(small[:, ::-1])]
    yield by_pillow("sequence", small, save_all=True, append_images=frames, subsampling="4:4:4")


def expected(name):
    # Alpha of tiles is unknown to libavif 0.11; what 1.4 makes of the two is the same.
    of = name.removesuffix("-of-tiles")
    with tempfile.TemporaryDirectory() as folder:
        decoded = pathlib.Path(folder) / "out.png"
        command = ["avifdec", "-d", "16", "-u", "bilinear", HERE / f"{of}.avif", decoded]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        samples = imagecodecs.png_decode(decoded.read_bytes())
    bits = int(name[-2:]) if name[-3:] in ("-10", "-12") else 8
    samples = np.rint(samples * ((2**bits - 1) / 65535)).astype(np.uint16 if bits > 8 else np.uint8)
    samples = samples.reshape(*samples.shape[:2], -1)
    if name.startswith("grey"):
        samples = samples[..., [0, -1] if name.endswith("alpha") else [0]]
    if name.startswith("grid"):
        # Around the places where tiles meet.
        samples = samples[66:70]
    turn = int(name[-1]) if name.startswith("orientation") else 1
    digits = samples.astype(">u2").tobytes().hex() if bits > 8 else samples.tobytes().hex()
    height, width, channels = samples.shape
    return f"{name}\t{width}\t{height}\t{bits}\t{channels}\t{turn}\t{digits}\n"


if __name__ == "__main__":
    (HERE / "expected.tsv").write_text("".join([expected(name) for name in files()]))
