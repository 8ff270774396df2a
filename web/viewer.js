/**
 * Shows a picture at any zoom. What is seen of it is rendered anew at each zoom, since the network
 * is defined between pixels; meanwhile, what was rendered last is stretched.
 *
 * Lengths are in pixels of the screen, which are smaller than those of CSS on many screens.
 *
 * @module
 */

const MAX_ZOOM = 64;

/** How large small pictures are made at first. */
const SMALL = 512;

/** A rendering that takes longer is preceded by a coarse one, of 1/16 of the work. */
const LONG_MILLISECONDS = 120;
const COARSE = 4;

/** Multiply-adds in a millisecond before anything was measured, with and without WebAssembly. */
const SPEED = { simd: 15e6, plain: 1e6 };

/** What a pixel costs besides its network's parameters, in multiply-adds. */
const PIXEL_WORK = 256;

/** Renderings of fewer pixels say little of the speed. */
const MEASURED_PIXELS = 20_000;

/** A picture, or a frame of a video, in an element. It sends `view`, `busy` and `fail` events. */
export class Viewer extends EventTarget {
  /**
   * @param {HTMLElement} stage the element, which it fills
   * @param {import('./client.js').Client} client
   */
  constructor(stage, client) {
    super();
    this.stage = stage;
    this.client = client;
    this.file = null;
    this.layers = [];
    this.backdrop = document.createElement('div');
    this.backdrop.className = 'backdrop';
    new ResizeObserver(() => this.resize()).observe(stage);
  }

  /** @param {object | null} file what the client's open() gave; null shows nothing */
  open(file) {
    for (const layer of this.layers) layer.canvas.remove();
    this.layers = [];
    this.file = file;
    this.frame = 0;
    this.playing = false;
    this.backdrop.remove();
    if (!file) return;
    if (file.channels === 4) this.stage.prepend(this.backdrop);
    this.speed = file.plain ? SPEED.plain : SPEED.simd;
    this.measureStage();
    this.centre = [file.width / 2, file.height / 2];
    const enlarged = Math.min(this.fitZoom, SMALL / Math.max(file.width, file.height));
    this.fitted = this.fitZoom < 1;
    this.zoom = this.fitted ? this.fitZoom : Math.max(1, Math.floor(enlarged));
    this.changed();
  }

  /** The zoom at which all of the picture is as large as it can be seen. */
  get fitZoom() {
    return Math.min(this.size[0] / this.file.width, this.size[1] / this.file.height, MAX_ZOOM);
  }

  get leastZoom() {
    return Math.min(this.fitZoom, 1);
  }

  fit() {
    this.zoomTo(this.fitZoom);
    this.fitted = true;
  }

  /**
   * @param {number} zoom pixels of the screen for one of the picture
   * @param {[number, number]} [point] of the stage that stays where it is, from its middle
   */
  zoomTo(zoom, point = [0, 0]) {
    if (!this.file) return;
    const next = Math.min(Math.max(zoom, this.leastZoom), MAX_ZOOM);
    this.centre = this.centre.map((c, axis) => c + point[axis] / this.zoom - point[axis] / next);
    this.zoom = next;
    this.fitted = false;
    this.changed();
  }

  /** Moves the picture. */
  panBy(dx, dy) {
    if (!this.file) return;
    this.centre = [this.centre[0] - dx / this.zoom, this.centre[1] - dy / this.zoom];
    this.changed();
  }

  /** Shows a frame, in full quality when there is time for it. */
  showFrame(frame) {
    this.frame = frame;
    this.changed();
  }

  /**
   * Shows a frame while a video plays, in the quality that the time allows.
   *
   * @param {number} frame
   * @param {number} milliseconds that it may take
   * @returns {Promise<boolean>} whether it has been shown
   */
  async playFrame(frame, milliseconds) {
    this.frame = frame;
    const work = this.milliseconds(this.visible());
    return this.render(Math.max(1, Math.sqrt(work / milliseconds)), false);
  }

  /** Where the picture is, and what of it is seen, for the present view. */
  visible() {
    const { width, height } = this.file;
    const full = [width, height].map((side) => Math.max(1, Math.round(side * this.zoom)));
    const begin = full.map((side, axis) => {
      const centre = (this.centre[axis] / [width, height][axis]) * side;
      return Math.round(this.size[axis] / 2 - centre);
    });
    const from = begin.map((at) => Math.max(0, -at));
    const to = full.map((side, axis) => Math.min(side, this.size[axis] - begin[axis]));
    return { full, begin, from, to };
  }

  /** How long a rendering will take, by what was measured of others. */
  milliseconds({ from, to }) {
    const pixels = (to[0] - from[0]) * (to[1] - from[1]);
    return (pixels * this.pixelWork) / this.speed;
  }

  get pixelWork() {
    return PIXEL_WORK + chunkAt(this.file, this.frame).network.parameters;
  }

  measureStage() {
    this.ratio = window.devicePixelRatio;
    const { clientWidth, clientHeight } = this.stage;
    this.size = [clientWidth, clientHeight].map((side) => Math.max(1, Math.round(side * this.ratio)));
  }

  resize() {
    if (!this.file) return;
    this.measureStage();
    if (this.fitted) this.zoom = this.fitZoom;
    this.zoom = Math.min(Math.max(this.zoom, this.leastZoom), MAX_ZOOM);
    this.changed();
  }

  /** The view or the frame has changed: layers move at once, and a rendering follows soon. */
  changed() {
    const { width, height } = this.file;
    this.centre = [width, height].map((side, axis) => {
      const half = this.size[axis] / 2 / this.zoom;
      if (side <= 2 * half) return side / 2;
      return Math.min(Math.max(this.centre[axis], half), side - half);
    });
    this.place();
    this.dispatchEvent(new Event('view'));
    if (this.playing || this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      if (this.file && !this.playing) this.refresh();
    });
  }

  async refresh() {
    const visible = this.visible();
    const best = this.layers.at(-1);
    const enough =
      best?.done &&
      best.frame === this.frame &&
      best.full.every((side, axis) => side === visible.full[axis]) &&
      best.from.every((at, axis) => at <= visible.from[axis]) &&
      best.to.every((at, axis) => at >= visible.to[axis]);
    if (enough) {
      this.setBusy(null);
      return;
    }
    const long = this.milliseconds(visible) > LONG_MILLISECONDS;
    if (!long || (await this.render(COARSE, false))) await this.render(1, long);
  }

  /**
   * Renders what is seen into a new layer, which then takes the place of all others.
   *
   * @param {number} divisor of the size, 1 or more
   * @param {boolean} gradually whether its rows are shown as they come
   * @returns {Promise<boolean>} whether it came to its end
   */
  async render(divisor, gradually) {
    const { file, frame } = this;
    const visible = this.visible();
    const full = visible.full.map((side) => Math.max(1, Math.round(side / divisor)));
    const shrink = full.map((side, axis) => side / visible.full[axis]);
    const from = visible.from.map((at, axis) => Math.floor(at * shrink[axis]));
    const to = visible.to.map((at, axis) => Math.min(full[axis], Math.ceil(at * shrink[axis])));
    const [width, height] = to.map((end, axis) => end - from[axis]);
    const canvas = document.createElement('canvas');
    canvas.width = width;
    canvas.height = height;
    // Through a transparent picture, the rows of an older one would be seen.
    canvas.hidden = !gradually || file.channels === 4;
    const context = canvas.getContext('2d');
    const layer = { canvas, full, from, to, frame, done: false };
    const pending = this.layers.filter((other) => !other.done);
    this.layers = [...this.layers.filter((other) => other.done), layer];
    for (const other of pending) other.canvas.remove();
    this.stage.append(canvas);
    this.place();
    this.setBusy(0);
    const rendering = {
      frame,
      width: full[0],
      height: full[1],
      window: { x: from[0], y: from[1], width, height },
    };
    try {
      const taken = await this.client.render(rendering, (y, rows, pixels) => {
        context.putImageData(new ImageData(pixels, width, rows), 0, y);
        if (divisor === 1) this.setBusy((y + rows) / height);
      });
      if (taken === null || file !== this.file) return false;
      if (width * height > MEASURED_PIXELS) {
        this.speed = (width * height * this.pixelWork) / Math.max(taken, 1);
      }
    } catch (error) {
      if (file === this.file) this.fail(layer, error);
      return false;
    }
    layer.done = true;
    canvas.hidden = false;
    for (const other of this.layers) if (other !== layer) other.canvas.remove();
    this.layers = [layer];
    if (divisor === 1) this.setBusy(null);
    return true;
  }

  /** A frame that cannot be decoded is not left to look like the one before it. */
  fail(layer, error) {
    for (const { canvas } of this.layers) canvas.remove();
    this.layers = [];
    this.setBusy(null);
    this.dispatchEvent(new CustomEvent('fail', { detail: error }));
  }

  /** @param {number | null} fraction that is done of a rendering; null if there is none */
  setBusy(fraction) {
    this.stage.setAttribute('aria-busy', String(fraction !== null));
    this.dispatchEvent(new CustomEvent('busy', { detail: fraction }));
  }

  /** Puts every layer where it belongs in the present view. */
  place() {
    const { full, begin, from, to } = this.visible();
    for (const layer of this.layers) this.placeAt(layer.canvas, layer, full, begin);
    this.placeAt(this.backdrop, { full, from, to }, full, begin);
  }

  placeAt({ style }, layer, full, begin) {
    const [x, y] = [0, 1].map((axis) => {
      const scale = full[axis] / layer.full[axis];
      const at = (begin[axis] + layer.from[axis] * scale) / this.ratio;
      return { at, length: ((layer.to[axis] - layer.from[axis]) * scale) / this.ratio };
    });
    style.transform = `translate(${x.at}px, ${y.at}px)`;
    style.width = `${x.length}px`;
    style.height = `${y.length}px`;
  }
}

/**
 * @param {object} file
 * @param {number} frame
 * @returns {import('./header.js').Chunk} the chunk that the frame is in
 */
export function chunkAt({ chunks }, frame) {
  return chunks[lastIndex(chunks.length, (i) => chunks[i].firstFrame <= frame)];
}

/** The last of `count` indices for which a condition holds that holds up to there; 0 if none. */
export function lastIndex(count, holds) {
  let low = 0;
  for (let high = count; high - low > 1; ) {
    const middle = (low + high) >> 1;
    if (holds(middle)) low = middle;
    else high = middle;
  }
  return low;
}
