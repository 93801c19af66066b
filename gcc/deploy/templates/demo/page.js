// Reads pictures, lets the worker run the generator on them, and shows input and output.
const config = JSON.parse(document.getElementById("config").textContent);
const element = (id) => document.getElementById(id);
const report = (text) => { element("status").textContent = text; };

let worker;
let waiting = new Map();
let requests = 0;

/** Start a worker with one of ONNX Runtime's builds, "wasm" or "webgpu". */
async function start(build) {
  worker?.terminate();
  worker = new Worker("worker.js", { type: "module" });
  waiting = new Map();
  worker.onmessage = ({ data }) => {
    if (data.progress) return report(data.progress);
    const { resolve, reject } = waiting.get(data.id);
    waiting.delete(data.id);
    data.error ? reject(new Error(data.error)) : resolve(data);
  };
  worker.onerror = (event) => report(`The generator cannot run here: ${event.message}`);
  const { milliseconds } = await ask({ load: build, config });
  report(`Ready; loaded in ${Math.round(milliseconds)} ms.`);
}

/** Send a request to the worker and return its answer. */
function ask(request) {
  requests += 1;
  const id = requests;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    worker.postMessage({ id, ...request });
  });
}

/** Return a picture as float32 in [-1, 1], channel by channel, and what was changed. */
function read(bitmap) {
  const { width: fullWidth, height, notes, left } = halfOf(bitmap);
  const [width, rows] = config.multiple ? [fullWidth, height] : [config.width, config.height];
  const canvas = element("input");
  Object.assign(canvas, { width, height: rows });
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
  return { image: { values, height: rows, width }, notes };
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

/** Run the generator on a request and show what it returns. */
async function run(request, notes = []) {
  const { image, milliseconds, tiles } = await ask(request);
  draw(image);
  const parts = [`${image.width}x${image.height} in ${Math.round(milliseconds)} ms`, ...notes];
  if (tiles > 1) parts.push(`${tiles} tiles`);
  report(`${parts.join("; ")}.`);
  document.body.dataset.done = "yes";
}

async function translate(blob) {
  // Colours are read as they are stored, as other programs do.
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const { image, notes } = read(bitmap);
  element("split").hidden = false;
  await run({ image }, notes);
}

/** Return standard normal noise (Box-Muller). */
function noise() {
  const uniform = () => 1 - Math.random();
  const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
  return Float32Array.from({ length: config.length }, normal);
}

const failed = (error) => report(`This does not work: ${error.message}`);
const begin = (build) => start(build).then(() => element("generate")?.removeAttribute("disabled"));

element("split").oninput = ({ target }) => element("view").style.setProperty("--split", `${target.value}%`);
element("webgpu").onchange = ({ target }) => begin(target.checked ? "webgpu" : "wasm").catch(failed);
element("gpu").hidden = !navigator.gpu;
if (config.length) {
  element("generate").onclick = () => run({ noise: noise() }).catch(failed);
} else {
  const drop = element("drop");
  element("file").onchange = ({ target }) => target.files.length && translate(target.files[0]).catch(failed);
  addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  addEventListener("dragleave", () => drop.classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files.length) translate(event.dataTransfer.files[0]).catch(failed);
  });
}

// `?image=photo.png` translates a picture of the same site at once, and `?generate` draws an image from noise.
const wanted = new URLSearchParams(location.search);
begin("wasm").then(async () => {
  if (wanted.has("image")) await translate(await (await fetch(new URL(wanted.get("image"), location.href))).blob());
  if (wanted.has("generate") && config.length) await run({ noise: noise() });
}).catch(failed);
