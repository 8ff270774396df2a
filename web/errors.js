/**
 * Why a file is not decoded: one line that says the value, what is allowed, and the remedy.
 *
 * @module
 */

/** The faults of section 9 of docs/format.md, in its order and by its names. */
export const FAULTS = Object.freeze([
  'empty file',
  'not this format',
  'another version',
  'truncated header',
  'header checksum',
  'header field out of range',
  'trailing bytes',
  'too many pixels',
  'too many parameters',
  'too much work',
  'truncated record',
  'chunk checksum',
  'impossible code',
  'step',
  'bias',
  'output row',
  'length',
]);

/** A fault of a file, or a limit of this decoder that a file goes beyond. */
export class TcnnError extends Error {
  /**
   * @param {string} fault one of FAULTS, by which a program tells faults apart
   * @param {string} value what was found
   * @param {string} [allowed] what would have been allowed
   * @param {string} [remedy] what to do about it
   */
  constructor(fault, value, allowed = '', remedy = '') {
    super([value, allowed, remedy].filter(Boolean).join('; '));
    this.name = 'TcnnError';
    this.fault = fault;
    this.value = value;
    this.allowed = allowed;
    this.remedy = remedy;
  }
}

/** What to do about a file that is not what its maker wrote. */
export const FETCH_AGAIN = 'fetch the file again';

/** What to do about a file whose checksums are right and whose content is not. */
export const ENCODER_AT_FAULT = 'its encoder was faulty; encode it again';
