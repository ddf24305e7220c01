"use strict";
(() => {
  const data = JSON.parse(document.getElementById("surface-data").textContent);
  const figure = document.getElementById("surface");
  const still = document.getElementById("surface-still");
  const caption = document.getElementById("surface-caption");
  const tiles = [...document.querySelectorAll("button.tile")];
  const dark = matchMedia("(prefers-color-scheme: dark)");

  // Without WebGL the still stays.
  if (!document.createElement("canvas").getContext("webgl")) return;

  let shown = data.target;
  // A narrow page needs more distance to show the whole surface.
  const away = Math.max(1, 580 / still.clientWidth);
  let camera = { eye: { x: -1.1 * away, y: -1.7 * away, z: 1.1 * away }, center: { x: 0, y: 0, z: -0.12 } };

  const colours = () => {
    const style = getComputedStyle(document.documentElement);
    return { ink: style.getPropertyValue("--ink").trim(), line: style.getPropertyValue("--line").trim() };
  };

  const draw = () => {
    const { ink, line } = colours();
    const axis = (title, extra) => ({
      title: { text: title }, color: ink, gridcolor: line, zeroline: false, showspikes: false, ...extra,
    });
    const traces = [{
      type: "surface", x: data.x, y: data.y, z: data.z[shown], colorscale: data.colorscale,
      cmin: data.cmin, cmax: data.cmax, showscale: false, connectgaps: false,
      lighting: { ambient: 0.88, diffuse: 0.35, specular: 0.02, roughness: 1 },
      contours: { x: { highlight: false }, y: { highlight: false }, z: { highlight: false } },
      hovertemplate: "row %{y}, column %{x}<br>%{z:.4f}<extra></extra>",
    }];
    if (shown === data.target && data.pixel) {
      const [row, column, height] = data.pixel;
      traces.push({
        type: "scatter3d", mode: "markers", x: [column], y: [row], z: [height],
        marker: { size: 6, color: "#ffffff", line: { color: "#111111", width: 3 } },
        hovertemplate: "most suspicious pixel: row %{y}, column %{x}<br>%{z:.4f}<extra></extra>",
      });
    }
    const layout = {
      margin: { l: 0, r: 0, t: 0, b: 0 }, showlegend: false, paper_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, sans-serif", size: 12, color: ink },
      scene: {
        camera, aspectmode: "manual", aspectratio: { x: 1.25, y: 1.25, z: 0.75 },
        xaxis: axis("column"), yaxis: axis("row", { autorange: "reversed" }),
        zaxis: axis("", { range: data.range, nticks: 6 }),
      },
    };
    Plotly.react(figure, traces, layout, { displaylogo: false, responsive: true, displayModeBar: false });
  };

  const choose = (k) => {
    if (figure.layout) camera = figure.layout.scene.camera;
    shown = k;
    tiles.forEach((tile) => tile.setAttribute("aria-pressed", String(Number(tile.dataset.k) === k)));
    caption.textContent = `Class ${k} as a surface: ${data.label}.`;
    draw();
  };

  try {
    figure.hidden = false;
    still.classList.add("paper-only");
    document.getElementById("surface-help").hidden = false;
    document.getElementById("tiles-help").hidden = false;
    draw();
  } catch (error) {
    figure.hidden = true;
    still.classList.remove("paper-only");
    return;
  }
  tiles.forEach((tile) => tile.addEventListener("click", () => choose(Number(tile.dataset.k))));
  dark.addEventListener("change", () => choose(shown));
})();
