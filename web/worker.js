/**
 * Decodes in a thread of its own, so that the page stays alive. Messages to it:
 *
 *     { open: bytes, maxPixels }                      the file of all that follows
 *     { render: id, frame, width, height, window }    one rendering, as bands() takes it
 *
 * Messages from it are `{ opened }` with what the page shows of the file, `{ band: id, … }` for
 * rows of a rendering, `{ done: id, milliseconds }`, and `{ failed: message, id }`. A rendering
 * takes the place of the one before it, of which nothing more is heard then.
 *
 * @module
 */

import { open, pause, toRgba } from './decoder.js';

let file = null;

/** The number of the last order, so that a rendering notices that there is a newer one. */
let order = 0;

self.onmessage = ({ data }) => {
  const mine = ++order;
  if (data.open) attempt(() => self.postMessage({ opened: openFile(data) }));
  else attempt(() => render(data, () => mine === order), data.render);
};

/** Tells the page what went wrong. */
async function attempt(work, id) {
  try {
    await work();
  } catch (error) {
    self.postMessage({ failed: error.message, id });
  }
}

function openFile({ open: bytes, maxPixels }) {
  file = null;
  file = open(bytes, { maxPixels });
  const { timestamps, timeBase, ...header } = file.header;
  const [numerator, denominator] = timeBase;
  const seconds = Float64Array.from(
    timestamps,
    (ticks) => (Number(ticks - timestamps[0]) * numerator) / denominator,
  );
  return { ...header, seconds, bitsPerPixel: file.bitsPerPixel, plain: file.plain };
}

async function render({ render: id, frame, ...rendering }, wanted) {
  const { channels } = file.header;
  const start = performance.now();
  for (const { y, height, words } of file.bands(frame, rendering)) {
    const pixels = toRgba(words, channels);
    self.postMessage({ band: id, y, height, pixels }, [pixels.buffer]);
    await pause();
    if (!wanted()) return;
  }
  self.postMessage({ done: id, milliseconds: performance.now() - start });
}
