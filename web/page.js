/**
 * The page: opens files by choosing, dropping or `?file=ADDRESS`, and shows what they say of
 * themselves. `&max-pixels=N` raises the decoder's limit.
 *
 * @module
 */

import { Client } from './client.js';
import { listen } from './gestures.js';
import { Player, range } from './player.js';
import { Viewer } from './viewer.js';

/** Rows of the table of chunks, of which a file may have tens of thousands. */
const MOST_ROWS = 1000;

const ZOOM_STEP = Math.SQRT2;

const find = (id) => document.getElementById(id);
const stage = find('stage');
const parameters = new URLSearchParams(location.search);
const maxPixels = Number(parameters.get('max-pixels')) || undefined;

const client = new Client();
const viewer = new Viewer(stage, client);
const player = new Player(viewer);
listen(stage, viewer);

/** The number of the last file, so that one that comes late does not take the place of a newer. */
let opened = 0;

/**
 * Opens a file.
 *
 * @param {string} name
 * @param {() => Promise<ArrayBuffer>} read
 */
async function open(name, read) {
  const mine = ++opened;
  show(null, name);
  find('welcome').hidden = true;
  setTitle(name);
  try {
    const buffer = await read();
    if (mine !== opened) return;
    const file = await client.open(buffer, maxPixels);
    if (mine === opened) show(file, name);
  } catch (error) {
    if (mine !== opened) return;
    showError(`'${name}': ${error.message}`);
    find('welcome').hidden = false;
  }
}

async function fetchFile(address) {
  const response = await fetch(address).catch((error) => {
    throw new Error(`cannot be fetched (${error.message}); check the address`);
  });
  if (!response.ok) {
    const status = `${response.status} ${response.statusText}`.trim();
    throw new Error(`the server answers ${status}; check the address`);
  }
  return response.arrayBuffer();
}

function show(file, name) {
  showError('');
  for (const id of ['zoom', 'facts']) find(id).hidden = !file;
  find('video-keys').hidden = file?.kind !== 'video';
  player.open(file);
  if (file) {
    showFacts(file);
    showIndex(file);
  }
  // Last, since what is beside it decides how large it is.
  viewer.open(file);
  const label = file ? `${name}, ${file.width} by ${file.height} pixels` : 'No picture';
  stage.setAttribute('aria-label', label);
}

function setTitle(name) {
  find('name').textContent = name;
  document.title = `${name} · tcnn viewer`;
}

function showError(text) {
  find('error').textContent = text;
  find('error').hidden = !text;
}

function showFacts(file) {
  const video = file.kind === 'video';
  const networks = [...new Set(file.chunks.map((chunk) => chunk.network))];
  const facts = [
    ['Size', `${number(file.width)} × ${number(file.height)} pixels`],
    ['Channels', { 1: 'grey', 3: 'red, green, blue', 4: 'red, green, blue, alpha' }[file.channels]],
    video && ['Frames', `${number(file.frames)} in ${count(file.chunks.length, 'chunk')}`],
    video && ['Duration', `${player.duration.toFixed(2)} s, ${rate(file.frameRate)} frames a second`],
    ['File', count(file.fileBytes, 'byte')],
    ['Rate', `${file.bitsPerPixel.toPrecision(3)} bits per pixel`],
    ...networks.map((network, i) => {
      return [networks.length > 1 ? `Network ${i + 1}` : 'Network', describe(network)];
    }),
    ['Decoder', file.plain ? 'plain JavaScript' : 'WebAssembly with vectors'],
  ];
  const elements = facts.filter(Boolean).flatMap(([term, text]) => [
    element('dt', term),
    element('dd', text),
  ]);
  find('list').replaceChildren(...elements);
}

function describe({ hiddenLayers, width, frequencies, scale, timeCodes, parameters: total }) {
  const layers = `${count(hiddenLayers, 'hidden layer')}, ${width} wide`;
  const encoding = `${frequencies} frequencies in steps of ${scale / 1000}`;
  const codes = timeCodes ? `; ${timeCodes} codes a frame` : '';
  return `${layers}; ${frequencies ? encoding : 'no frequencies'}${codes}; ${number(total)} parameters`;
}

/** The table of chunks. Chunks and frames are counted from 0, as the command line does. */
function showIndex(file) {
  const several = new Set(file.chunks.map(({ network }) => network)).size > 1;
  const rows = file.chunks.slice(0, MOST_ROWS).map(({ firstFrame, frames, ...chunk }, i) => {
    const place = element(file.kind === 'video' ? 'button' : 'span', number(i));
    place.addEventListener('click', () => player.seek(firstFrame));
    const texts = [range(firstFrame, frames), number(chunk.offset), number(chunk.bytes)];
    if (several) texts.push(`${chunk.network.hiddenLayers} × ${chunk.network.width}`);
    const row = document.createElement('tr');
    row.append(...[place, ...texts].map((content) => element('td', content)));
    return row;
  });
  if (file.chunks.length > MOST_ROWS) {
    const more = element('td', `and ${number(file.chunks.length - MOST_ROWS)} more`);
    more.colSpan = several ? 5 : 4;
    rows.push(element('tr', more));
  }
  find('index').replaceChildren(...rows);
  find('index-network').hidden = !several;
}

function element(name, content) {
  const made = document.createElement(name);
  made.append(content);
  return made;
}

function number(value) {
  return value.toLocaleString('en');
}

function count(value, noun) {
  return `${number(value)} ${noun}${value === 1 ? '' : 's'}`;
}

function rate([numerator, denominator]) {
  return String(Math.round((1000 * numerator) / denominator) / 1000);
}

viewer.addEventListener('view', () => {
  const percent = 100 * viewer.zoom;
  find('zoom-value').value = `${percent < 10 ? percent.toFixed(1) : Math.round(percent)} %`;
});
viewer.addEventListener('busy', ({ detail: fraction }) => {
  find('progress').hidden = fraction === null || viewer.playing;
  find('progress').value = fraction ?? 0;
  if (fraction === null) showError('');
});
viewer.addEventListener('fail', ({ detail: error }) => {
  showError(`'${find('name').textContent}': ${error.message}`);
});
find('zoom-in').addEventListener('click', () => viewer.zoomTo(viewer.zoom * ZOOM_STEP));
find('zoom-out').addEventListener('click', () => viewer.zoomTo(viewer.zoom / ZOOM_STEP));
find('zoom-fit').addEventListener('click', () => viewer.fit());
find('zoom-one').addEventListener('click', () => viewer.zoomTo(1));

find('chooser').addEventListener('change', ({ target }) => {
  const [file] = target.files;
  if (file) open(file.name, () => file.arrayBuffer());
  target.value = ''; // so that the same file can be chosen again
});
document.addEventListener('dragover', (event) => {
  event.preventDefault();
  document.body.classList.add('dropping');
});
document.addEventListener('dragleave', (event) => {
  if (!event.relatedTarget) document.body.classList.remove('dropping');
});
document.addEventListener('drop', (event) => {
  event.preventDefault();
  document.body.classList.remove('dropping');
  const [file] = event.dataTransfer.files;
  if (file) open(file.name, () => file.arrayBuffer());
});

const address = parameters.get('file');
if (address) open(nameOf(address), () => fetchFile(address));
else find('welcome').hidden = false;

/** The last part of an address, as a person reads it. */
function nameOf(text) {
  const last = text.split(/[?#]/)[0].split('/').at(-1) || text;
  try {
    return decodeURIComponent(last);
  } catch {
    return last;
  }
}
