/**
 * Decodes files with web/decoder.js: the program behind test_javascript.py.
 *
 * It reads a list of tasks in JSON from standard input: `path`, and the options of open() and
 * decode(). It writes a list of what came of each, in JSON: the `fault` and the `message` of a
 * refusal, or else the header's facts, with the samples in the file PATH.samples.
 */

import { readFileSync, writeFileSync } from 'node:fs';
import { TcnnError, open } from '../web/decoder.js';

const found = [];
for (const { path, maxPixels, plain, ...options } of JSON.parse(readFileSync(0, 'utf8'))) {
  try {
    const file = open(new Uint8Array(readFileSync(path)), { maxPixels, plain });
    const samples = await file.decode(options);
    writeFileSync(`${path}.samples`, samples);
    const { timestamps, chunks, ...facts } = file.header;
    const networks = chunks.map(({ network }) => network);
    const offsets = chunks.map(({ offset }) => offset);
    const ticks = Array.from(timestamps, String);
    found.push({ ...facts, ticks, networks, offsets, plain: file.plain });
  } catch (error) {
    if (!(error instanceof TcnnError)) throw error;
    found.push({ fault: error.fault, message: error.message });
  }
}
console.log(JSON.stringify(found));
