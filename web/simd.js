/**
 * Evaluates networks with the vector instructions of WebAssembly: section 8.3 of docs/format.md.
 *
 * Activations have 16 bits and stand in pairs of neurons, since `i32x4.dot_i16x8_s` multiplies
 * pairs and adds both products. A vector holds such a pair for 4 pixels; 4 vectors, one block of 16
 * pixels, go through all layers together. An odd number of neurons is filled up with one whose
 * weights, of it and for it, are 0.
 *
 * @module
 */

import { assemble } from './assembler.js';
import { biasPhases, outputConstants } from './evaluate.js';

const BLOCK = 16;
const VECTORS = [0, 1, 2, 3];
const VECTOR_BYTES = 16;

/** Bytes of a pair of neurons in a block: activations, and phases of 32 bits. */
const PAIR_BYTES = 4 * BLOCK;
const PHASES_BYTES = 8 * BLOCK;

const PAGE_BYTES = 65536;

/** For each of the 4 vectors. */
const each = (write) => VECTORS.map(write).join('\n');

/** The activations of neurons 2i and 2i + 1, out of their phases in $aV and $bV. */
const ACTIVATE = each(
  (v) => `
    local.get $a${v}  i32.const 16  i32x4.shr_u
    local.get $b${v}  local.get $upper  v128.and  v128.or
    local.get $quarter  i16x8.sub  local.tee $a${v}
    local.get $a${v}  i32.const 15  i16x8.shr_s  v128.xor  i32.const 1  i16x8.shl  local.set $a${v}
    local.get $most  local.get $a${v}  i16x8.sub  local.tee $a${v}
    local.get $a${v}  i16x8.q15mulr_sat_s  local.set $b${v}
    local.get $p3  local.get $b${v}  i16x8.q15mulr_sat_s  local.get $p2  i16x8.add
    local.get $b${v}  i16x8.q15mulr_sat_s  local.get $p1  i16x8.add
    local.get $b${v}  i16x8.q15mulr_sat_s  local.get $p0  i16x8.add
    local.get $a${v}  i16x8.q15mulr_sat_s  local.set $a${v}
    local.get $to  local.get $a${v}  v128.store offset=${v * VECTOR_BYTES}`,
);

const SINE_LOCALS = `
  local $upper:v128 $quarter:v128 $most:v128 $p3:v128 $p2:v128 $p1:v128 $p0:v128
  local ${each((v) => `$a${v}:v128 $b${v}:v128`)}`;

const SINE_CONSTANTS = `
  i32.const -65536  i32x4.splat  local.set $upper
  i32.const 16384  i16x8.splat  local.set $quarter
  i32.const 32767  i16x8.splat  local.set $most
  i32.const -70  i16x8.splat  local.set $p3
  i32.const 1300  i16x8.splat  local.set $p2
  i32.const -10582  i16x8.splat  local.set $p1
  i32.const 25736  i16x8.splat  local.set $p0`;

const advance = (pointer, bytes) =>
  `local.get ${pointer}  i32.const ${bytes}  i32.add  local.set ${pointer}`;

const repeat = (loop, counter) =>
  `local.get ${counter}  i32.const 1  i32.sub  local.tee ${counter}  br_if ${loop}`;

const SOURCE = `
func first $to:i32 $columns:i32 $phases:i32 $pairs:i32
  ${SINE_LOCALS}
  local $phaseA:v128 $phaseB:v128
  ${SINE_CONSTANTS}
  loop $pair
    local.get $phases  v128.load32_splat  local.set $phaseA
    local.get $phases  v128.load32_splat offset=4  local.set $phaseB
    ${each(
      (v) => `
        local.get $columns  v128.load offset=${v * VECTOR_BYTES}
        local.get $phaseA  i32x4.add  local.set $a${v}
        local.get $columns  v128.load offset=${PAIR_BYTES + v * VECTOR_BYTES}
        local.get $phaseB  i32x4.add  local.set $b${v}`,
    )}
    ${ACTIVATE}
    ${advance('$to', PAIR_BYTES)}
    ${advance('$columns', PHASES_BYTES)}
    ${advance('$phases', 8)}
    ${repeat('$pair', '$pairs')}
  end
end

func hidden $to:i32 $from:i32 $layer:i32 $pairs:i32 $multiplier:i32
  ${SINE_LOCALS}
  local $phaseA:v128 $phaseB:v128 $weightA:v128 $weightB:v128 $z:v128 $scale:v128
  local $left:i32 $source:i32 $inputs:i32
  ${SINE_CONSTANTS}
  local.get $multiplier  i32x4.splat  local.set $scale
  local.get $pairs  local.set $left
  loop $pair
    local.get $layer  v128.load32_splat  local.set $phaseA
    local.get $layer  v128.load32_splat offset=4  local.set $phaseB
    ${advance('$layer', 8)}
    ${each((v) => `v128.const.zero  local.set $a${v}  v128.const.zero  local.set $b${v}`)}
    local.get $from  local.set $source
    local.get $pairs  local.set $inputs
    loop $input
      local.get $layer  v128.load32_splat  local.set $weightA
      local.get $layer  v128.load32_splat offset=4  local.set $weightB
      ${each(
        (v) => `
          local.get $source  v128.load offset=${v * VECTOR_BYTES}  local.tee $z
          local.get $weightA  i32x4.dot_i16x8_s  local.get $a${v}  i32x4.add  local.set $a${v}
          local.get $z
          local.get $weightB  i32x4.dot_i16x8_s  local.get $b${v}  i32x4.add  local.set $b${v}`,
      )}
      ${advance('$layer', 8)}
      ${advance('$source', PAIR_BYTES)}
      ${repeat('$input', '$inputs')}
    end
    ${each(
      (v) => `
        local.get $a${v}  local.get $scale  i32x4.mul  local.get $phaseA  i32x4.add
        local.set $a${v}
        local.get $b${v}  local.get $scale  i32x4.mul  local.get $phaseB  i32x4.add
        local.set $b${v}`,
    )}
    ${ACTIVATE}
    ${advance('$to', PAIR_BYTES)}
    ${repeat('$pair', '$left')}
  end
end

func output $to:i32 $from:i32 $layer:i32 $pairs:i32 $multiplier:f64 $channels:i32
  local ${each((v) => `$a${v}:v128 $word${v}:v128`)}
  local $weight:v128 $scale:v128 $constant:v128 $source:i32 $inputs:i32 $shift:i32
  local.get $multiplier  f64x2.splat  local.set $scale
  ${each((v) => `v128.const.zero  local.set $word${v}`)}
  loop $channel
    local.get $layer  f64.load  f64x2.splat  local.set $constant
    ${advance('$layer', 8)}
    ${each((v) => `v128.const.zero  local.set $a${v}`)}
    local.get $from  local.set $source
    local.get $pairs  local.set $inputs
    loop $input
      local.get $layer  v128.load32_splat  local.set $weight
      ${each(
        (v) => `
          local.get $source  v128.load offset=${v * VECTOR_BYTES}
          local.get $weight  i32x4.dot_i16x8_s  local.get $a${v}  i32x4.add  local.set $a${v}`,
      )}
      ${advance('$layer', 4)}
      ${advance('$source', PAIR_BYTES)}
      ${repeat('$input', '$inputs')}
    end
    ${each(
      (v) => `
        local.get $a${v}  ${rescaled()}
        local.get $a${v}  local.get $a${v}
        i8x16.shuffle 8 9 10 11 12 13 14 15 8 9 10 11 12 13 14 15
        ${rescaled()}
        i8x16.shuffle 0 1 2 3 4 5 6 7 16 17 18 19 20 21 22 23
        i32.const 255  i32x4.splat  i32x4.min_u
        local.get $shift  i32x4.shl  local.get $word${v}  v128.or  local.set $word${v}`,
    )}
    ${advance('$shift', 8)}
    ${repeat('$channel', '$channels')}
  end
  ${each((v) => `local.get $to  local.get $word${v}  v128.store offset=${v * VECTOR_BYTES}`)}
end
`;

/**
 * The samples of the two lower sums. Multiplier and constant are divided by 2^26 beforehand, which
 * is exact in binary64; the conversion rounds down, and takes what is below 0 to 0.
 */
function rescaled() {
  return `f64x2.convert_low_i32x4_s  local.get $scale  f64x2.mul
        local.get $constant  f64x2.add  i32x4.trunc_sat_f64x2_u_zero`;
}

let compiled;

/** The kernels, or null where WebAssembly has no vectors or is not allowed. */
function module() {
  if (compiled === undefined) {
    try {
      compiled = new WebAssembly.Module(assemble(SOURCE));
    } catch {
      compiled = null;
    }
  }
  return compiled;
}

/** Whether SimdKernel can be used here. */
export function hasSimd() {
  return module() !== null;
}

/** Evaluates one network, row after row of pixels. It has the methods of PlainKernel. */
export class SimdKernel {
  /** @param {import('./payload.js').Network} network */
  constructor(network) {
    const { width, channels } = network.size;
    this.width = width;
    this.channels = channels;
    this.pairs = Math.ceil(width / 2);
    this.memory = new WebAssembly.Memory({ initial: 1 });
    this.kernels = new WebAssembly.Instance(module(), { env: { memory: this.memory } }).exports;
    this.used = 0;
    this.hidden = network.layers.slice(1, -1).map((layer) => this.placeHidden(layer));
    this.output = this.placeOutput(network.layers.at(-1));
    this.phases = this.allocate(8 * this.pairs);
    this.activations = [0, 1].map(() => this.allocate(PAIR_BYTES * this.pairs));
    this.columns = this.used; // last, since it grows
  }

  /** See PlainKernel. */
  setColumns(phases, count) {
    this.count = count;
    this.used = this.columns;
    const blocks = Math.ceil(count / BLOCK);
    this.allocate(blocks * PHASES_BYTES * this.pairs);
    this.samples = this.allocate(blocks * BLOCK * 4);
    const to = new Int32Array(this.memory.buffer);
    for (let block = 0; block < blocks; block++) {
      const pixels = Math.min(BLOCK, count - block * BLOCK);
      let at = (this.columns + block * PHASES_BYTES * this.pairs) / 4;
      for (let neuron = 0; neuron < this.width; neuron++, at += BLOCK) {
        const from = neuron * count + block * BLOCK;
        for (let i = 0; i < pixels; i++) to[at + i] = phases[from + i];
      }
    }
  }

  /** See PlainKernel. */
  row(phases, out) {
    const { pairs, kernels } = this;
    new Int32Array(this.memory.buffer, this.phases, phases.length).set(phases);
    for (let start = 0; start < this.count; start += BLOCK) {
      let [from, to] = this.activations;
      const columns = this.columns + (start / BLOCK) * PHASES_BYTES * pairs;
      kernels.first(from, columns, this.phases, pairs);
      for (const { at, multiplier } of this.hidden) {
        kernels.hidden(to, from, at, pairs, multiplier);
        [from, to] = [to, from];
      }
      const { at, multiplier } = this.output;
      kernels.output(this.samples + 4 * start, from, at, pairs, multiplier, this.channels);
    }
    out.set(new Uint32Array(this.memory.buffer, this.samples, this.count));
  }

  allocate(bytes) {
    const at = this.used;
    this.used += Math.ceil(bytes / VECTOR_BYTES) * VECTOR_BYTES;
    const missing = this.used - this.memory.buffer.byteLength;
    if (missing > 0) this.memory.grow(Math.ceil(missing / PAGE_BYTES));
    return at;
  }

  /** For each pair of neurons their phases, and then their weights for each pair of inputs. */
  placeHidden(layer) {
    const bytes = this.pairs * 8 * (1 + this.pairs);
    const at = this.allocate(bytes);
    const words = new Int32Array(this.memory.buffer, at, bytes / 4);
    const phases = biasPhases(layer);
    let i = 0;
    for (let row = 0; row < layer.rows; row += 2) {
      words[i++] = phases[row];
      words[i++] = phases[row + 1] ?? 0;
      for (let column = 0; column < layer.columns; column += 2) {
        words[i++] = weightPair(layer, row, column);
        words[i++] = weightPair(layer, row + 1, column);
      }
    }
    return { at, multiplier: layer.weightMultiplier };
  }

  /** For each channel its constant, and then its weights for each pair of inputs. */
  placeOutput(layer) {
    const each = 8 + 4 * this.pairs;
    const at = this.allocate(layer.rows * each);
    const view = new DataView(this.memory.buffer, at, layer.rows * each);
    outputConstants(layer).forEach((constant, row) => {
      view.setFloat64(row * each, constant / 2 ** 26, true);
      for (let pair = 0; pair < this.pairs; pair++) {
        view.setInt32(row * each + 8 + 4 * pair, weightPair(layer, row, 2 * pair), true);
      }
    });
    return { at, multiplier: layer.weightMultiplier / 2 ** 26 };
  }
}

/** Two weights beside each other in a row, 16 bits each; 0 where the layer has no more. */
function weightPair({ rows, columns, weights }, row, column) {
  if (row >= rows) return 0;
  const at = row * columns + column;
  const second = column + 1 < columns ? weights[at + 1] : 0;
  return (weights[at] & 0xffff) | (second << 16);
}
