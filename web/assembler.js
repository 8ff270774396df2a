/**
 * A small assembler for WebAssembly, so that the kernels of simd.js are text that can be read, and
 * no binary that must be trusted. It knows the instructions that they need.
 *
 * A module is functions that share one imported memory, `env.memory`. A function is
 *
 *     func NAME $parameter:type …
 *     local $name:type …
 *     instructions
 *     end
 *
 * and is exported by its name. Types are i32, f64 and v128. Instructions are those of WebAssembly's
 * text format, one after another (not folded), with their immediates behind them: a name of a
 * local, a number, `offset=N` of a load or store, or the name of a loop that `br_if` repeats.
 *
 * @module
 */

const TYPES = { i32: 0x7f, f64: 0x7c, v128: 0x7b };
const VECTOR = 0xfd;
const NO_RESULT = 0x40;
const END = 0x0b;

/** Each instruction's code, behind the vector prefix or not, and what its immediates are. */
const INSTRUCTIONS = {
  'local.get': [0x20, 'local'],
  'local.set': [0x21, 'local'],
  'local.tee': [0x22, 'local'],
  'i32.const': [0x41, 'integer'],
  'i32.add': [0x6a],
  'i32.sub': [0x6b],
  'f64.load': [0x2b, 'memory', 3],
  'v128.load': [VECTOR, 0x00, 'memory', 4],
  'v128.load32_splat': [VECTOR, 0x09, 'memory', 2],
  'v128.store': [VECTOR, 0x0b, 'memory', 4],
  'v128.const.zero': [VECTOR, 0x0c, 'zeros'],
  'i8x16.shuffle': [VECTOR, 0x0d, 'lanes'],
  'i16x8.splat': [VECTOR, 0x10],
  'i32x4.splat': [VECTOR, 0x11],
  'f64x2.splat': [VECTOR, 0x14],
  'v128.and': [VECTOR, 0x4e],
  'v128.or': [VECTOR, 0x50],
  'v128.xor': [VECTOR, 0x51],
  'i16x8.q15mulr_sat_s': [VECTOR, 0x82, 0x01],
  'i16x8.shl': [VECTOR, 0x8b, 0x01],
  'i16x8.shr_s': [VECTOR, 0x8c, 0x01],
  'i16x8.add': [VECTOR, 0x8e, 0x01],
  'i16x8.sub': [VECTOR, 0x91, 0x01],
  'i32x4.shl': [VECTOR, 0xab, 0x01],
  'i32x4.shr_u': [VECTOR, 0xad, 0x01],
  'i32x4.add': [VECTOR, 0xae, 0x01],
  'i32x4.mul': [VECTOR, 0xb5, 0x01],
  'i32x4.min_u': [VECTOR, 0xb7, 0x01],
  'i32x4.dot_i16x8_s': [VECTOR, 0xba, 0x01],
  'f64x2.add': [VECTOR, 0xf0, 0x01],
  'f64x2.mul': [VECTOR, 0xf2, 0x01],
  'i32x4.trunc_sat_f64x2_u_zero': [VECTOR, 0xfd, 0x01],
  'f64x2.convert_low_i32x4_s': [VECTOR, 0xfe, 0x01],
};

/**
 * @param {string} source of a module
 * @returns {Uint8Array} the module in binary
 * @throws {SyntaxError} where a word is not known
 */
export function assemble(source) {
  const functions = source
    .split(/^\s*func\s/m)
    .slice(1)
    .map((text) => assembleFunction(text.trim().split(/\s+/)));
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00], // the magic and the version
    ...section(1, functions.map(({ type }) => type)),
    ...section(2, [[...text('env'), ...text('memory'), 0x02, 0x00, 0x01]]),
    ...section(3, functions.map((_, i) => unsigned(i))),
    ...section(7, functions.map(({ name }, i) => [...text(name), 0x00, ...unsigned(i)])),
    ...section(10, functions.map(({ body }) => [...unsigned(body.length), ...body])),
  ]);
}

function assembleFunction(words) {
  const name = words.shift();
  const locals = new Map();
  const declared = () => {
    const types = [];
    while (/^\$\w+:/.test(words[0])) {
      const [local, type] = words.shift().split(':');
      if (!TYPES[type] || locals.has(local)) throw unknown(name, `${local}:${type}`);
      locals.set(local, locals.size);
      types.push(TYPES[type]);
    }
    return types;
  };
  const parameters = declared();
  const variables = [];
  while (words[0] === 'local') {
    words.shift();
    variables.push(...declared());
  }
  const body = [...vector(variables.map((type) => [0x01, type]))];
  const loops = [];
  let open = 1;
  while (open > 0) {
    if (words.length === 0) throw unknown(name, 'end of text');
    const word = words.shift();
    if (word === 'loop') {
      loops.push(words.shift());
      body.push(0x03, NO_RESULT);
      open++;
    } else if (word === 'end') {
      body.push(END);
      loops.pop();
      open--;
    } else if (word === 'br_if') {
      const loop = words.shift();
      if (!loops.includes(loop)) throw unknown(name, loop);
      body.push(0x0d, ...unsigned(loops.length - 1 - loops.lastIndexOf(loop)));
    } else {
      body.push(...instruction(name, word, words, locals));
    }
  }
  return { name, type: [0x60, ...vector(parameters.map((type) => [type])), 0x00], body };
}

function instruction(name, word, words, locals) {
  if (!Object.hasOwn(INSTRUCTIONS, word)) throw unknown(name, word);
  const code = [...INSTRUCTIONS[word]];
  const kind = code.findIndex((part) => typeof part === 'string');
  if (kind < 0) return code;
  const [immediate, alignment] = code.splice(kind);
  switch (immediate) {
    case 'local': {
      const local = words.shift();
      if (!locals.has(local)) throw unknown(name, local);
      return [...code, ...unsigned(locals.get(local))];
    }
    case 'integer':
      return [...code, ...signed(Number(words.shift()))];
    case 'memory': {
      const offset = words[0]?.startsWith('offset=') ? Number(words.shift().slice(7)) : 0;
      return [...code, ...unsigned(alignment), ...unsigned(offset)];
    }
    case 'zeros':
      return [...code, ...new Array(16).fill(0)];
    case 'lanes':
      return [...code, ...words.splice(0, 16).map(Number)];
  }
}

function section(number, entries) {
  const content = vector(entries);
  return [number, ...unsigned(content.length), ...content];
}

function vector(entries) {
  return [...unsigned(entries.length), ...entries.flat()];
}

function text(value) {
  return vector([...new TextEncoder().encode(value)].map((byte) => [byte]));
}

/** LEB128, which is the varint of section 2 of docs/format.md. */
function unsigned(value) {
  const bytes = [];
  for (; value > 127; value >>>= 7) bytes.push((value & 127) | 128);
  return [...bytes, value];
}

/** LEB128 of an integer of 32 bits with its sign. */
function signed(value) {
  const bytes = [];
  for (; value < -64 || value > 63; value >>= 7) bytes.push((value & 127) | 128);
  return [...bytes, value & 127];
}

function unknown(name, word) {
  return new SyntaxError(`'${word}' in function '${name}' is unknown here`);
}
