/**
 * Times of the decoder of web/: `node bench/javascript.mjs FILE.tcnn …`.
 *
 * It decodes all frames of each file five times, from its bytes to samples, with WebAssembly and
 * without in turns, and prints the medians in milliseconds. `taskset -c 0` before it keeps it to
 * one core. Files like those of docs/results.md are made by
 *
 *     python -m tcnn_codec encode kodim23.png small.tcnn --steps 50
 *     python -m tcnn_codec encode kodim23.png large.tcnn --steps 50 --hidden-layers 5 --width 69
 */

import { readFileSync } from 'node:fs';
import { open } from '../web/decoder.js';

const RUNS = 5;

async function milliseconds(bytes, plain) {
  const start = performance.now();
  await open(bytes, { plain }).decode();
  return performance.now() - start;
}

for (const path of process.argv.slice(2)) {
  const bytes = new Uint8Array(readFileSync(path));
  const { header, plain: noVectors } = open(bytes);
  const { hiddenLayers, width } = header.chunks[0].network;
  const times = [[], []];
  for (let run = 0; run < RUNS; run++) {
    for (const plain of [false, true]) times[Number(plain)].push(await milliseconds(bytes, plain));
  }
  const [simd, plain] = times.map((each) => each.sort((a, b) => a - b)[RUNS >> 1].toFixed(0));
  const picture = `${header.width}x${header.height}x${header.frames}`;
  const network = `${hiddenLayers} hidden layers of ${width}`;
  const vectors = noVectors ? 'no WebAssembly here' : `WebAssembly ${simd} ms`;
  console.log(`${path}: ${picture}, ${network}: ${vectors}, plain ${plain} ms`);
}
