"""What latentdb exports is read by numpy, safetensors and webdataset, and what those write is imported.

Usage: check.py LATENTDB WORK. Invariant: every value is compared, bit by bit, with what `get --latent` gives of the same
record; the first difference ends the run with an error. WORK is made anew.
"""

import io
import json
import pathlib
import shutil
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import safetensors
import safetensors.numpy
import webdataset

SPACES = {
    # name: channels, scaling factor, shift factor, whether its trainer in sd-scripts looks for keys with a size
    "sd-v1": (4, 0.18215, 0.0, False),
    "sdxl": (4, 0.13025, 0.0, False),
    "sd3": (16, 1.5305, 0.0609, True),
    "flux1": (16, 0.3611, 0.1159, True),
}
IDS = ["cat", "photos/2026.11/a cat.v2.jpg", "photos/..", "été", "x.npy/b"]
RATIO = 8

checks = 0


def check(what, condition):
    global checks
    checks += 1
    if not condition:
        sys.exit(f"error: {what}")


def same(what, a, b):
    check(f"{what}: {a.dtype} {a.shape} and {b.dtype} {b.shape}", a.shape == b.shape and a.dtype == b.dtype)
    check(f"{what}: values differ", a.tobytes() == b.tobytes())


class Program:
    def __init__(self, path, work):
        self.path, self.work = path, work

    def run(self, store, *arguments, expect=0):
        command = [self.path, "--db", self.work / store, *arguments]
        done = subprocess.run(command, capture_output=True)
        if done.returncode != expect:
            sys.exit(f"error: {arguments} ended with {done.returncode}: {done.stderr.decode()}")
        return done.stdout

    def latent(self, store, id):
        return np.load(io.BytesIO(self.run(store, "get", id, "--latent", "--format", "npy")))

    def info(self, store, id):
        return json.loads(self.run(store, "info", id, "--json"))

    def ids(self, store):
        return self.run(store, "ls").decode().splitlines()


def fill(program, work):
    """A store of records of every latent space, some with alpha, at sizes that do and don't fill their cells."""
    random = np.random.default_rng(1)
    expected = {}
    for space, (channels, *_) in SPACES.items():
        for at, (width, height) in enumerate([(64, 48), (100, 61), (8, 8), (40, 96), (17, 9)]):
            id = f"{space}/{IDS[at]}"
            shape = (channels, -(-height // RATIO), -(-width // RATIO))
            latent = random.normal(0, 3, shape).astype(np.float16)
            # Scaling with a shift loses the sign of a zero.
            latent[0, 0, 0] = 0.0 if space == "flux1" else -0.0
            latent[0, 0, -1] = 6e-8
            tensors = {"latent": latent}
            if at % 2:
                tensors["alpha"] = random.integers(0, 256, (height, width), dtype=np.uint8)
            metadata = {"latent_space": space, "encoder": "made-up", "width": str(width), "height": str(height)}
            safetensors.numpy.save_file(tensors, work / "in.safetensors", metadata)
            program.run("store", "put", id, "--latent", work / "in.safetensors", "--tag", f"at={at}")
            same(f"get --latent of {id}", program.latent("store", id), latent)
            expected[id] = (space, width, height, latent, tensors.get("alpha"))
    return expected


def file_names(expected, ending):
    """The percent-encoded names that the documentation promises for these ids."""
    special = {
        "photos/2026.11/a cat.v2.jpg": "photos/2026.11/a%20cat.v2.jpg",
        "photos/..": "photos/%2E%2E",
        "été": "%C3%A9t%C3%A9",
        "x.npy/b": "x%2Enpy/b",
    }
    for id in expected:
        space, rest = id.split("/", 1)
        yield id, f"{space}/{special.get(rest, rest)}.{ending}"


def safetensors_files(program, work, expected):
    program.run("store", "export", "--format", "safetensors", "-o", work / "safetensors")
    for id, name in file_names(expected, "safetensors"):
        space, width, height, latent, alpha = expected[id]
        with safetensors.safe_open(work / "safetensors" / name, "np") as file:
            same(name, file.get_tensor("latent"), latent)
            metadata = {"latent_space": space, "encoder": "made-up", "width": str(width), "height": str(height)}
            check(f"metadata of {name}", file.metadata() == metadata)
            check(f"alpha of {name}", ("alpha" in file.keys()) == (alpha is not None))
            if alpha is not None:
                same(f"alpha of {name}", file.get_tensor("alpha"), alpha)


def npy_files(program, work, expected):
    program.run("store", "export", "--format", "npy", "-o", work / "npy")
    for id, name in file_names(expected, "npy"):
        same(name, np.load(work / "npy" / name), expected[id][3])


def is_disk_cached_latents_expected(npz_path, bucket_reso, alpha_mask, multi_resolution):
    """What sd-scripts check of a cached file before they use it (LatentsCachingStrategy)."""
    size = (bucket_reso[1] // RATIO, bucket_reso[0] // RATIO)
    suffix = f"_{size[0]}x{size[1]}" if multi_resolution else ""
    npz = np.load(npz_path)
    return "latents" + suffix in npz and (not alpha_mask or "alpha_mask" + suffix in npz)


def load_latents_from_disk(npz_path, bucket_reso, multi_resolution):
    """How sd-scripts load a cached file (LatentsCachingStrategy)."""
    size = (bucket_reso[1] // RATIO, bucket_reso[0] // RATIO)
    suffix = f"_{size[0]}x{size[1]}" if multi_resolution else ""
    npz = np.load(npz_path)
    alpha_mask = npz["alpha_mask" + suffix] if "alpha_mask" + suffix in npz else None
    return npz["latents" + suffix], npz["original_size" + suffix].tolist(), npz["crop_ltrb" + suffix].tolist(), alpha_mask


def npz_files(program, work, expected):
    program.run("store", "export", "--format", "npz", "-o", work / "npz")
    for id, name in file_names(expected, "npz"):
        space, width, height, latent, alpha = expected[id]
        _, scaling, shift, multi_resolution = SPACES[space]
        path = work / "npz" / name
        bucket = (latent.shape[2] * RATIO, latent.shape[1] * RATIO)
        # Every file has the keys with a size; those that trainers of SD and SDXL look for, too.
        for suffixed in {True, multi_resolution}:
            has = is_disk_cached_latents_expected(path, bucket, alpha is not None, suffixed)
            check(f"keys of {name}", has)
            values, original_size, crop_ltrb, mask = load_latents_from_disk(path, bucket, suffixed)
            # The trainer of FLUX keeps what its autoencoder gives, which is scaled.
            if space == "flux1":
                wanted = ((latent.astype(np.float64) - shift) * scaling).astype(np.float32)
            else:
                wanted = latent.astype(np.float32)
            same(name, values, wanted)
            check(f"size in {name}", original_size == [width, height])
            check(f"crop in {name}", crop_ltrb == [0, 0, width, height])
            check(f"alpha of {name}", (mask is None) == (alpha is None))
            if alpha is not None:
                same(f"alpha of {name}", mask, alpha.astype(np.float32) / np.float32(255))
        with zipfile.ZipFile(path) as zip:
            check(f"checksums of {name}", zip.testzip() is None)


def shards(program, work, expected):
    program.run("store", "export", "--format", "wds", "-o", work / "all.tar")
    program.run("store", "export", "--format", "wds", "--shard-records", "6", "-o", work / "part.tar")
    parts = sorted(path.name for path in work.glob("part-*.tar"))
    check("names of shards", parts == [f"part-{n:06}.tar" for n in range(4)])
    for url in [str(work / "all.tar"), str(work / "part-{000000..000003}.tar")]:
        samples = list(webdataset.WebDataset(url, shardshuffle=False, empty_check=False).decode())
        check("samples are in the order of ids", [s["json"]["id"] for s in samples] == sorted(expected, key=str.encode))
        for sample in samples:
            said = sample["json"]
            id = said["id"]
            space, width, height, latent, _ = expected[id]
            _, scaling, shift, _ = SPACES[space]
            same(f"{url}: {id}", sample["npy"], latent)
            info = program.info("store", id)
            wanted = {
                "id": id,
                "width": width,
                "height": height,
                "latent_space": space,
                "encoder": "made-up",
                "fingerprint": None,
                "scaling_factor": scaling,
                "shift_factor": shift,
                "tags": info["tags"],
            }
            check(f"{url}: {id}: {said}", {key: said[key] for key in wanted} == wanted)
            check(f"{url}: {id}: source", said["source"]["blake3"] == info["source"]["blake3"])


def exports_come_back(program, work, expected):
    for name, flags in [("safetensors", []), ("all.tar", [])]:
        store = f"back-{name}"
        program.run(store, "import", work / name, *flags)
        check(f"ids of {name}", program.ids(store) == program.ids("store"))
        for id in expected:
            same(f"{id} out of {name}", program.latent(store, id), expected[id][3])
            info = program.info(store, id)
            check(f"size of {id} out of {name}", (info["width"], info["height"]) == expected[id][1:3])
            check(f"space of {id} out of {name}", info["latent_space"] == expected[id][0])
            check(f"alpha of {id} out of {name}", info["alpha"] == (expected[id][4] is not None and "tar" not in name))
    for format in ["npy", "npz"]:
        for space in SPACES:
            store = f"back-{format}-{space}"
            program.run(store, "import", work / format / space, "--latent-space", space)
            wanted = [id for id in expected if id.startswith(space + "/")]
            check(f"ids of {store}", sorted(program.ids(store)) == sorted(id.split("/", 1)[1] for id in wanted))
            for id in wanted:
                short = id.split("/", 1)[1]
                same(f"{id} out of {store}", program.latent(store, short), expected[id][3])
                info = program.info(store, short)
                cells = tuple(RATIO * n for n in reversed(expected[id][3].shape[1:]))
                size = expected[id][1:3] if format == "npz" else cells
                check(f"size of {id} out of {store}", (info["width"], info["height"]) == size)


def kohyas_files(program, work):
    """Files as save_latents_to_disk writes them, in the old form and in the new one."""
    folder = work / "kohya"
    folder.mkdir()
    random = np.random.default_rng(2)
    old = random.normal(0, 3, (4, 96, 64)).astype(np.float32)
    np.savez(
        folder / "old.npz",
        latents=old,
        original_size=np.array((1000, 1500)),
        crop_ltrb=np.array((0.0, 0.0, 512.0, 768.0)),
        latents_flipped=old[:, :, ::-1],
        alpha_mask=np.ones((768, 512), np.float32),
    )
    new = {}
    for height, width in [(32, 48), (64, 96)]:
        suffix = f"_{height}x{width}"
        new["latents" + suffix] = random.normal(0, 3, (4, height, width)).astype(np.float32)
        new["original_size" + suffix] = np.array((768, 512))
        new["crop_ltrb" + suffix] = np.array((0, 0, 8 * width, 8 * height))
    np.savez_compressed(folder / "new_0768x0512_sd.npz", **new)
    np.savez(folder / "new_sd_te_outputs.npz", hidden_state1=np.zeros((1, 77, 768), np.float32))
    (folder / "old.png").write_bytes(b"an image")

    store = "back-kohya"
    program.run(store, "import", folder, "--latent-space", "sd-v1")
    check("ids of kohya's files", program.ids(store) == ["new_0768x0512_sd", "old"])
    same("old keys", program.latent(store, "old"), old.astype(np.float16))
    same("new keys", program.latent(store, "new_0768x0512_sd"), new["latents_64x96"].astype(np.float16))
    for id, size in [("old", (512, 768)), ("new_0768x0512_sd", (768, 512))]:
        info = program.info(store, id)
        check(f"size of {id}", (info["width"], info["height"]) == size)
    check("alpha of kohya's files", program.info(store, "old")["alpha"])


def others_shards(program, work):
    """A shard that webdataset wrote: latents beside a class, and a JSON of another form."""
    random = np.random.default_rng(3)
    latents = {f"{n:06}": random.normal(0, 3, (4, 8, 8)).astype(np.float16) for n in range(3)}
    with webdataset.TarWriter(str(work / "others.tar")) as out:
        for key, latent in latents.items():
            out.write({"__key__": f"train/{key}", "npy": latent, "cls": 1, "json": {"caption": "a cat", "width": 1}})
    with tarfile.open(work / "folder.tar", "w", format=tarfile.PAX_FORMAT) as tar, tarfile.open(work / "others.tar") as others:
        folder = tarfile.TarInfo("train")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for member in others:
            tar.addfile(member, others.extractfile(member))
    for name in ["others.tar", "folder.tar"]:
        program.run(f"back-{name}", "import", work / name, "--latent-space", "sd-v1")
        check(f"ids of {name}", program.ids(f"back-{name}") == [f"train/{key}" for key in latents])
        for key, latent in latents.items():
            same(f"{key} out of {name}", program.latent(f"back-{name}", f"train/{key}"), latent)


def main():
    path, work = pathlib.Path(sys.argv[1]).absolute(), pathlib.Path(sys.argv[2]).absolute()
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    program = Program(path, work)
    expected = fill(program, work)
    print(f"a store of {len(expected)} latents of {', '.join(SPACES)}: put and got back")
    for what, work_on in [
        ("export --format safetensors, read by safetensors", safetensors_files),
        ("export --format npy, read by numpy", npy_files),
        ("export --format npz, read by numpy as sd-scripts do", npz_files),
        ("export --format wds, read by webdataset, one shard and four", shards),
        ("all of these imported again", exports_come_back),
    ]:
        before = checks
        work_on(program, work, expected)
        print(f"{what}: {checks - before} comparisons")
    for what, work_on in [
        ("npz files as sd-scripts write them, old keys and new ones, imported", kohyas_files),
        ("shards that webdataset and tarfile wrote, imported", others_shards),
    ]:
        before = checks
        work_on(program, work)
        print(f"{what}: {checks - before} comparisons")
    print(f"all {checks} comparisons hold: numpy {np.__version__}, safetensors {safetensors.__version__}, webdataset {webdataset.__version__}")


main()
