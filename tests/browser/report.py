"""The page that `compare` writes, in a headless Chromium: what it shows, and what its slider does.

Usage: report.py LATENTDB. Invariant: what is checked is printed, the first thing that isn't so ends the run with an error;
nothing but Python's standard library and Debian's `chromium` is needed, and without the latter the run is skipped, which
stderr says.
"""

import base64
import json
import os
import pathlib
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zlib

ID = "<script>window.harmed = 1</script> & <b>bold</b>"
PATIENCE = 60
OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
    "--window-size=1280,1000",
    "--remote-debugging-pipe",
]


class Browser:
    """Chromium, spoken to in JSON over two pipes: its file descriptors 3 and 4."""

    def __init__(self, program, profile):
        theirs_in, self.out = os.pipe()
        self.back, theirs_out = os.pipe()
        # The shell gives the pipes the numbers that Chromium reads and writes.
        command = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
        arguments = [program, *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(
            ["bash", "-c", command, *arguments],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self.unread = b""
        self.count = 0
        self.session = None
        self.events = []

    def message(self, until):
        while b"\0" not in self.unread:
            ready, _, _ = select.select([self.back], [], [], max(0, until - time.monotonic()))
            part = os.read(self.back, 1 << 16) if ready else b""
            if not part:
                sys.exit("error: chromium doesn't answer")
            self.unread += part
        message, self.unread = self.unread.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, **params):
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + PATIENCE
        while True:
            answer = self.message(until)
            if answer.get("id") != self.count:
                self.events.append(answer)
            elif "error" in answer:
                sys.exit(f"error: {method}: {answer['error']}")
            else:
                return answer["result"]

    def open(self, url):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ["Page", "Runtime", "Network", "Log"]:
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=url)

    def value(self, expression):
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            sys.exit(f"error: {expression}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def wait(self, expression):
        until = time.monotonic() + PATIENCE
        while not self.value(expression):
            if time.monotonic() > until:
                sys.exit(f"error: this never became so: {expression}")
            time.sleep(0.05)

    def mouse(self, kind, x, y):
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def key(self, key, code):
        for kind in ["rawKeyDown", "keyUp"]:
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def pixel(self, x, y):
        """The colour that is on the screen."""
        clip = {"x": x, "y": y, "width": 1, "height": 1, "scale": 1}
        scrolled = self.value("[scrollX, scrollY]")
        clip["x"], clip["y"] = x + scrolled[0], y + scrolled[1]
        shot = self.call("Page.captureScreenshot", format="png", clip=clip)
        return first_pixel(base64.b64decode(shot["data"]))

    def close(self):
        self.process.terminate()
        self.process.wait(PATIENCE)


def first_pixel(png):
    """The first pixel of a PNG of 8 bits: whatever the row's filter is, there is nothing before it to differ from."""
    at, data = 8, b""
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            data += png[at + 8 : at + 8 + length]
        at += length + 12
    return tuple(zlib.decompress(data)[1:4])


def png(width, height, pixel):
    """A PNG of RGB pixels."""

    def chunk(kind, content):
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    rows = b"".join(b"\0" + bytes(v for x in range(width) for v in pixel(x, y)) for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def check(what, so):
    if not so:
        sys.exit(f"error: this isn't so: {what}")
    print(f"ok: {what}")


def make_report(latentdb, folder):
    """A report of a file and of a record, and the numbers in it."""
    (folder / "slope.png").write_bytes(png(96, 80, lambda x, y: (150 + x, 130 + y, 200)))
    (folder / "stripes.png").write_bytes(png(96, 80, lambda x, y: (60 + 160 * (x // 12 % 2), 90 + y, 200)))
    environment = dict(os.environ, LATENTDB_PATH=str(folder / "store"), HOME=str(folder))

    def run(*arguments):
        return subprocess.run([latentdb, *arguments], cwd=folder, env=environment, check=True, stdout=subprocess.PIPE).stdout

    run("put", ID, "stripes.png")
    found = run("compare", "slope.png", ID, "--original", "stripes.png", "--json", "-o", "report.html")
    return json.loads(found)


def main():
    latentdb = os.path.abspath(sys.argv[1])
    program = shutil.which("chromium")
    if program is None:
        print("SKIPPED: there is no chromium, so the page was not looked at", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        folder = pathlib.Path(folder)
        numbers = make_report(latentdb, folder)
        browser = Browser(program, folder / "profile")
        try:
            look(browser, folder / "report.html", numbers)
        finally:
            browser.close()


def look(browser, page, numbers):
    browser.open(page.as_uri())
    browser.wait("document.readyState === 'complete'")
    shown = "document.querySelectorAll('canvas[data-shown]').length === 4"
    browser.wait(shown)

    text = browser.value("document.body.innerText")
    labels = ["Summary", "original", "tiny", "JPEG", "WebP", "AVIF", "PSNR dB", "SSIM", "SSIMULACRA2", "seconds"]
    check("the labels are on the page", all(label in text for label in labels))
    contenders = [one for image in numbers["images"] for one in image["contenders"]]
    psnr = [f"{one['psnr']:.2f}" for one in contenders if one["psnr"] is not None]
    check("the numbers are those of --json", psnr and all(number in text for number in psnr))
    title = browser.value("document.querySelectorAll('article h2')[1].textContent")
    check("an id with markup is shown as text", title == ID)
    check("and does nothing", browser.value("window.harmed === undefined && !document.querySelector('article script, article h2 b')"))

    browser.value("document.querySelector('.stage').scrollIntoView({ block: 'center' })")
    box = browser.value("(({x, y, width, height}) => [x, y, width, height])(document.querySelector('.stage').getBoundingClientRect())")
    place = lambda part: (box[0] + part * box[2], box[1] + box[3] / 4)
    split = "parseFloat(document.querySelector('.stage').style.getPropertyValue('--at'))"
    clip = "getComputedStyle(document.querySelector('.layer.left')).clipPath"
    divider = "document.querySelector('.divider').getBoundingClientRect().x"

    choose(browser, 1, "difference 1")
    before = browser.value(split), browser.value(clip), browser.value(divider), browser.pixel(*place(0.4))
    check("the divider begins in the middle", before[0] == 50)
    check("left of it is the original", min(before[3]) > 100)
    check("right of it is the difference", max(browser.pixel(*place(0.6))) < 100)
    browser.mouse("mousePressed", *place(0.5))
    for part in [0.45, 0.35, 0.25]:
        browser.mouse("mouseMoved", *place(part))
    browser.mouse("mouseReleased", *place(0.25))
    after = browser.value(split), browser.value(clip), browser.value(divider), browser.pixel(*place(0.4))
    check("dragging moves the split", abs(after[0] - 25) < 1)
    check("and the divider", abs(before[2] - after[2] - box[2] / 4) < 4)
    check("and what is clipped", before[1] != after[1])
    check("so that the other image is seen there", max(after[3]) < 100)

    browser.key("ArrowRight", 39)
    check("an arrow key moves the split", 0 < browser.value(split) - after[0] <= 1)
    check("and the range says where it is", browser.value("document.querySelector('input[type=range]').valueAsNumber") == browser.value(split))

    choose(browser, 1, "image 0")
    check("choosing the original on both sides shows it there", min(browser.pixel(*place(0.4))) > 100)
    choose(browser, 0, "difference 2")
    check("choosing a difference on the left shows it there", max(browser.pixel(*place(0.1))) < 100)

    browser.value("document.querySelectorAll('.zoom button')[3].click()")
    style = browser.value("(({transform, imageRendering}) => [transform, imageRendering])(document.querySelector('canvas').style)")
    fit = box[2] / 96
    check("4x is never smaller than the whole image", f"scale({max(4, fit):g})" in style[0])
    check("enlarged pixels are square", style[1] == "pixelated")

    methods = ["Runtime.exceptionThrown", "Runtime.consoleAPICalled"]
    wrong = [event for event in browser.events if event.get("method") in methods]
    wrong += [event for event in browser.events if event.get("method") == "Log.entryAdded"]
    check("nothing is said in the console", not wrong)
    requests = [e["params"]["request"]["url"] for e in browser.events if e.get("method") == "Network.requestWillBeSent"]
    check("the page itself was asked for", page.as_uri() in requests)
    check("and nothing beside it", all(url == page.as_uri() or url.startswith("data:") for url in requests))


def choose(browser, side, value):
    """Chooses an image on the left (0) or the right (1)."""
    browser.value(
        f"(() => {{ const select = document.querySelectorAll('.viewer select')[{side}];"
        f" select.value = '{value}'; select.dispatchEvent(new Event('change')); }})()"
    )
    layer = ["left", "right"][side]
    browser.wait(f"document.querySelector('.layer.{layer} canvas').dataset.shown === '{value}'")


main()
