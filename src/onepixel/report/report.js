"use strict";
(() => {
  const data = JSON.parse(document.getElementById("surface-data").textContent);
  const canvas = document.getElementById("surface");
  const still = document.getElementById("surface-still");
  const caption = document.getElementById("surface-caption");
  const tiles = [...document.querySelectorAll("button.tile")];
  const pen = canvas.getContext("2d");

  // Without a canvas the still stays.
  if (!pen) return;

  const START = { turn: -0.55, tilt: 0.56, zoom: 1 };
  let view = { ...START };
  let shown = data.target;

  const heights = (k) => {
    const bytes = Uint8Array.from(atob(data.z[k].bdata), (letter) => letter.charCodeAt(0));
    const numbers = new DataView(bytes.buffer);
    return Array.from({ length: bytes.length / 4 }, (_, i) => numbers.getFloat32(4 * i, true));
  };
  const share = (value, first, last) => (last > first ? (value - first) / (last - first) - 0.5 : 0);
  const [low, high] = data.range;

  // Column, row and height in a box around 0; row 0 lies at the back. The result is right, up, and how far away.
  const project = (column, row, height) => {
    const x = share(column, data.x[0], data.x.at(-1));
    const y = -share(row, data.y[0], data.y.at(-1));
    const z = 0.6 * share(height, low, high);
    const across = x * Math.cos(view.turn) - y * Math.sin(view.turn);
    const deep = x * Math.sin(view.turn) + y * Math.cos(view.turn);
    return [
      across,
      z * Math.cos(view.tilt) + deep * Math.sin(view.tilt),
      deep * Math.cos(view.tilt) - z * Math.sin(view.tilt),
    ];
  };

  const colour = (height) => {
    const position = (height - data.cmin) / (data.cmax - data.cmin);
    const last = data.colours.length - 1;
    return data.colours[Math.max(0, Math.min(last, Math.round(position * last)))];
  };

  // Every cell as a polygon with its distance; the nearest ones are painted last.
  const cells = (z) => {
    const [columns, rows] = [data.x.length, data.y.length];
    const points = z.map((height, i) => project(data.x[i % columns], data.y[Math.floor(i / columns)], height));
    const found = [];
    for (let row = 0; row + 1 < rows; row += 1) {
      for (let column = 0; column + 1 < columns; column += 1) {
        const first = row * columns + column;
        const corners = [first, first + 1, first + columns + 1, first + columns];
        found.push({
          corners: corners.map((i) => points[i]),
          away: corners.reduce((sum, i) => sum + points[i][2], 0),
          fill: colour(corners.reduce((sum, i) => sum + z[i], 0) / 4),
        });
      }
    }
    return found.sort((a, b) => b.away - a.away);
  };

  const draw = () => {
    const style = getComputedStyle(document.documentElement);
    const [ink, line] = ["--ink", "--line"].map((name) => style.getPropertyValue(name).trim());
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    const dots = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * dots);
    canvas.height = Math.round(height * dots);
    pen.setTransform(dots, 0, 0, dots, 0, 0);
    pen.clearRect(0, 0, width, height);
    const size = view.zoom * Math.min(width / 1.75, height / 1.35);
    const at = ([across, up]) => [width / 2 + size * across, height / 2 - size * up];
    const path = (points) => {
      pen.beginPath();
      points.forEach((point) => pen.lineTo(...at(point)));
    };
    const [left, right, back, front] = [data.x[0], data.x.at(-1), data.y[0], data.y.at(-1)];

    pen.lineWidth = 1;
    pen.strokeStyle = line;
    const floor = [[left, back], [right, back], [right, front], [left, front]];
    path([...floor, floor[0]].map(([x, y]) => project(x, y, low)));
    pen.stroke();
    floor.forEach(([x, y]) => { path([project(x, y, low), project(x, y, high)]); pen.stroke(); });

    pen.lineJoin = "round";
    for (const cell of cells(heights(shown))) {
      path(cell.corners);
      pen.closePath();
      pen.fillStyle = cell.fill;
      pen.fill();
      pen.strokeStyle = data.x.length * data.y.length <= 4096 ? "rgba(0, 0, 0, 0.25)" : cell.fill;
      pen.lineWidth = 0.5;
      pen.stroke();
    }
    if (shown === data.target && data.pixel) {
      const [row, column, top] = data.pixel;
      pen.beginPath();
      pen.arc(...at(project(column, row, top)), 5, 0, 2 * Math.PI);
      pen.fillStyle = "#ffffff";
      pen.strokeStyle = "#111111";
      pen.lineWidth = 2;
      pen.fill();
      pen.stroke();
    }

    pen.fillStyle = ink;
    pen.font = "12px system-ui, sans-serif";
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    const say = (text, x, y, z) => {
      const [across, up] = project(x, y, z);
      const [px, py] = at([1.1 * across, 1.1 * up]);
      const half = pen.measureText(text).width / 2 + 2;
      pen.fillText(text, Math.max(half, Math.min(width - half, px)), Math.max(8, Math.min(height - 8, py)));
    };
    say("column", (left + right) / 2, front, low);
    say("row", right, (back + front) / 2, low);
    say(low.toPrecision(3), left, front, low);
    say(high.toPrecision(3), left, front, high);
  };

  const name = (k) => {
    caption.textContent = `Class ${k} as a surface: ${data.label}.`;
    canvas.setAttribute("aria-label", `Class ${k} as a surface in three dimensions: ${data.label}`);
  };
  const choose = (k) => {
    shown = k;
    tiles.forEach((tile) => tile.setAttribute("aria-pressed", String(Number(tile.dataset.k) === k)));
    name(k);
    draw();
  };
  const move = (turn, tilt, zoom = 1) => {
    view.turn += turn;
    view.tilt = Math.max(0, Math.min(Math.PI / 2, view.tilt + tilt));
    view.zoom = Math.max(0.5, Math.min(5, view.zoom * zoom));
    draw();
  };

  canvas.hidden = false;
  still.classList.add("paper-only");
  document.getElementById("surface-help").hidden = false;
  document.getElementById("tiles-help").hidden = false;
  choose(shown);

  tiles.forEach((tile) => tile.addEventListener("click", () => choose(Number(tile.dataset.k))));
  canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
  canvas.addEventListener("pointermove", (event) => {
    if (canvas.hasPointerCapture(event.pointerId)) move(event.movementX / 150, event.movementY / 150);
  });
  const keys = {
    ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1],
    "+": [0, 0, 1.1], "-": [0, 0, 1 / 1.1],
  };
  canvas.addEventListener("keydown", (event) => {
    if (event.key === "Home") { view = { ...START }; draw(); } else if (keys[event.key]) move(...keys[event.key]);
    else return;
    event.preventDefault();
  });
  canvas.addEventListener("dblclick", () => { view = { ...START }; draw(); });
  // On paper the still shows the most suspicious class, whatever was chosen on screen.
  window.addEventListener("beforeprint", () => name(data.target));
  window.addEventListener("afterprint", () => name(shown));
  window.addEventListener("resize", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
