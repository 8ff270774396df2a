/**
 * A chunk's record and the network in it: sections 5, 6 and 8.4 of docs/format.md.
 *
 * @module
 */

import { crc32, grouped, littleEndian32, readLittleEndian32 } from './bytes.js';
import { BinDecoder, MAX_MAGNITUDE, malformed, readMatrix } from './coder.js';
import { FETCH_AGAIN, TcnnError } from './errors.js';

const CRC_BYTES = 4;
const FIRST_STEP_INDEX = 80;
const MAX_STEP_INDEX = 175;
const MAX_CODE = 31;
const MAX_ROW_SUM = 2 ** 17;
const MAX_ROW = 2 ** 38;

/**
 * One layer of a network, in integers.
 *
 * @typedef {object} Layer
 * @property {number} rows its outputs
 * @property {number} columns its inputs
 * @property {Int32Array} weights A, rows × columns, row by row, each at most 2,047 in magnitude
 * @property {Int32Array} biases b, one per row, each at most 2,047 in magnitude; those of a layer
 *   of sines ascend from 0 or more
 * @property {number} weightMultiplier M of section 8.3, 1 to 15 · 2^20
 * @property {number} biasMultiplier N of section 8.3, 1 to 15 · 2^20
 *
 * @typedef {object} Network
 * @property {import('./header.js').NetworkSize} size
 * @property {Layer[]} layers H + 2 of them: layers of sines, and the linear one of the output
 * @property {Int32Array} codes frames × timeCodes, frame by frame, each at most 31 in magnitude
 */

/**
 * The payload of a chunk, whose checksum is right.
 *
 * @param {Uint8Array} bytes of the file
 * @param {import('./header.js').Header} header
 * @param {number} index of the chunk, from 0
 * @returns {Uint8Array} a view of `bytes`
 * @throws {TcnnError} 'truncated record', 'chunk checksum'
 * @throws {RangeError} where there is no such chunk
 */
export function readPayload(bytes, header, index) {
  const chunk = header.chunks[index];
  if (!chunk) throw new RangeError(`no chunk ${index}; the file has ${header.chunks.length}`);
  const end = chunk.offset + chunk.bytes;
  if (end + CRC_BYTES > bytes.length) {
    throw new TcnnError(
      'truncated record',
      `the file ends in chunk ${index}, after ${grouped(bytes.length)} bytes`,
      `that chunk ends at byte ${grouped(end + CRC_BYTES)}`,
      FETCH_AGAIN,
    );
  }
  const payload = bytes.subarray(chunk.offset, end);
  if (crc32(littleEndian32(index), payload) !== readLittleEndian32(bytes, end)) {
    throw new TcnnError(
      'chunk checksum',
      `the checksum of chunk ${index} is wrong`,
      'it must be the one of its index and payload',
      FETCH_AGAIN,
    );
  }
  return payload;
}

/**
 * Reads the network of a chunk.
 *
 * @param {Uint8Array} bytes of the file
 * @param {import('./header.js').Header} header of that file, from parseHeader()
 * @param {number} index of the chunk, from 0
 * @param {Network | null} before of the chunk before; looked at if this one is a difference
 * @returns {Network}
 * @throws {TcnnError} 'truncated record', 'chunk checksum', and what readNetwork() throws
 * @throws {RangeError} where there is no such chunk
 */
export function decodeChunk(bytes, header, index, before) {
  const payload = readPayload(bytes, header, index);
  const { network, frames, difference } = header.chunks[index];
  return readNetwork(payload, network, frames, difference ? before : null);
}

/**
 * Reads the network that a payload holds.
 *
 * @param {Uint8Array} payload
 * @param {import('./header.js').NetworkSize} size
 * @param {number} frames of the chunk
 * @param {Network | null} before that it is a difference to
 * @returns {Network}
 * @throws {TcnnError} 'impossible code', 'step', 'bias', 'difference', 'code', 'output row', 'length'
 */
export function readNetwork(payload, size, frames, before = null) {
  const decoder = new BinDecoder(payload);
  const layers = before
    ? before.layers.map((layer) => readDifference(decoder, layer))
    : readLayers(decoder, size);
  const codes = readCodes(decoder, frames, size.timeCodes);
  checkOutput(layers.at(-1));
  decoder.finish();
  return { size, layers, codes };
}

/** The layers of a key chunk. */
function readLayers(decoder, size) {
  const multipliers = readMultipliers(decoder, size.hiddenLayers + 2);
  return multipliers.map(([weightMultiplier, biasMultiplier], k) => {
    const last = k === size.hiddenLayers + 1;
    const rows = last ? size.channels : size.width;
    const columns = k === 0 ? size.inputs : size.width;
    const weights = readMatrix(decoder, rows, columns, true);
    const biases = last
      ? readMatrix(decoder, 1, rows, true)
      : readAscending(decoder, rows);
    return { rows, columns, weights, biases, weightMultiplier, biasMultiplier };
  });
}

/** Section 6.4: a layer whose integers are differences to those of the chunk before. */
function readDifference(decoder, layer) {
  const { rows, columns } = layer;
  const weights = addTo(layer.weights, readMatrix(decoder, rows, columns, true));
  const biases = addTo(layer.biases, readMatrix(decoder, 1, rows, true));
  return { ...layer, weights, biases };
}

function addTo(before, differences) {
  return differences.map((difference, i) => {
    const value = before[i] + difference;
    if (Math.abs(value) > MAX_MAGNITUDE) {
      throw malformed(
        'difference',
        `an integer of the network is ${value}`,
        `-${MAX_MAGNITUDE} to ${MAX_MAGNITUDE} is allowed`,
      );
    }
    return value;
  });
}

/**
 * The multiplier of a step index: section 6.1.
 *
 * @param {number} s 1 to 175
 * @returns {number} 1 to 15 · 2^20
 */
export function multiplier(s) {
  return s < 16 ? s : (8 + (s % 8)) << ((s >> 3) - 1);
}

/** Section 6.1: a pair of multipliers for each layer. */
function readMultipliers(decoder, layers) {
  const index = [FIRST_STEP_INDEX, FIRST_STEP_INDEX];
  const found = [];
  readMatrix(decoder, layers, 2, true, (value, row, column) => {
    index[column] += value;
    if (index[column] < 1 || index[column] > MAX_STEP_INDEX) {
      throw malformed(
        'step',
        `the step index of a tensor of layer ${row} is ${index[column]}`,
        `1 to ${MAX_STEP_INDEX} is allowed`,
      );
    }
    if (column === 1) found.push(index.map(multiplier));
  });
  return found;
}

/** Section 6.2: biases that are coded as differences. */
function readAscending(decoder, count) {
  const biases = new Int32Array(count);
  let now = 0;
  readMatrix(decoder, 1, count, false, (difference, _, column) => {
    now += difference;
    if (now > MAX_MAGNITUDE) {
      throw malformed('bias', `a bias is ${now}`, `0 to ${MAX_MAGNITUDE} is allowed`);
    }
    biases[column] = now;
  });
  return biases;
}

/** Section 6.3: codes, which are coded as differences to those of the frame before. */
function readCodes(decoder, frames, timeCodes) {
  const codes = new Int32Array(frames * timeCodes);
  if (timeCodes === 0) return codes;
  readMatrix(decoder, frames, timeCodes, true, (difference, frame, column) => {
    const at = frame * timeCodes + column;
    const code = difference + (frame > 0 ? codes[at - timeCodes] : 0);
    if (Math.abs(code) > MAX_CODE) {
      throw malformed('code', `a code is ${code}`, `-${MAX_CODE} to ${MAX_CODE} is allowed`);
    }
    codes[at] = code;
  });
  return codes;
}

/** Section 8.4: what makes sure that the output layer is exact. */
function checkOutput({ rows, columns, weights, biases, weightMultiplier, biasMultiplier }) {
  for (let row = 0; row < rows; row++) {
    let sum = 0;
    for (let i = row * columns; i < (row + 1) * columns; i++) sum += Math.abs(weights[i]);
    if (sum >= MAX_ROW_SUM) {
      throw malformed(
        'output row',
        `the magnitudes of row ${row} of the output layer sum to ${grouped(sum)}`,
        `less than ${grouped(MAX_ROW_SUM)} is allowed`,
      );
    }
    const most = weightMultiplier * sum + biasMultiplier * Math.abs(biases[row]);
    if (most >= MAX_ROW) {
      throw malformed(
        'output row',
        `row ${row} of the output layer may reach ${grouped(most)}`,
        `less than ${grouped(MAX_ROW)} is allowed`,
      );
    }
  }
}
