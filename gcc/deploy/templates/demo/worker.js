// Runs the generator by ONNX Runtime Web, in one thread; large pictures in tiles that overlap, where the generator allows it.
const BUILDS = { wasm: "./ort/ort.wasm.min.mjs", webgpu: "./ort/ort.webgpu.min.mjs" };
let ort;
let session;
let config;

onmessage = async ({ data: { id, ...request } }) => {
  try {
    if (request.load) postMessage({ id, ...(await load(request)) });
    else if (request.noise) postMessage({ id, ...(await timed(() => runOn(request.noise, [1, config.length]))), tiles: 1 });
    else postMessage({ id, ...(await translate(request.image)) });
  } catch (error) {
    postMessage({ id, error: String(error?.message ?? error) });
  }
};

async function load({ load: build, config: given }) {
  const start = performance.now();
  config = given;
  ort = await import(BUILDS[build]);
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = new URL("ort/", import.meta.url).href;
  session = await ort.InferenceSession.create(new URL("generator.onnx", import.meta.url).href, { executionProviders: [build] });
  return { milliseconds: performance.now() - start };
}

/** Return the generator's image for an input of a shape. */
async function runOn(values, shape) {
  const { output } = await session.run({ input: new ort.Tensor("float32", values, shape) });
  const [, , height, width] = output.dims;
  return { values: Float32Array.from(await output.getData()), height, width };
}

async function timed(work) {
  const start = performance.now();
  const image = await work();
  return { image, milliseconds: performance.now() - start };
}

async function translate(image) {
  const padded = padTo(image, config.multiple || 1);
  const tiles = tilesOf(padded);
  const start = performance.now();
  let joined;
  let scale;
  for (const [number, tile] of tiles.entries()) {
    const part = crop(padded, tile);
    const fake = await runOn(part.values, [1, config.channels, part.height, part.width]);
    scale = fake.height / part.height;
    joined ??= blank(fake.values.length / (fake.height * fake.width), scale * padded.height, scale * padded.width);
    paste(joined, fake, tile, scale);
    if (tiles.length > 1) postMessage({ progress: `Tile ${number + 1} of ${tiles.length}...` });
  }
  const milliseconds = performance.now() - start;
  return { image: crop(joined, { top: 0, left: 0, bottom: scale * image.height, right: scale * image.width }), milliseconds, tiles: tiles.length };
}

/** Pad a picture at the bottom and the right, by mirroring, to multiples of a number. */
function padTo(image, multiple) {
  const [bottom, right] = [image.height, image.width].map((size) => (multiple - (size % multiple)) % multiple);
  if (!bottom && !right) return image;
  const mirrors = bottom < image.height && right < image.width;
  const source = (position, size) => (position < size ? position : mirrors ? 2 * size - 2 - position : size - 1);
  const padded = blank(channelsOf(image), image.height + bottom, image.width + right);
  fill(padded, (channel, row, column) => at(image, channel, source(row, image.height), source(column, image.width)));
  return padded;
}

/** Return the tiles of a picture: which part each computes, and the larger part that it reads. */
function tilesOf({ height, width }) {
  const { radius, tile } = config;
  if (radius === null) return [{ top: 0, left: 0, bottom: height, right: width, own: { top: 0, left: 0, bottom: height, right: width } }];
  const tiles = [];
  for (let top = 0; top < height; top += tile) {
    for (let left = 0; left < width; left += tile) {
      const own = { top, left, bottom: Math.min(height, top + tile), right: Math.min(width, left + tile) };
      const grown = { top: Math.max(0, top - radius), left: Math.max(0, left - radius) };
      tiles.push({ ...grown, bottom: Math.min(height, top + tile + radius), right: Math.min(width, left + tile + radius), own });
    }
  }
  return tiles;
}

/** Copy what a tile computes into the joined image. */
function paste(joined, fake, { top, left, own }, scale) {
  for (let channel = 0; channel < channelsOf(joined); channel += 1) {
    for (let row = scale * own.top; row < scale * own.bottom; row += 1) {
      const from = (channel * fake.height + row - scale * top) * fake.width + scale * (own.left - left);
      const part = fake.values.subarray(from, from + scale * (own.right - own.left));
      joined.values.set(part, (channel * joined.height + row) * joined.width + scale * own.left);
    }
  }
}

function crop(image, { top, left, bottom, right }) {
  const part = blank(channelsOf(image), bottom - top, right - left);
  fill(part, (channel, row, column) => at(image, channel, row + top, column + left));
  return part;
}

const blank = (channels, height, width) => ({ values: new Float32Array(channels * height * width), height, width });
const channelsOf = ({ values, height, width }) => values.length / (height * width);
const at = ({ values, height, width }, channel, row, column) => values[(channel * height + row) * width + column];

function fill(image, value) {
  const channels = channelsOf(image);
  let index = 0;
  for (let channel = 0; channel < channels; channel += 1) {
    for (let row = 0; row < image.height; row += 1) {
      for (let column = 0; column < image.width; column += 1) {
        image.values[index] = value(channel, row, column);
        index += 1;
      }
    }
  }
}
