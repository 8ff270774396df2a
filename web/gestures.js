/**
 * Wheel, mouse, fingers and keys as zooming and panning.
 *
 * @module
 */

/** How many pixels of a wheel double the zoom. */
const WHEEL_DOUBLES = 240;

/** A line and a page of a wheel that counts in them, in pixels. */
const WHEEL_UNITS = [1, 20, 240];

const KEY_ZOOM = Math.SQRT2;
const KEY_PAN = 60;
const ARROWS = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

/**
 * @param {HTMLElement} stage the element of the viewer
 * @param {import('./viewer.js').Viewer} viewer
 */
export function listen(stage, viewer) {
  const pointers = new Map();

  /** From the middle of the stage, in pixels of the screen. */
  const position = ({ clientX, clientY }) => {
    const { left, top, width, height } = stage.getBoundingClientRect();
    const ratio = window.devicePixelRatio;
    return [(clientX - left - width / 2) * ratio, (clientY - top - height / 2) * ratio];
  };

  stage.addEventListener(
    'wheel',
    (event) => {
      event.preventDefault();
      // Browsers tell of a pinch on a touchpad as of a wheel with Control, in smaller numbers.
      const pixels = event.deltaY * WHEEL_UNITS[event.deltaMode] * (event.ctrlKey ? 4 : 1);
      viewer.zoomTo(viewer.zoom * 2 ** (-pixels / WHEEL_DOUBLES), position(event));
    },
    { passive: false },
  );

  stage.addEventListener('pointerdown', (event) => {
    if (event.button !== 0 || event.target.closest('button')) return;
    stage.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, position(event));
    stage.classList.add('dragged');
  });

  stage.addEventListener('pointermove', (event) => {
    if (!pointers.has(event.pointerId)) return;
    const before = [...pointers.values()];
    pointers.set(event.pointerId, position(event));
    const after = [...pointers.values()];
    if (after.length === 2) {
      viewer.zoomTo((viewer.zoom * distance(after)) / Math.max(distance(before), 1), middle(before));
    }
    const [from, to] = [middle(before), middle(after)];
    viewer.panBy(to[0] - from[0], to[1] - from[1]);
  });

  for (const name of ['pointerup', 'pointercancel']) {
    stage.addEventListener(name, (event) => {
      pointers.delete(event.pointerId);
      if (pointers.size === 0) stage.classList.remove('dragged');
    });
  }

  stage.addEventListener('keydown', (event) => {
    const arrow = ARROWS[event.key];
    if (!arrow || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const length = KEY_PAN * window.devicePixelRatio;
    viewer.panBy(length * arrow[0], length * arrow[1]);
  });

  document.addEventListener('keydown', (event) => {
    if (!viewer.file || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === '+' || event.key === '=') viewer.zoomTo(viewer.zoom * KEY_ZOOM);
    else if (event.key === '-') viewer.zoomTo(viewer.zoom / KEY_ZOOM);
    else if (event.key === '0') viewer.fit();
    else if (event.key === '1') viewer.zoomTo(1);
  });
}

function distance([[x, y], [otherX, otherY]]) {
  return Math.hypot(x - otherX, y - otherY);
}

function middle(points) {
  return [0, 1].map((axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length);
}
