/**
 * Evaluates networks in plain JavaScript: section 8.3 of docs/format.md. It is what a browser
 * without vector instructions uses, and what the others are compared with.
 *
 * Products are of doubles, although all values are integers: processors multiply more doubles in a
 * cycle than integers, and sums below 2^53 are as exact.
 *
 * @module
 */

import { SINE, biasPhases, outputConstants } from './evaluate.js';

/** Pixels that go through all layers together, so that their activations stay in the cache. */
const BLOCK = 64;

/** Neurons that are computed together, so that an activation is read once for all of them. */
const TILE = 4;

/** Evaluates one network, row after row of pixels. */
export class PlainKernel {
  /** @param {import('./payload.js').Network} network */
  constructor(network) {
    this.width = network.size.width;
    this.padded = Math.ceil(this.width / TILE) * TILE;
    this.hidden = network.layers.slice(1, -1).map((layer) => ({
      weights: tiled(layer),
      biases: padded(biasPhases(layer), this.padded),
      multiplier: layer.weightMultiplier,
    }));
    const output = network.layers.at(-1);
    this.output = {
      channels: output.rows,
      weights: tiled(output),
      constants: outputConstants(output),
      multiplier: output.weightMultiplier,
    };
    this.activations = [0, 1].map(() => new Float64Array(this.padded * BLOCK));
    this.sums = new Float64Array(this.padded * BLOCK);
  }

  /**
   * Sets the pixels of a row by their phases in x.
   *
   * @param {Int32Array} phases W × count, of axisPhases()
   * @param {number} count
   */
  setColumns(phases, count) {
    this.columns = phases;
    this.count = count;
  }

  /**
   * Evaluates a row of pixels.
   *
   * @param {Int32Array} phases of each neuron of the first layer: y, t and bias
   * @param {Uint32Array} out one word per pixel, which holds channel c in bits 8c to 8c + 7
   */
  row(phases, out) {
    for (let start = 0; start < this.count; start += BLOCK) {
      const pixels = Math.min(BLOCK, this.count - start);
      let [from, to] = this.activations;
      this.first(phases, start, pixels, from);
      for (const { weights, biases, multiplier } of this.hidden) {
        multiply(weights, from, this.sums, this.padded, this.width, pixels);
        activate(this.sums, to, this.width, multiplier, biases);
        [from, to] = [to, from];
      }
      const { channels, weights } = this.output;
      multiply(weights, from, this.sums, Math.ceil(channels / TILE) * TILE, this.width, pixels);
      this.samples(out, start, pixels);
    }
  }

  first(phases, start, pixels, to) {
    for (let neuron = 0; neuron < this.width; neuron++) {
      const phase = phases[neuron];
      const at = neuron * this.count + start;
      for (let i = 0; i < pixels; i++) {
        to[neuron * BLOCK + i] = SINE[(this.columns[at + i] + phase) >>> 16];
      }
    }
  }

  samples(out, start, pixels) {
    const { channels, constants, multiplier } = this.output;
    for (let i = 0; i < pixels; i++) {
      let word = 0;
      for (let channel = 0; channel < channels; channel++) {
        const value = multiplier * this.sums[channel * BLOCK + i] + constants[channel];
        // As `value >> 26` in 64 bits, held between 0 and 255.
        word |= Math.floor(Math.min(Math.max(value / 67108864, 0), 255)) << (8 * channel);
      }
      out[start + i] = word;
    }
  }
}

/**
 * sums = weights · activations, for tiles of 4 neurons and 2 pixels.
 *
 * @param {Float64Array} weights of tiled()
 * @param {Float64Array} z columns × BLOCK; what is behind `pixels` does not matter
 * @param {Float64Array} sums rows × BLOCK
 */
function multiply(weights, z, sums, rows, columns, pixels) {
  for (let row = 0; row < rows; row += TILE) {
    for (let pixel = 0; pixel < pixels; pixel += 2) {
      let a0 = 0, a1 = 0, b0 = 0, b1 = 0, c0 = 0, c1 = 0, d0 = 0, d1 = 0;
      let w = row * columns;
      let i = pixel;
      for (let column = 0; column < columns; column++) {
        const z0 = z[i], z1 = z[i + 1];
        const a = weights[w], b = weights[w + 1], c = weights[w + 2], d = weights[w + 3];
        a0 += a * z0;
        a1 += a * z1;
        b0 += b * z0;
        b1 += b * z1;
        c0 += c * z0;
        c1 += c * z1;
        d0 += d * z0;
        d1 += d * z1;
        w += TILE;
        i += BLOCK;
      }
      const at = row * BLOCK + pixel;
      sums[at] = a0;
      sums[at + 1] = a1;
      sums[at + BLOCK] = b0;
      sums[at + BLOCK + 1] = b1;
      sums[at + 2 * BLOCK] = c0;
      sums[at + 2 * BLOCK + 1] = c1;
      sums[at + 3 * BLOCK] = d0;
      sums[at + 3 * BLOCK + 1] = d1;
    }
  }
}

/** z = sine(multiplier * sums + bias), for all neurons. */
function activate(sums, z, rows, multiplier, biases) {
  for (let row = 0; row < rows; row++) {
    const bias = biases[row];
    for (let i = row * BLOCK; i < (row + 1) * BLOCK; i++) {
      z[i] = SINE[(Math.imul(sums[i], multiplier) + bias) >>> 16];
    }
  }
}

/** The weights of a layer in the order of multiply(): tiles of 4 rows, and in them by column. */
function tiled({ rows, columns, weights }) {
  const found = new Float64Array(Math.ceil(rows / TILE) * TILE * columns);
  for (let row = 0; row < rows; row++) {
    const tile = row - (row % TILE);
    for (let column = 0; column < columns; column++) {
      found[tile * columns + column * TILE + (row % TILE)] = weights[row * columns + column];
    }
  }
  return found;
}

function padded(values, length) {
  const found = new Int32Array(length);
  found.set(values);
  return found;
}
