/**
 * What a network computes: sections 8.1 and 8.2 of docs/format.md, and its first layer, as tables.
 *
 * All numbers are integers: 32-bit ones that wrap (Math.imul, `| 0`), and doubles below 2^53.
 *
 * @module
 */

import { frequencyTable } from './header.js';

/**
 * The largest n of an axis that the positions of samples are exact for, far beyond the sides of
 * a file, so that a picture can be shown enlarged.
 */
export const MAX_POSITIONS = 2 ** 24;

const HALF_DIGITS = 2 ** 23;
/** What a code of 1 is as an input. */
const CODE_INPUT = 1024;

/**
 * The sine of a phase.
 *
 * @param {number} phase in units of 2^-32 turn; any integer, taken modulo 2^32
 * @returns {number} -2^14 to 2^14
 */
export function sine(phase) {
  return SINE[phase >>> 16];
}

/** The sine of every phase, by the upper 16 bits, which are all that matters. */
export const SINE = Int16Array.from({ length: 65536 }, (_, upper) => {
  const c = ((upper - 16384) << 16) >> 16;
  const r = 32767 - 2 * (c >= 0 ? c : -1 - c);
  const s = mul(r, r);
  let p = -70;
  p = mul(p, s) + 1300;
  p = mul(p, s) - 10582;
  p = mul(p, s) + 25736;
  return mul(r, p);
});

function mul(a, b) {
  return (a * b + 16384) >> 15;
}

/**
 * The encoding of one coordinate, at several samples in a row.
 *
 * @param {number} frequencies L of this axis
 * @param {number} scale of one frequency to the next, in thousandths
 * @param {number} n samples along the whole axis, 1 to 2^24
 * @param {number} first sample of the row
 * @param {number} count of samples in the row
 * @returns {Int32Array} (1 + 2L) × count, each -2^14 to 2^14
 */
export function encodeAxis(frequencies, scale, n, first, count) {
  const found = new Int32Array((1 + 2 * frequencies) * count);
  for (let i = 0; i < count; i++) {
    const m = 2 * (first + i) + 1 - n;
    found[i] = Math.floor((32768 * m + n) / (2 * n));
  }
  frequencyTable(frequencies, scale).forEach((frequency, k) => {
    // 2 f m can exceed 2^53, so that f is taken in two parts, of 23 bits each.
    const high = Number(frequency / BigInt(HALF_DIGITS));
    const low = Number(frequency % BigInt(HALF_DIGITS));
    const sines = (1 + k) * count;
    const cosines = (1 + frequencies + k) * count;
    for (let i = 0; i < count; i++) {
      const m = 2 * (first + i) + 1 - n;
      const quotient = Math.floor((2 * high * m) / n);
      const rest = 2 * high * m - quotient * n;
      const lower = Math.floor((rest * HALF_DIGITS + 2 * low * m) / n);
      const phase = (quotient * HALF_DIGITS + lower) | 0;
      found[sines + i] = sine(phase);
      found[cosines + i] = sine((phase + 0x40000000) | 0);
    }
  });
  return found;
}

/**
 * One axis's share in the phases of the first layer, so that the layer is but a sum of these.
 *
 * @param {import('./payload.js').Network} network
 * @param {number} axis 0 x, 1 y, 2 t
 * @param {number} n samples along the whole axis
 * @param {number} first sample
 * @param {number} count of samples
 * @returns {Int32Array} W × count, in units of 2^-32 turn, modulo 2^32
 */
export function axisPhases(network, axis, n, first, count) {
  const { size, layers } = network;
  const { weights, columns, weightMultiplier } = layers[0];
  const frequencies = axis === 2 ? size.timeFrequencies : size.frequencies;
  const encodings = [encodeAxis(frequencies, size.scale, n, first, count)];
  if (axis === 2) encodings.push(codeInputs(network, first, count));
  const found = new Int32Array(size.width * count);
  for (let row = 0; row < size.width; row++) {
    const phases = found.subarray(row * count, (row + 1) * count);
    let column = row * columns + axis * (1 + 2 * size.frequencies);
    for (const encoding of encodings) {
      for (let at = 0; at < encoding.length; at += count) {
        const weight = Math.imul(weights[column++], weightMultiplier);
        if (weight === 0) continue;
        for (let i = 0; i < count; i++) phases[i] += Math.imul(weight, encoding[at + i]);
      }
    }
  }
  return found;
}

/** The codes of `count` frames from `first` on as inputs, timeCodes × count. */
function codeInputs({ size, codes }, first, count) {
  const { timeCodes } = size;
  return Int32Array.from({ length: timeCodes * count }, (_, at) => {
    const frame = first + (at % count);
    return codes[frame * timeCodes + Math.floor(at / count)] * CODE_INPUT;
  });
}

/**
 * The biases of a layer of sines as phases.
 *
 * @param {import('./payload.js').Layer} layer
 * @returns {Int32Array} one per row, in units of 2^-32 turn, modulo 2^32
 */
export function biasPhases(layer) {
  return layer.biases.map((bias) => Math.imul(bias, layer.biasMultiplier) << 14);
}

/**
 * The biases of the output layer, with what rounds and centres a sample.
 *
 * @param {import('./payload.js').Layer} layer
 * @returns {Float64Array} one per row, integers below 2^53 in magnitude
 */
export function outputConstants(layer) {
  return Float64Array.from(layer.biases, (bias) => bias * layer.biasMultiplier * 16384 + 2 ** 33);
}
