"use strict";
// A viewer for each comparison, made of the images that are on the page. Without it they are shown side by side.

const AMPLIFIED = 8;
const MAX_SCALE = 16;

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** What the original and another image differ in, amplified. */
function drawDifference(context, original, other) {
  const { width, height } = context.canvas;
  context.drawImage(original, 0, 0);
  const a = context.getImageData(0, 0, width, height);
  context.drawImage(other, 0, 0);
  const b = context.getImageData(0, 0, width, height);
  for (let at = 0; at < a.data.length; at += 1) {
    if (at % 4 !== 3) b.data[at] = AMPLIFIED * Math.abs(a.data[at] - b.data[at]);
  }
  context.putImageData(b, 0, 0);
}

function addViewer(gallery) {
  const figures = [...gallery.querySelectorAll("figure")];
  const images = figures.map((figure) => figure.querySelector("img"));
  const width = Number(images[0].getAttribute("width"));
  const height = Number(images[0].getAttribute("height"));

  const side = (name) => {
    const shown = element("optgroup", { label: "image" });
    const differing = element("optgroup", { label: `difference to the original, ${AMPLIFIED} times` });
    images.forEach((image, at) => {
      shown.append(element("option", { value: `image ${at}` }, image.alt));
      if (at > 0) differing.append(element("option", { value: `difference ${at}` }, `difference: ${image.alt}`));
    });
    const canvas = element("canvas", { width, height, role: "img" });
    const select = element("select", {}, shown, differing);
    const layer = element("div", { class: `layer ${name}` }, canvas);
    return { canvas, select, layer, caption: element("div", {}) };
  };
  const left = side("left");
  const right = side("right");
  const range = element("input", { type: "range", min: 0, max: 100, step: 0.5, "aria-label": "where the left image ends, in percent" });
  const stage = element("div", { class: "stage" }, right.layer, left.layer, element("div", { class: "divider" }));
  const zooms = ["Fit", "1\u00d7", "2\u00d7", "4\u00d7"].map((text) => element("button", { type: "button" }, text));
  const controls = element("div", { class: "controls" },
    element("label", {}, "Left", left.select),
    element("div", { class: "zoom", role: "group", "aria-label": "zoom" }, ...zooms),
    element("label", {}, "Right", right.select));
  const captions = element("div", { class: "captions" }, left.caption, right.caption);
  const viewer = element("div", { class: "viewer" }, controls, stage, range, captions);
  gallery.before(viewer);

  // The split in percent of the stage; the image's scale and its place in the stage, in CSS pixels.
  let split = 50;
  let fit = 1;
  let scale = 1;
  let fitting = true;
  let place = { x: 0, y: 0 };

  async function show({ canvas, select, caption }) {
    const chosen = select.value;
    const [kind, number] = chosen.split(" ");
    const image = images[Number(number)];
    await Promise.all([images[0].decode(), image.decode()]);
    if (select.value !== chosen) return;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    if (kind === "difference") drawDifference(context, images[0], image);
    else context.drawImage(image, 0, 0);
    const text = select.selectedOptions[0].textContent;
    canvas.setAttribute("aria-label", text);
    const told = figures[Number(number)].querySelector("figcaption").cloneNode(true);
    if (kind === "difference") told.querySelector("b").textContent = text;
    caption.replaceChildren(...told.childNodes);
    canvas.dataset.shown = chosen;
  }

  function wipe(percent) {
    split = Math.min(100, Math.max(0, percent));
    stage.style.setProperty("--at", `${split}%`);
    range.value = split;
  }

  function draw() {
    const clamp = (at, shown, room) => Math.min(0, Math.max(room - shown, at));
    place.x = clamp(place.x, width * scale, stage.clientWidth);
    place.y = clamp(place.y, height * scale, stage.clientHeight);
    for (const { canvas } of [left, right]) {
      canvas.style.transform = `translate(${place.x}px, ${place.y}px) scale(${scale})`;
      canvas.style.imageRendering = scale >= 1 ? "pixelated" : "auto";
    }
    stage.classList.toggle("zoomed", scale > fit);
    zooms.forEach((button, at) => {
      button.setAttribute("aria-pressed", at === 0 ? fitting : !fitting && scale === 2 ** (at - 1));
    });
  }

  /** Scales around a point of the stage. */
  function zoom(to, x = stage.clientWidth / 2, y = stage.clientHeight / 2) {
    const next = Math.min(MAX_SCALE, Math.max(fit, to));
    const factor = next / scale;
    place = { x: x - (x - place.x) * factor, y: y - (y - place.y) * factor };
    scale = next;
    fitting = scale === fit;
    draw();
  }

  function layOut() {
    const room = Math.min(viewer.clientWidth / width, (0.78 * window.innerHeight) / height);
    fit = room >= 1 ? Math.floor(room) : room;
    for (const sized of [stage, range, captions]) sized.style.width = `${Math.max(width * fit, 1)}px`;
    for (const sized of [range, captions]) sized.style.minWidth = "min(100%, 20rem)";
    stage.style.height = `${height * fit}px`;
    if (fitting || scale < fit) {
      scale = fit;
      fitting = true;
    }
    draw();
  }

  const pointers = new Map();
  let wiping = false;
  const inStage = (event) => {
    const box = stage.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  const spread = () => {
    const [a, b] = [...pointers.values()];
    return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, length: Math.hypot(a.x - b.x, a.y - b.y) };
  };
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    stage.setPointerCapture(event.pointerId);
    const at = inStage(event);
    pointers.set(event.pointerId, at);
    const near = Math.abs(at.x - (split / 100) * stage.clientWidth) < 22;
    wiping = pointers.size === 1 && (near || scale <= fit);
    if (wiping) wipe((100 * at.x) / stage.clientWidth);
    range.focus({ preventScroll: true });
  });
  stage.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const at = inStage(event);
    if (pointers.size === 2) {
      const from = spread();
      pointers.set(event.pointerId, at);
      const to = spread();
      if (from.length > 0) zoom((scale * to.length) / from.length, to.x, to.y);
      return;
    }
    pointers.set(event.pointerId, at);
    if (wiping) {
      wipe((100 * at.x) / stage.clientWidth);
    } else {
      place = { x: place.x + at.x - before.x, y: place.y + at.y - before.y };
      draw();
    }
  });
  for (const end of ["pointerup", "pointercancel"]) {
    stage.addEventListener(end, (event) => pointers.delete(event.pointerId));
  }
  // A wheel alone scrolls the page; with Ctrl, as a pinch on a touchpad comes, it zooms.
  stage.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    const { x, y } = inStage(event);
    zoom(scale * Math.exp(-event.deltaY / 200), x, y);
  }, { passive: false });
  zooms.forEach((button, at) => {
    button.addEventListener("click", () => zoom(at === 0 ? fit : 2 ** (at - 1)));
  });
  range.addEventListener("input", () => wipe(Number(range.value)));
  for (const one of [left, right]) one.select.addEventListener("change", () => show(one));

  right.select.selectedIndex = Math.min(1, images.length - 1);
  wipe(50);
  layOut();
  new ResizeObserver(layOut).observe(viewer);
  show(left);
  show(right);
}

document.documentElement.classList.add("live");
for (const gallery of document.querySelectorAll(".gallery")) addViewer(gallery);
