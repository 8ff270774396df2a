/**
 * Varints and checksums: sections 1 and 2 of docs/format.md.
 *
 * @module
 */

import { ENCODER_AT_FAULT, FETCH_AGAIN, TcnnError } from './errors.js';

const MAX_VARINT_BYTES = 9;

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ (value & 1 ? 0xedb88320 : 0);
  return value;
});

/**
 * CRC-32 of ISO-HDLC, the one of zlib and PNG, of several strings of bytes in a row.
 *
 * @param {...Uint8Array} parts
 * @returns {number} 0 to 2^32 - 1
 */
export function crc32(...parts) {
  let value = -1;
  for (const part of parts) {
    for (let i = 0; i < part.length; i++) {
      value = (value >>> 8) ^ CRC_TABLE[(value ^ part[i]) & 255];
    }
  }
  return ~value >>> 0;
}

/** @returns {Uint8Array} of 4 bytes, the least significant first. */
export function littleEndian32(value) {
  return Uint8Array.of(value, value >>> 8, value >>> 16, value >>> 24);
}

/** The unsigned integer that the 4 bytes from `offset` on hold, the least significant first. */
export function readLittleEndian32(bytes, offset) {
  const [a, b, c, d] = bytes.subarray(offset, offset + 4);
  return (a | (b << 8) | (c << 16) | (d << 24)) >>> 0;
}

/** Reads varints from a string of bytes, one after another. */
export class VarintReader {
  /**
   * @param {Uint8Array} bytes
   * @param {number} offset of the first varint
   * @param {(name: string) => TcnnError} atEnd makes the error of a varint that the bytes end in
   */
  constructor(bytes, offset, atEnd) {
    this.bytes = bytes;
    this.offset = offset;
    this.atEnd = atEnd;
  }

  /**
   * The next varint, exactly.
   *
   * @param {string} name of the field, for the error
   * @returns {bigint} 0 to 2^63 - 1
   * @throws {TcnnError} where the bytes end, or the form is not the shortest
   */
  big(name) {
    let value = 0n;
    for (let digit = 0; ; digit++) {
      if (digit === MAX_VARINT_BYTES) throw badForm(name, 'has more than 9 bytes');
      if (this.offset >= this.bytes.length) throw this.atEnd(name);
      const byte = this.bytes[this.offset++];
      value |= BigInt(byte & 127) << BigInt(7 * digit);
      if (byte < 128) {
        if (byte === 0 && digit > 0) throw badForm(name, 'is not in its shortest form');
        return value;
      }
    }
  }

  /**
   * The next varint as a number. One above 2^53 is rounded, which only fields do that are far out
   * of range then, or longer than any file.
   */
  number(name) {
    return Number(this.big(name));
  }

  /**
   * The next varint, which must be from `least` to `most`.
   *
   * @returns {number}
   */
  inRange(name, least, most) {
    const value = this.big(name);
    if (value < BigInt(least) || value > BigInt(most)) {
      throw outOfRange(`${name} is ${value}`, `${grouped(least)} to ${grouped(most)} is allowed`);
    }
    return Number(value);
  }
}

/** The error of a header field whose value is not allowed. */
export function outOfRange(value, allowed) {
  return new TcnnError('header field out of range', value, allowed, ENCODER_AT_FAULT);
}

/** The error of a header that the file ends in. */
export function truncatedHeader(name) {
  return new TcnnError(
    'truncated header',
    `the file ends in its ${name}`,
    'a header goes on from there',
    FETCH_AGAIN,
  );
}

/** A whole number as a reader likes it: 65,536. */
export function grouped(value) {
  return value.toLocaleString('en');
}

function badForm(name, value) {
  return outOfRange(`the varint of ${name} ${value}`, 'the shortest form is required');
}
