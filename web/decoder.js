/**
 * Decodes .tcnn files, in browsers and in node: what a program that uses this decoder imports.
 *
 *     import { open } from './decoder.js';
 *     const file = open(bytes);
 *     const samples = await file.decode();
 *
 * A network is defined between pixels and beyond its own size, so that any window of the picture
 * can be rendered at any size without the rest of it.
 *
 * @module
 */

import { grouped } from './bytes.js';
import { TcnnError } from './errors.js';
import { MAX_POSITIONS, axisPhases, biasPhases } from './evaluate.js';
import { DEFAULT_MAX_PIXELS, checkWork, keyOf, parseHeader } from './header.js';
import { decodeChunk, readPayload } from './payload.js';
import { PlainKernel } from './plain.js';
import { SimdKernel, hasSimd } from './simd.js';

export { FAULTS, TcnnError } from './errors.js';
export { DEFAULT_MAX_PIXELS, MAX_POSITIONS };

/** How long a band is worked at, so that a page or a program reacts at once in between. */
const BAND_MILLISECONDS = 12;

/**
 * Where in a rendering of `width` by `height` pixels a window lies, in its pixels.
 *
 * @typedef {{ x: number, y: number, width: number, height: number }} Window
 *
 * @typedef {object} Rendering
 * @property {number} [width] of the whole picture as it is rendered, 1 to 2^24; its own if absent
 * @property {number} [height] likewise
 * @property {Window} [window] the part of it that is wanted; all if absent
 */

/**
 * Opens a file. Its header is read now, and its chunks when they are asked for.
 *
 * @param {Uint8Array} bytes of the whole file
 * @param {object} [options]
 * @param {number} [options.maxPixels] P of section 9 of docs/format.md, by default 2^28
 * @param {boolean} [options.plain] whether to do without WebAssembly
 * @returns {TcnnFile}
 * @throws {TcnnError} with the faults from 'empty file' to 'too many pixels'
 */
export function open(bytes, { maxPixels = DEFAULT_MAX_PIXELS, plain = false } = {}) {
  return new TcnnFile(bytes, parseHeader(bytes, { maxPixels }), plain || !hasSimd());
}

/** A file whose header has been read. */
class TcnnFile {
  constructor(bytes, header, plain) {
    this.bytes = bytes;
    /** @type {import('./header.js').Header} size, frames, times, chunks and networks */
    this.header = header;
    /** Whether networks are evaluated without WebAssembly. */
    this.plain = plain;
    this.renderer = null;
    /** The network decoded last, with the index of its chunk. */
    this.last = null;
  }

  /** Bits of the file for each pixel of each frame. */
  get bitsPerPixel() {
    const { width, height, frames, fileBytes } = this.header;
    return (8 * fileBytes) / (width * height * frames);
  }

  /**
   * @param {number} frame
   * @returns {number} the index of its chunk
   * @throws {RangeError} where there is no such frame
   */
  chunkOf(frame) {
    const { chunks, frames } = this.header;
    if (!Number.isInteger(frame) || frame < 0 || frame >= frames) {
      throw new RangeError(`no frame ${frame}; the file has ${frames}`);
    }
    let low = 0;
    for (let high = chunks.length; high - low > 1; ) {
      const middle = (low + high) >> 1;
      if (chunks[middle].firstFrame <= frame) low = middle;
      else high = middle;
    }
    return low;
  }

  /**
   * Decodes frames, or a window of them at any size.
   *
   * @param {Rendering & {
   *   frames?: [number, number],
   *   signal?: AbortSignal,
   *   progress?: (fraction: number) => void,
   * }} [options] frames: the first and the one behind the last, all if absent; signal: ends it
   *   between bands; progress: is told the part that is done, above 0 to 1, after each band
   * @returns {Promise<Uint8Array>} samples, frames × height × width × channels
   * @throws {TcnnError} with the faults from 'too many pixels' on
   * @throws {RangeError} for a frame, a size or a window that there is not
   */
  async decode({ frames = [0, this.header.frames], signal, progress, ...rendering } = {}) {
    const { header } = this;
    const [first, stop] = frames;
    const { window } = this.complete(rendering);
    if (first >= stop) throw new RangeError(`no frames ${first}:${stop}`);
    const range = [this.chunkOf(first), this.chunkOf(stop - 1) + 1];
    const key = keyOf(header, range[0]);
    checkWork(header, header.chunks.slice(...range), header.chunks.slice(key, range[1]));
    // Damage is found before there is memory for pixels, which a small file may have many of.
    for (let index = key; index < range[1]; index++) readPayload(this.bytes, header, index);
    const rowSamples = window.width * header.channels;
    const frameSamples = rowSamples * window.height;
    const samples = new Uint8Array(frameSamples * (stop - first));
    for (let frame = first; frame < stop; frame++) {
      for (const band of this.bands(frame, rendering)) {
        const at = frameSamples * (frame - first) + rowSamples * band.y;
        unpack(band.words, header.channels, samples, at);
        progress?.((frame - first + (band.y + band.height) / window.height) / (stop - first));
        await pause();
        signal?.throwIfAborted();
      }
    }
    return samples;
  }

  /**
   * Renders one frame in bands of some rows, each of which takes a moment's work.
   *
   * @param {number} frame
   * @param {Rendering} [rendering]
   * @yields {{ y: number, height: number, words: Uint32Array }} rows y to y + height - 1 of the
   *   window, one word per pixel, which holds channel c in bits 8c to 8c + 7
   * @throws what decode() throws
   */
  *bands(frame, rendering = {}) {
    const grid = this.complete(rendering);
    const renderer = this.rendererOf(this.chunkOf(frame));
    renderer.setGrid(grid);
    renderer.setTime(frame - renderer.chunk.firstFrame);
    const { width, height } = grid.window;
    const rows = [];
    for (let y = 0, top = 0, since = performance.now(); y < height; y++) {
      const row = new Uint32Array(width);
      renderer.row(y, row);
      rows.push(row);
      if (y === height - 1 || performance.now() - since > BAND_MILLISECONDS) {
        const words = new Uint32Array(width * rows.length);
        rows.forEach((row, i) => words.set(row, i * width));
        yield { y: top, height: rows.length, words };
        rows.length = 0;
        top = y + 1;
        since = performance.now();
      }
    }
  }

  /** A rendering with all that may be absent, whose numbers have been checked. */
  complete({ width = this.header.width, height = this.header.height, window }) {
    const whole = { x: 0, y: 0, width, height };
    const { x, y, width: columns, height: rows } = window ?? whole;
    const wholeNumbers = [width, height, x, y, columns, rows].every(Number.isInteger);
    if (!wholeNumbers || Math.min(width, height) < 1 || Math.max(width, height) > MAX_POSITIONS) {
      throw new RangeError(`no rendering of ${width}x${height}; sides are 1 to ${MAX_POSITIONS}`);
    }
    const fits = x >= 0 && y >= 0 && x + columns <= width && y + rows <= height;
    if (!fits || columns < 1 || rows < 1) {
      throw new RangeError(`no window ${columns}x${rows}+${x}+${y} in ${width}x${height}`);
    }
    const { maxPixels } = this.header;
    if (columns * rows > maxPixels) {
      throw new TcnnError(
        'too many pixels',
        `a rendering has ${columns}x${rows} = ${grouped(columns * rows)} pixels`,
        `${grouped(maxPixels)} are allowed`,
        'ask for a smaller window or raise the limit of pixels',
      );
    }
    return { width, height, window: { x, y, width: columns, height: rows } };
  }

  /** The last one is kept, since frames of one chunk are mostly asked for one after another. */
  rendererOf(index) {
    if (this.renderer?.index !== index) {
      const network = this.networkOf(index);
      const Kernel = this.plain ? PlainKernel : SimdKernel;
      this.renderer = new ChunkRenderer(index, this.header.chunks[index], network, Kernel);
    }
    return this.renderer;
  }

  /** Of a difference, all chunks are decoded from the key chunk on, or from the last one that was. */
  networkOf(index) {
    const { bytes, header, last } = this;
    const key = keyOf(header, index);
    checkWork(header, [header.chunks[index]], header.chunks.slice(key, index + 1));
    const known = last && last.index >= key && last.index <= index;
    let network = known ? last.network : null;
    for (let at = known ? last.index + 1 : key; at <= index; at++) {
      network = decodeChunk(bytes, header, at, network);
    }
    this.last = { index, network };
    return network;
  }
}

/** Renders rows of a chunk: the first layer is a sum of one column of a table for each axis. */
class ChunkRenderer {
  constructor(index, chunk, network, Kernel) {
    this.index = index;
    this.chunk = chunk;
    this.network = network;
    this.kernel = new Kernel(network);
    this.biases = biasPhases(network.layers[0]);
    this.phases = new Int32Array(network.size.width);
    this.grid = null;
  }

  setGrid({ width, height, window }) {
    const grid = [width, height, window.x, window.y, window.width, window.height].join();
    if (this.grid === grid) return;
    this.grid = grid;
    this.rows = window.height;
    this.rowPhases = axisPhases(this.network, 1, height, window.y, window.height);
    const columnPhases = axisPhases(this.network, 0, width, window.x, window.width);
    this.kernel.setColumns(columnPhases, window.width);
  }

  /** Sets the frame of the chunk, from 0. */
  setTime(frame) {
    const { network, biases, chunk } = this;
    if (network.size.axes < 3) {
      this.constants = biases;
    } else {
      const time = axisPhases(network, 2, chunk.frames, frame, 1);
      this.constants = biases.map((bias, neuron) => bias + time[neuron]);
    }
  }

  row(y, out) {
    const { phases, constants, rowPhases, rows } = this;
    for (let neuron = 0; neuron < phases.length; neuron++) {
      phases[neuron] = constants[neuron] + rowPhases[neuron * rows + y];
    }
    this.kernel.row(phases, out);
  }
}

/** Words of pixels as samples, into `samples` from `at` on. */
function unpack(words, channels, samples, at) {
  for (let i = 0; i < words.length; i++) {
    for (let channel = 0; channel < channels; channel++) {
      samples[at++] = words[i] >>> (8 * channel);
    }
  }
}

/**
 * Words of pixels as a canvas has them: red, green, blue and alpha, in this order of bytes.
 *
 * @param {Uint32Array} words of bands()
 * @param {1 | 3 | 4} channels
 * @returns {Uint8ClampedArray} 4 × pixels
 */
export function toRgba(words, channels) {
  const rgba = new Uint8ClampedArray(4 * words.length);
  for (let i = 0, at = 0; i < words.length; i++, at += 4) {
    const word = words[i];
    rgba[at] = word & 255;
    rgba[at + 1] = channels === 1 ? word & 255 : (word >>> 8) & 255;
    rgba[at + 2] = channels === 1 ? word & 255 : (word >>> 16) & 255;
    rgba[at + 3] = channels === 4 ? word >>> 24 : 255;
  }
  return rgba;
}

/**
 * Lets other tasks run, such as the arrival of messages. A timer would do too, but browsers make
 * timers wait for some milliseconds when they follow one another.
 *
 * @returns {Promise<void>}
 */
export function pause() {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
