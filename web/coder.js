/**
 * The arithmetic code of a payload: section 7 of docs/format.md. It is written for clarity, since
 * even the largest network is read in a fraction of a second. Numbers are doubles that hold
 * integers below 2^53, so that nothing is rounded.
 *
 * @module
 */

import { ENCODER_AT_FAULT, TcnnError } from './errors.js';

/** No integer of a network is larger in magnitude. */
export const MAX_MAGNITUDE = 2047;

/** The probability, in units of 2^-16, of a bin that says nothing of itself. */
const EVEN = 32768;

const MAX_WEIGHT = 255;
const UNARY = 8;
const PREFIX = 11;
const SUFFIX = 10;

/** Where the three kinds of contexts begin in a set, and how many there are. */
const FIRST_PREFIX = UNARY;
const FIRST_SUFFIX = UNARY + PREFIX;
const SET = UNARY + PREFIX + SUFFIX;

const RATIOS = [
  1024, 4080, 11884, 24624, 39322, 50771, 57740, 61538, 63512, 64518, 65026, 65280, 65408, 65472,
  65504, 65520,
];

const div = (a, b) => Math.floor(a / b);

/** Section 7.2: bins out of a string of bytes. */
export class BinDecoder {
  /** @param {Uint8Array} payload */
  constructor(payload) {
    this.payload = payload;
    this.taken = 0;
    this.width = 2 ** 32;
    this.offset = 0;
    for (let i = 0; i < 4; i++) this.offset = this.offset * 256 + this.nextByte();
  }

  nextByte() {
    const byte = this.taken < this.payload.length ? this.payload[this.taken] : 0;
    this.taken++;
    return byte;
  }

  /**
   * @param {number} probability of a 1, 1 to 65,535
   * @returns {0 | 1}
   */
  bin(probability) {
    const part = div(this.width * probability, 65536);
    const found = this.offset < part ? 1 : 0;
    if (found) {
      this.width = part;
    } else {
      this.offset -= part;
      this.width -= part;
    }
    while (this.width < 2 ** 24) {
      this.width *= 256;
      this.offset = this.offset * 256 + this.nextByte();
    }
    return found;
  }

  /** Checks, when the last value is known, that the payload is no longer than it need be. */
  finish() {
    if (this.payload.length > this.taken) {
      throw malformed(
        'length',
        `the payload has ${this.payload.length} bytes`,
        `its values end within ${this.taken}`,
      );
    }
    if (this.payload.at(-1) === 0) {
      throw malformed('length', 'the last byte of the payload is 00', 'it must be left out');
    }
  }
}

/** Section 7.1: the contexts of one matrix, and how a value becomes bins. */
export class MatrixContexts {
  constructor() {
    this.probability = new Int32Array(RATIOS.length * SET);
    this.weight = new Int32Array(RATIOS.length * SET);
    this.turn = { probability: EVEN, weight: 16 };
    RATIOS.forEach((ratio, set) => this.initialise(set * SET, ratio));
  }

  initialise(at, ratio) {
    const { probability: p, weight: n } = this;
    p.fill(ratio, at, at + UNARY);
    n.fill(32, at, at + UNARY);
    p[at] = div(ratio * 2 ** 17, 65536 + ratio);
    n[at] = 16;
    let power = ratio;
    for (let k = 0; k < PREFIX; k++) {
      p[at + FIRST_PREFIX + k] = power;
      n[at + FIRST_PREFIX + k] = 16;
      if (k < SUFFIX) {
        p[at + FIRST_SUFFIX + k] = div(power * 65536, 65536 + power);
        n[at + FIRST_SUFFIX + k] = 16;
      }
      power = Math.max(div(power * power, 65536), 64);
    }
  }

  /**
   * Chooses the two sets of contexts for the next value, by the magnitudes before it.
   *
   * @param {number} all sum of all magnitudes before it
   * @param {number} above sum of those in its column
   * @param {number} left sum of those in its row
   * @param {number} row
   * @param {number} column
   * @param {number} columns of the matrix
   */
  choose(all, above, left, row, column, columns) {
    const mean = Math.max(div((all + 8) * 256, row * columns + column + 1), 1);
    const x = div(above * 256 + mean, row + 1);
    const y = div(left * 256 + 8 * mean, column + 8);
    const e = Math.min(div(x * y, mean), 2 ** 19) + 32;
    const o = 31 - Math.clz32(e);
    this.lower = (o - 5) * SET;
    this.upper = this.lower + SET;
    this.share = ((e * 256) >>> o) - 256;
  }

  /**
   * One bin with one of the 29 contexts of the chosen sets.
   *
   * @param {(probability: number) => 0 | 1} code codes a bin and returns it
   * @param {number} k 0 to 28
   */
  bin(code, k) {
    const lower = this.lower + k;
    const upper = this.upper + k;
    const p = this.probability;
    const found = code((p[lower] * (256 - this.share) + p[upper] * this.share) >> 8);
    this.adapt(lower, found);
    this.adapt(upper, found);
    return found;
  }

  adapt(at, bin) {
    this.probability[at] = adapted(this.probability[at], this.weight[at], bin);
    this.weight[at] = Math.min(this.weight[at] + 1, MAX_WEIGHT);
  }

  /** The bin that says whether a sign differs from the one above it. */
  turnBin(code) {
    const turn = this.turn;
    const found = code(turn.probability);
    turn.probability = adapted(turn.probability, turn.weight, found);
    turn.weight = Math.min(turn.weight + 1, MAX_WEIGHT);
    return found;
  }

  /**
   * The magnitude of the next value.
   *
   * @throws {TcnnError} 'impossible code'
   */
  magnitude(code) {
    for (let k = 0; k < UNARY; k++) if (!this.bin(code, k)) return k;
    let digits = 0;
    while (this.bin(code, FIRST_PREFIX + digits)) {
      if (++digits === PREFIX) {
        throw malformed('impossible code', 'a prefix has 11 ones', '10 are allowed');
      }
    }
    let tail = 1;
    for (let i = 0; i < digits; i++) {
      const digit = i === 0 ? this.bin(code, FIRST_SUFFIX + digits - 1) : code(EVEN);
      tail = 2 * tail + digit;
    }
    const magnitude = tail + UNARY - 1;
    if (magnitude > MAX_MAGNITUDE) {
      throw malformed('impossible code', `a magnitude is ${magnitude}`, '0 to 2047 is allowed');
    }
    return magnitude;
  }
}

/**
 * Reads one matrix.
 *
 * @param {BinDecoder} decoder
 * @param {number} rows
 * @param {number} columns
 * @param {boolean} signed whether its values have signs; a matrix of differences has none
 * @param {(value: number, row: number, column: number) => void} [look] sees each value when it is
 *   known, so that a fault is found before the next one is read
 * @returns {Int32Array} rows × columns, row by row
 * @throws {TcnnError} 'impossible code', and what `look` throws
 */
export function readMatrix(decoder, rows, columns, signed, look = () => {}) {
  const contexts = new MatrixContexts();
  const code = (probability) => decoder.bin(probability);
  const values = new Int32Array(rows * columns);
  const above = new Int32Array(columns);
  let all = 0;
  for (let row = 0, at = 0; row < rows; row++) {
    let left = 0;
    for (let column = 0; column < columns; column++, at++) {
      contexts.choose(all, above[column], left, row, column, columns);
      const magnitude = contexts.magnitude(code);
      let negative = false;
      if (signed && magnitude > 0) {
        const beside = row > 0 ? values[at - columns] : 0;
        negative = beside ? (contexts.turnBin(code) === 1) !== beside < 0 : code(EVEN) === 1;
      }
      values[at] = negative ? -magnitude : magnitude;
      all += magnitude;
      above[column] += magnitude;
      left += magnitude;
      look(values[at], row, column);
    }
  }
  return values;
}

/** The error of a payload that no encoder writes. */
export function malformed(fault, value, allowed) {
  return new TcnnError(fault, `malformed payload: ${value}`, allowed, ENCODER_AT_FAULT);
}

function adapted(p, n, bin) {
  return bin ? p + div(65536 - p, n) : p - div(p, n);
}
