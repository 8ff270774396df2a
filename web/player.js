/**
 * Plays a video in a viewer, and goes to any frame or chunk of it.
 *
 * @module
 */

import { chunkAt, lastIndex } from './viewer.js';

/** How much of the time until the next frame the rendering of one may take. */
const SHARE = 0.8;

/** A frame that is due sooner is given this long all the same. */
const LEAST_MILLISECONDS = 15;

/** The controls of a video. Its elements are found in the page by their ids. */
export class Player {
  /** @param {import('./viewer.js').Viewer} viewer */
  constructor(viewer) {
    this.viewer = viewer;
    const find = (id) => document.getElementById(id);
    this.elements = {
      player: find('player'),
      play: find('play'),
      loop: find('loop'),
      time: find('time'),
      position: find('position'),
      strip: find('strip'),
    };
    const { play, time, strip } = this.elements;
    play.addEventListener('click', () => this.toggle());
    time.addEventListener('input', () => this.seek(Number(time.value)));
    strip.addEventListener('click', (event) => {
      const fraction = event.offsetX / strip.clientWidth;
      this.seek(chunkAt(this.file, Math.floor(fraction * this.file.frames)).firstFrame);
    });
    find('frame-back').addEventListener('click', () => this.step(-1));
    find('frame-forward').addEventListener('click', () => this.step(1));
    find('chunk-back').addEventListener('click', () => this.stepChunk(-1));
    find('chunk-forward').addEventListener('click', () => this.stepChunk(1));
    document.addEventListener('keydown', (event) => this.key(event));
    new ResizeObserver(() => this.drawStrip()).observe(strip);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.drawStrip());
  }

  /** @param {object | null} file what the client's open() gave */
  open(file) {
    this.setPlaying(false);
    this.file = file?.kind === 'video' ? file : null;
    this.elements.player.hidden = !this.file;
    if (!this.file) return;
    const { frames, seconds, frameRate } = file;
    this.frame = 0;
    this.duration = seconds[frames - 1] + frameRate[1] / frameRate[0];
    this.elements.time.max = frames - 1;
    this.show();
  }

  get playing() {
    return this.viewer.playing;
  }

  setPlaying(playing) {
    this.viewer.playing = playing;
    this.elements.play.textContent = playing ? 'Pause' : 'Play';
  }

  toggle() {
    if (this.playing) this.stop();
    else this.play();
  }

  stop() {
    this.setPlaying(false);
    this.viewer.showFrame(this.frame);
  }

  async play() {
    const { file, viewer } = this;
    if (this.frame === file.frames - 1) this.frame = 0;
    this.setPlaying(true);
    this.start = performance.now() - 1000 * file.seconds[this.frame];
    // Each turn of playing has an object of its own, so that an older one notices that it is over.
    const turn = {};
    this.turn = turn;
    let shown = -1;
    while (this.playing && this.turn === turn) {
      const now = performance.now();
      if (now - this.start >= 1000 * this.duration) {
        if (!this.elements.loop.checked) return this.stop();
        this.start = now;
      }
      const frame = this.frameAt((now - this.start) / 1000);
      if (frame !== shown) {
        this.frame = shown = frame;
        this.show();
        const next = file.seconds[frame + 1] ?? this.duration;
        const due = SHARE * 1000 * (next - file.seconds[frame]);
        const done = await viewer.playFrame(frame, Math.max(due, LEAST_MILLISECONDS));
        // What cannot be decoded has been said; there is nothing to play on with.
        if (!done && this.playing && this.turn === turn) return this.setPlaying(false);
      }
      await new Promise(requestAnimationFrame);
    }
  }

  /** Goes to a frame; a video that plays goes on from there. */
  seek(frame) {
    if (!this.file) return;
    this.frame = Math.min(Math.max(frame, 0), this.file.frames - 1);
    this.start = performance.now() - 1000 * this.file.seconds[this.frame];
    this.show();
    if (!this.playing) this.viewer.showFrame(this.frame);
  }

  step(frames) {
    this.setPlaying(false);
    this.seek(this.frame + frames);
  }

  /** To the first frame of the next chunk, or of this one, or of the one before if it is there. */
  stepChunk(direction) {
    const { chunks } = this.file;
    const back = this.frame > chunks[this.chunk].firstFrame ? 0 : 1;
    const index = direction > 0 ? this.chunk + 1 : this.chunk - back;
    if (index < chunks.length) this.seek(chunks[Math.max(index, 0)].firstFrame);
  }

  /** The last frame that has begun at a time, in seconds from the first. */
  frameAt(time) {
    const { seconds } = this.file;
    return lastIndex(seconds.length, (i) => seconds[i] <= time);
  }

  key(event) {
    if (!this.file || event.ctrlKey || event.altKey || event.metaKey) return;
    const actions = {
      ' ': () => this.toggle(),
      ',': () => this.step(-1),
      '.': () => this.step(1),
      PageUp: () => this.stepChunk(-1),
      PageDown: () => this.stepChunk(1),
    };
    // A space on a button presses it.
    const taken = event.key === ' ' && event.target.closest('button, input, summary');
    if (!Object.hasOwn(actions, event.key) || taken) return;
    event.preventDefault();
    actions[event.key]();
  }

  show() {
    const { file, frame, elements } = this;
    this.chunk = file.chunks.indexOf(chunkAt(file, frame));
    const chunk = `chunk ${this.chunk} of ${range(0, file.chunks.length)}`;
    const place = `frame ${frame} of ${range(0, file.frames)}, ${chunk}`;
    elements.position.value = `${clock(file.seconds[frame])} / ${clock(this.duration)} · ${place}`;
    elements.time.value = frame;
    elements.time.setAttribute('aria-valuetext', place);
    if (this.drawn !== this.chunk) this.drawStrip();
  }

  /** A bar for each chunk: as wide as its frames are many, as high as each of them takes bytes. */
  drawStrip() {
    const { strip } = this.elements;
    if (!this.file || strip.clientWidth === 0) return;
    this.drawn = this.chunk;
    const ratio = window.devicePixelRatio;
    strip.width = Math.round(strip.clientWidth * ratio);
    strip.height = Math.round(strip.clientHeight * ratio);
    const context = strip.getContext('2d');
    const { color, borderColor } = getComputedStyle(strip);
    const { chunks, frames } = this.file;
    const price = (chunk) => chunk.bytes / chunk.frames;
    const most = chunks.reduce((found, chunk) => Math.max(found, price(chunk)), 0) || 1;
    chunks.forEach((chunk, index) => {
      const from = Math.round((chunk.firstFrame / frames) * strip.width);
      const to = Math.round(((chunk.firstFrame + chunk.frames) / frames) * strip.width);
      const gap = to - from > 4 * ratio ? Math.round(2 * ratio) : 0;
      const height = Math.max(Math.round((price(chunk) / most) * strip.height), ratio);
      context.fillStyle = index === this.chunk ? color : borderColor;
      context.fillRect(from, strip.height - height, Math.max(to - from - gap, 1), height);
    });
  }
}

/** The first and the last of some frames or chunks, as text. */
export function range(first, count) {
  return count > 1 ? `${first}–${first + count - 1}` : `${first}`;
}

/** Seconds as minutes, seconds and hundredths. */
function clock(seconds) {
  const minutes = Math.floor(seconds / 60);
  return `${minutes}:${(seconds - 60 * minutes).toFixed(2).padStart(5, '0')}`;
}
