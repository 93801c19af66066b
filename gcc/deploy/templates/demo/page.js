// Reads pictures, lets the worker run the generator on them, and shows input and output.
const config = JSON.parse(document.getElementById("config").textContent);
const element = (id) => document.getElementById(id);
const report = (text) => { element("status").textContent = text; };

let worker;
let ready;
let loads = 0;
let answers = new Map();
let requests = 0;

/** Load the generator with one of ONNX Runtime's builds, "wasm" or "webgpu", or with "wasm" if "webgpu" fails; requests wait for it. */
function load(build) {
  loads += 1;
  const number = loads;
  ready = start(build).catch((error) => {
    if (number !== loads) return ready;
    if (build === "wasm") throw error;
    return withoutWebGPU(error);
  });
  ready.catch((error) => report(`The generator cannot run here: ${error.message}`));
  return ready;
}

/** Go on in WebAssembly, and say why. */
function withoutWebGPU(error) {
  element("webgpu").checked = false;
  element("note").textContent = `WebGPU does not work in this browser, so the generator runs in WebAssembly: ${error.message}`;
  element("note").hidden = false;
  return load("wasm");
}

/** Start a worker that loads the generator. */
function start(build) {
  worker?.terminate();
  for (const { reject } of answers.values()) reject(new Error("the generator was loaded again"));
  answers = new Map();
  worker = new Worker("worker.js", { type: "module" });
  worker.onmessage = ({ data }) => {
    if (data.progress) return report(data.progress);
    const { resolve, reject } = answers.get(data.id);
    answers.delete(data.id);
    "error" in data ? reject(new Error(data.error)) : resolve(data);
  };
  worker.onerror = (event) => report(`The generator cannot run here: ${event.message}`);
  report("Loading the generator...");
  return send({ load: build, config }).then(({ milliseconds }) => report(`Ready; loaded in ${Math.round(milliseconds)} ms.`));
}

/** Send a request to the worker and return its answer. */
function send(request) {
  requests += 1;
  const id = requests;
  return new Promise((resolve, reject) => {
    answers.set(id, { resolve, reject });
    worker.postMessage({ id, ...request });
  });
}

let last = Promise.resolve();
let newest = 0;
let current;

/** Do some work after what is under way; of several that wait, only the newest is done. If it fails, no image is shown. */
function queue(work) {
  current = work;
  newest += 1;
  const number = newest;
  const attempt = () => (number === newest ? ready.then(work) : undefined);
  last = last.then(attempt).catch((error) => {
    if (number !== newest) return;
    element("view").hidden = element("save").hidden = element("split").hidden = true;
    report(`This does not work: ${error.message}`);
  });
  return last;
}

/** Return a picture as float32 in [-1, 1], channel by channel, and what was changed. */
function read(bitmap) {
  const { width: fullWidth, height, notes, left } = halfOf(bitmap);
  const [width, rows] = config.multiple ? [fullWidth, height] : [config.width, config.height];
  const canvas = new OffscreenCanvas(width, rows);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, left, 0, fullWidth, height, 0, 0, width, rows);
  if (width !== fullWidth || rows !== height) notes.push(`resized to ${width}x${rows}`);
  const { data } = context.getImageData(0, 0, width, rows);
  const pixels = width * rows;
  const values = new Float32Array(config.channels * pixels);
  for (let index = 0; index < pixels; index += 1) {
    const [red, green, blue] = data.subarray(4 * index, 4 * index + 3);
    const colours = config.channels === 1 ? [(19595 * red + 38470 * green + 7471 * blue + 32768) >> 16] : [red, green, blue];
    colours.forEach((colour, channel) => { values[channel * pixels + index] = colour / 127.5 - 1; });
  }
  return { image: { values, height: rows, width }, canvas, notes };
}

/** Return the part of a picture that is translated: one half if it holds a training pair side by side. */
function halfOf({ width, height }) {
  const isPair = config.pairs.some(([pairWidth, pairHeight]) => pairWidth === width && pairHeight === height);
  if (!isPair) return { width, height, notes: [], left: 0 };
  return { width: width / 2, height, notes: [`the ${config.side} half`], left: config.side === "left" ? 0 : width / 2 };
}

/** Draw the generator's output, (C, H, W) in [-1, 1]. */
function draw({ values, height, width }) {
  const canvas = element("output");
  Object.assign(canvas, { width, height });
  const pixels = width * height;
  const channels = values.length / pixels;
  const shown = new ImageData(width, height);
  for (let index = 0; index < pixels; index += 1) {
    for (let channel = 0; channel < 3; channel += 1) {
      const value = values[(channels === 1 ? 0 : channel) * pixels + index];
      shown.data[4 * index + channel] = Math.round((Math.min(1, Math.max(-1, value)) + 1) * 127.5);
    }
    shown.data[4 * index + 3] = 255;
  }
  canvas.getContext("2d").putImageData(shown, 0, 0);
  element("view").hidden = element("save").hidden = false;
  element("save").href = canvas.toDataURL("image/png");
}

/** Return the worker's answer to a request; if WebGPU fails on it, WebAssembly's. */
async function answer(request) {
  await ready;
  const number = loads;
  try {
    return await send(request);
  } catch (error) {
    if (number !== loads || !element("webgpu").checked) throw error;
    await withoutWebGPU(error);
    return send(request);
  }
}

/** Run the generator on a request, and show what it returns beside the input, if that is a picture. */
async function run(request, input, notes = []) {
  const { image, milliseconds, tiles } = await answer(request);
  if (input) {
    Object.assign(element("input"), { width: input.width, height: input.height });
    element("input").getContext("2d").drawImage(input, 0, 0);
    element("split").hidden = false;
  }
  draw(image);
  const parts = [`${image.width}x${image.height} in ${Math.round(milliseconds)} ms`, ...notes];
  if (tiles > 1) parts.push(`${tiles} tiles`);
  report(`${parts.join("; ")}.`);
  document.body.dataset.done = String(Number(document.body.dataset.done ?? 0) + 1);
}

async function translate(blob) {
  report("Reading the picture...");
  // Colours are read as they are stored, as other programs do; transparent parts become black.
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const { image, canvas, notes } = read(bitmap);
  report(`Translating ${image.width}x${image.height}...`);
  await run({ image }, canvas, notes);
}

/** Return standard normal noise (Box-Muller). */
function noise() {
  const uniform = () => 1 - Math.random();
  const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
  return Float32Array.from({ length: config.length }, normal);
}

function generate() {
  const request = { noise: noise() };
  return queue(() => run(request));
}
const show = (blob) => queue(() => translate(blob));

element("split").oninput = ({ target }) => element("view").style.setProperty("--split", `${target.value}%`);
element("webgpu").onchange = ({ target }) => {
  element("note").hidden = true;
  load(target.checked ? "webgpu" : "wasm");
  if (current) queue(current);
};
element("gpu").hidden = !navigator.gpu;
if (config.length) {
  element("generate").onclick = generate;
} else {
  const drop = element("drop");
  element("file").onchange = ({ target }) => target.files.length && show(target.files[0]);
  addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  addEventListener("dragleave", () => drop.classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files.length) show(event.dataTransfer.files[0]);
  });
}

/** Return a picture of this site. */
async function fetched(name) {
  const address = new URL(name, location.href);
  if (address.origin !== location.origin) throw new Error(`${name} is not a picture of this site`);
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${name}: ${response.status} ${response.statusText}`);
  return response.blob();
}

// `?image=photo.png` translates a picture of the same site at once, and `?generate` draws an image from noise.
const wanted = new URLSearchParams(location.search);
load("wasm");
if (wanted.has("image")) queue(async () => translate(await fetched(wanted.get("image"))));
if (wanted.has("generate") && config.length) generate();
