/**
 * The page's side of worker.js: messages as promises.
 *
 * @module
 */

/** A decoder in a thread of its own, of one file at a time and one rendering at a time. */
export class Client {
  constructor() {
    this.worker = new Worker(new URL('worker.js', import.meta.url), { type: 'module' });
    this.worker.onmessage = ({ data }) => this.receive(data);
    this.worker.onerror = (event) => {
      event.preventDefault();
      const message = event.message || 'the decoder could not be loaded; reload the page';
      this.opening?.reject(new Error(message));
    };
    this.opening = null;
    this.rendering = null;
    this.id = 0;
  }

  /**
   * Opens a file; whatever was being rendered ends.
   *
   * @param {ArrayBuffer} buffer of the whole file, which moves to the other thread
   * @param {number} [maxPixels]
   * @returns {Promise<object>} what openFile() of worker.js tells
   */
  open(buffer, maxPixels) {
    this.finish(null);
    return new Promise((resolve, reject) => {
      this.opening = { resolve, reject };
      this.worker.postMessage({ open: new Uint8Array(buffer), maxPixels }, [buffer]);
    });
  }

  /**
   * Renders; the rendering before ends if it has not yet.
   *
   * @param {object} rendering frame, width, height and window, as bands() takes them
   * @param {(y: number, height: number, pixels: Uint8ClampedArray) => void} onBand gets its rows
   * @returns {Promise<number | null>} how many milliseconds it took; null if another one or
   *   another file took its place
   */
  render(rendering, onBand) {
    this.finish(null);
    return new Promise((resolve, reject) => {
      this.rendering = { id: ++this.id, onBand, resolve, reject };
      this.worker.postMessage({ render: this.id, ...rendering });
    });
  }

  receive(data) {
    if (data.opened) {
      this.opening.resolve(data.opened);
    } else if (data.failed !== undefined && data.id === undefined) {
      this.opening.reject(new Error(data.failed));
    } else if (this.rendering?.id === (data.band ?? data.done ?? data.id)) {
      if (data.pixels) this.rendering.onBand(data.y, data.height, data.pixels);
      else if (data.failed !== undefined) this.rendering.reject(new Error(data.failed));
      else this.finish(data.milliseconds);
    }
  }

  finish(value) {
    this.rendering?.resolve(value);
    this.rendering = null;
  }
}
