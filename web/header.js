/**
 * The header of a file: sections 1, 3, 4 and 5 of docs/format.md, and the limits of section 9.
 *
 * @module
 */

import {
  VarintReader,
  crc32,
  grouped,
  outOfRange,
  readLittleEndian32,
  truncatedHeader,
} from './bytes.js';
import { FETCH_AGAIN, TcnnError } from './errors.js';

const MAGIC = Uint8Array.of(0x89, 0x54, 0x43, 0x4e);
const VERSION = 3;
const CRC_BYTES = 4;

const MAX_SIDE = 65536;
const MAX_FRAMES = 1 << 20;
const MAX_CHUNK_FRAMES = 4096;
const MAX_CHUNKS = 65536;
const MAX_NETWORKS = 256;
const MAX_RATIO = 2 ** 31 - 1;
const MAX_TIMESTAMP = (1n << 62n) - 1n;
const FREQUENCY_BOUND = 1n << 46n;

/** P of section 9: the pixels of a chunk that a decoder evaluates, unless it is told otherwise. */
export const DEFAULT_MAX_PIXELS = 2 ** 28;

/**
 * What the networks of one or more chunks look like.
 *
 * @typedef {object} NetworkSize
 * @property {number} frequencies L, 0 to 32, of x and y
 * @property {number} scale of one frequency to the next, in thousandths, 1 to 4,000
 * @property {number} hiddenLayers H, 0 to 32; there is one more layer of sines than that
 * @property {number} width W, 1 to 128: neurons in each layer of sines
 * @property {number} axes D: 2 of an image (x, y), 3 of a video (x, y, t)
 * @property {number} channels C: 1, 3 or 4
 * @property {number} timeFrequencies L of t, 0 to 32; 0 of an image
 * @property {number} timeCodes codes of each frame, 0 to 64; 0 of an image
 * @property {number} inputs of the first layer
 * @property {number} parameters weights and biases
 *
 * @typedef {object} Chunk
 * @property {number} firstFrame in the file
 * @property {number} frames 1 to 4,096
 * @property {number} offset of its record in the file, in bytes
 * @property {number} bytes of its payload; its record has 4 more
 * @property {boolean} difference whether its network is a difference to that of the chunk before
 * @property {NetworkSize} network the same object for chunks whose networks are of one size
 *
 * @typedef {object} Header
 * @property {'image' | 'video'} kind
 * @property {number} height pixels, 1 to 65,536
 * @property {number} width pixels, 1 to 65,536
 * @property {1 | 3 | 4} channels grey; red, green, blue; the same and alpha, which is straight
 * @property {number} frames 1 to 1,048,576; 1 of an image
 * @property {[number, number]} timeBase seconds per tick: numerator, denominator
 * @property {[number, number]} frameRate nominal frames per second: numerator, denominator
 * @property {BigInt64Array} timestamps of every frame, in ticks, strictly increasing
 * @property {Chunk[]} chunks in the order of their frames
 * @property {number} bytes of the header with its checksum
 * @property {number} fileBytes of the whole file, as the header says; above 2^53 it is rounded
 * @property {number} maxPixels the limit P that this header was read with
 */

/**
 * Reads the header of a file. The file may end anywhere behind it: the chunks that are there
 * can be decoded.
 *
 * @param {Uint8Array} bytes of the file, from its first on
 * @param {object} [options]
 * @param {number} [options.maxPixels] P of section 9, by default 2^28: the pixels of a chunk
 *   (height · width · frames) at most. The limit on work follows from it too.
 * @returns {Header}
 * @throws {TcnnError} with the faults from 'empty file' to 'too many pixels'
 */
export function parseHeader(bytes, { maxPixels = DEFAULT_MAX_PIXELS } = {}) {
  checkStart(bytes);
  const reader = new VarintReader(bytes, MAGIC.length + 1, truncatedHeader);
  const length = reader.number('length');
  const end = reader.offset + length;
  if (end > bytes.length) throw truncatedHeader('fields');
  if (end + CRC_BYTES > bytes.length) throw truncatedHeader('checksum');
  if (crc32(bytes.subarray(0, end)) !== readLittleEndian32(bytes, end)) {
    throw new TcnnError(
      'header checksum',
      'the checksum of the header is wrong',
      'it must be the one of the bytes before it',
      FETCH_AGAIN,
    );
  }
  const fields = new VarintReader(bytes.subarray(0, end), reader.offset, (name) =>
    outOfRange(`the header's fields end in ${name}`, 'no field may be missing'),
  );
  const header = readFields(fields, end + CRC_BYTES);
  if (fields.offset !== end) {
    throw outOfRange(
      `the header has ${end - fields.offset} bytes behind its last field`,
      'nothing may follow it',
    );
  }
  if (bytes.length > header.fileBytes) {
    throw new TcnnError(
      'trailing bytes',
      `the file has ${grouped(bytes.length - header.fileBytes)} bytes behind its last record`,
      'it must end there',
      FETCH_AGAIN,
    );
  }
  header.maxPixels = maxPixels;
  for (const chunk of header.chunks) checkPixels(header, chunk);
  return header;
}

/**
 * Checks the parameters of some chunks, and the work of decoding them in full, against the limits of
 * section 9.
 *
 * @param {Header} header
 * @param {Chunk[]} chunks of that header whose pixels are wanted
 * @param {Chunk[]} decoded those whose payloads are decoded, with the ones that differences refer to
 * @throws {TcnnError} 'too many parameters' or 'too much work'
 */
export function checkWork(header, chunks, decoded) {
  // Such products exceed 2^53 where `maxPixels` is raised.
  let work = 0n;
  let payloads = 0n;
  for (const chunk of chunks) {
    const pixels = BigInt(header.height * header.width * chunk.frames);
    work += pixels * BigInt(parametersOf(chunk) + 1024);
    payloads += BigInt(chunk.bytes);
  }
  const parameters = decoded.reduce((sum, chunk) => sum + BigInt(parametersOf(chunk)), 0n);
  const bytes = decoded.reduce((sum, chunk) => sum + BigInt(chunk.bytes), 0n);
  const most = 2048n * (bytes + 8192n);
  if (parameters > most) {
    throw new TcnnError(
      'too many parameters',
      `networks have ${grouped(parameters)} parameters in ${grouped(bytes)} bytes`,
      `${grouped(most)} are allowed`,
      'decode fewer frames at a time; no encoder makes such files',
    );
  }
  const allowed = 4n * BigInt(header.maxPixels) * (payloads + 4096n);
  if (work > allowed) {
    throw new TcnnError(
      'too much work',
      `decoding takes ${grouped(work)} operations for a payload of ${grouped(payloads)} bytes`,
      `${grouped(allowed)} are allowed`,
      'raise the limit of pixels if you trust the file',
    );
  }
}

function checkStart(bytes) {
  if (bytes.length === 0) {
    throw new TcnnError('empty file', 'the file is empty', 'a .tcnn file has a header', FETCH_AGAIN);
  }
  const start = bytes.subarray(0, MAGIC.length);
  if (start.some((byte, i) => byte !== MAGIC[i])) {
    const found = Array.from(start, (byte) => byte.toString(16).padStart(2, '0')).join(' ');
    throw new TcnnError(
      'not this format',
      `the file begins with ${found}`,
      'a .tcnn file begins with 89 54 43 4e',
      'open a file that tcnn_codec has encoded',
    );
  }
  if (start.length < MAGIC.length) throw truncatedHeader('magic');
  if (bytes.length === MAGIC.length) throw truncatedHeader('version');
  const version = bytes[MAGIC.length];
  if (version !== VERSION) {
    throw new TcnnError(
      'another version',
      `the file is of version ${version} of the format`,
      `this decoder reads version ${VERSION}`,
      version > VERSION ? 'use a newer decoder' : 'encode it again',
    );
  }
}

/** @returns {Header} without `maxPixels` */
function readFields(fields, headerBytes) {
  const video = fields.inRange('kind', 0, 1) === 1;
  const height = fields.inRange('height', 1, MAX_SIDE);
  const width = fields.inRange('width', 1, MAX_SIDE);
  const channels = fields.inRange('channels', 1, 4);
  if (channels === 2) throw outOfRange('channels is 2', '1, 3 or 4 is allowed');
  const frames = video ? fields.inRange('frames', 1, MAX_FRAMES) : 1;
  const timeBase = video ? readRatio(fields, 'time base') : [1, 1];
  const frameRate = video ? readRatio(fields, 'frame rate') : [1, 1];
  const timestamps = video ? readTimestamps(fields, frames) : new BigInt64Array(1);
  fields.inRange('family', 0, 0);
  const chunkFrames = video ? readChunkFrames(fields, frames) : [1];
  const networks = readNetworks(fields, video, channels);
  const networkOf = readChunkNetworks(fields, networks.length, chunkFrames.length);
  const kinds = [0, ...readRuns(fields, chunkFrames.length - 1, 'chunk kinds', () => {
    return fields.inRange('chunk kind', 0, 1);
  })];
  kinds.forEach((kind, i) => {
    if (kind === 1 && networkOf[i] !== networkOf[i - 1]) {
      throw outOfRange(`chunk ${i} is a difference to another network`, 'both must have the same');
    }
  });
  const chunks = [];
  let firstFrame = 0;
  let offset = headerBytes;
  chunkFrames.forEach((frames, i) => {
    const bytes = fields.number('index');
    const network = networks[networkOf[i]];
    chunks.push({ firstFrame, frames, offset, bytes, difference: kinds[i] === 1, network });
    firstFrame += frames;
    offset += bytes + CRC_BYTES;
  });
  return {
    kind: video ? 'video' : 'image',
    height,
    width,
    channels,
    frames,
    timeBase,
    frameRate,
    timestamps,
    chunks,
    bytes: headerBytes,
    fileBytes: offset,
  };
}

function readRatio(fields, name) {
  const ratio = ['numerator', 'denominator'].map((part) =>
    fields.inRange(`${name} ${part}`, 1, MAX_RATIO),
  );
  let [a, b] = ratio;
  while (b) [a, b] = [b, a % b];
  if (a !== 1) {
    throw outOfRange(`${name} is ${ratio.join('/')}`, 'it must be in its lowest terms');
  }
  return ratio;
}

/** Section 4. */
function readTimestamps(fields, frames) {
  const stored = fields.big('first timestamp');
  let now = stored & 1n ? -(stored + 1n) / 2n : stored / 2n;
  if (now < -MAX_TIMESTAMP) {
    throw outOfRange(`the first timestamp is ${now}`, `${-MAX_TIMESTAMP} is the least allowed`);
  }
  const timestamps = new BigInt64Array(frames);
  timestamps[0] = now;
  let before = null;
  for (let frame = 1; frame < frames; ) {
    const count = fields.inRange('count of a run of timestamps', 1, frames - frame);
    const ticks = fields.big('ticks of a run of timestamps');
    if (ticks === 0n) throw outOfRange('timestamps do not increase', 'they must');
    if (ticks === before) throw repeated('timestamps');
    if (now + BigInt(count) * ticks > MAX_TIMESTAMP) {
      throw outOfRange('a timestamp is too large', `${MAX_TIMESTAMP} is the greatest allowed`);
    }
    for (const stop = frame + count; frame < stop; frame++) timestamps[frame] = now += ticks;
    before = ticks;
  }
  return timestamps;
}

function readChunkFrames(fields, frames) {
  const found = [];
  let left = frames;
  let before = 0;
  while (left > 0) {
    const count = fields.inRange('count of a run of chunk frames', 1, left);
    const each = fields.inRange('frames of a chunk', 1, MAX_CHUNK_FRAMES);
    if (count * each > left) {
      throw outOfRange(
        `${count} chunks of ${each} frames go beyond the last frame`,
        `${left} frames are left`,
      );
    }
    if (each === before) throw repeated('chunk frames');
    if (found.length + count > MAX_CHUNKS) {
      throw outOfRange(
        `the file has ${grouped(found.length + count)} chunks or more`,
        `${grouped(MAX_CHUNKS)} are allowed`,
      );
    }
    for (let i = 0; i < count; i++) found.push(each);
    left -= count * each;
    before = each;
  }
  return found;
}

/** The sizes of network that occur. */
function readNetworks(fields, video, channels) {
  const axes = video ? 3 : 2;
  const count = video ? fields.inRange('number of networks', 1, MAX_NETWORKS) : 1;
  const found = [];
  const seen = new Set();
  for (let i = 0; i < count; i++) {
    const size = readNetworkSize(fields, axes, channels);
    const key = JSON.stringify(size);
    if (seen.has(key)) throw outOfRange(`network ${i} is listed already`, 'no two may be alike');
    seen.add(key);
    found.push(size);
  }
  return found;
}

/** Which network each chunk has, as its place in the list. */
function readChunkNetworks(fields, networks, chunks) {
  if (networks === 1) return new Array(chunks).fill(0);
  let used = 0;
  const found = readRuns(fields, chunks, 'chunk networks', () => {
    const network = fields.inRange('network of a chunk', 0, Math.min(used, networks - 1));
    used = Math.max(used, network + 1);
    return network;
  });
  if (used < networks) {
    throw outOfRange(`network ${used} is of no chunk`, 'each network must be used');
  }
  return found;
}

/** Section 3: `total` numbers in runs, whose count is absent where only one number is left. */
function readRuns(fields, total, name, readValue) {
  const found = [];
  while (found.length < total) {
    const left = total - found.length;
    const count = left === 1 ? 1 : fields.inRange(`count of a run of ${name}`, 1, left);
    const value = readValue();
    if (value === found.at(-1)) throw repeated(name);
    for (let i = 0; i < count; i++) found.push(value);
  }
  return found;
}

function readNetworkSize(fields, axes, channels) {
  const frequencies = fields.inRange('frequencies', 0, 32);
  const scale = fields.inRange('scale', 1, 4000);
  const hiddenLayers = fields.inRange('hidden layers', 0, 32);
  const width = fields.inRange('width of the network', 1, 128);
  const timeFrequencies = axes === 3 ? fields.inRange('frequencies of t', 0, 32) : 0;
  const timeCodes = axes === 3 ? fields.inRange('codes of a frame', 0, 64) : 0;
  const most = Math.max(frequencies, timeFrequencies);
  if (frequencyTable(most, scale).some((frequency) => frequency >= FREQUENCY_BOUND)) {
    throw outOfRange(
      `${most} frequencies at a scale of ${scale} thousandths`,
      'none may reach 2^46',
    );
  }
  const inputs =
    2 * (1 + 2 * frequencies) + (axes === 3 ? 1 + 2 * timeFrequencies + timeCodes : 0);
  const parameters =
    width * (inputs + 1) + hiddenLayers * width * (width + 1) + channels * (width + 1);
  return {
    frequencies,
    scale,
    hiddenLayers,
    width,
    timeFrequencies,
    timeCodes,
    axes,
    channels,
    inputs,
    parameters,
  };
}

/**
 * f_k for k = 0 … L - 1 of section 8.2.
 *
 * @param {number} frequencies L
 * @param {number} scale in thousandths
 * @returns {bigint[]}
 */
export function frequencyTable(frequencies, scale) {
  const found = [];
  for (let k = 0, f = 1n << 30n; k < frequencies; k++) {
    found.push(f);
    f = (f * BigInt(scale) + 500n) / 1000n;
  }
  return found;
}

function repeated(name) {
  return outOfRange(
    `two runs of ${name} in a row have the same value`,
    'they must be one run',
  );
}

function parametersOf({ network, frames }) {
  return network.parameters + frames * network.timeCodes;
}

/**
 * The chunk with which decoding of a chunk begins.
 *
 * @param {Header} header
 * @param {number} index of the chunk, from 0
 * @returns {number} the last one up to it that is no difference
 */
export function keyOf(header, index) {
  while (header.chunks[index].difference) index--;
  return index;
}

function checkPixels(header, chunk) {
  const pixels = header.height * header.width * chunk.frames;
  if (pixels > header.maxPixels) {
    throw new TcnnError(
      'too many pixels',
      `a chunk has ${header.width}x${header.height}x${chunk.frames} = ${grouped(pixels)} pixels`,
      `${grouped(header.maxPixels)} are allowed`,
      'raise the limit of pixels if you trust the file',
    );
  }
}
