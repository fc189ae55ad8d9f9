"use strict";
// Light or dark as the system says, until the button says otherwise.
const root = document.documentElement, system = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => root.dataset.mode ? root.dataset.mode === "dark" : system.matches;
try { root.dataset.mode = localStorage.getItem("prefixsim-mode") || ""; } catch { /* a page without storage */ }
addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details")) part.open = true;
});

// What a cell sorts by: its first number, in one unit; text where there is none; what is empty comes last.
const UNITS = [[/\d\s*M\b/, 1e6], [/\d\s*ms\b/, 1e-3], [/\d\s*h\b/, 3600], [/\d\s*min\b/, 60]];
const sortValue = text => {
  const found = text.replace(/[,\u00a0]/g, m => m === "," ? "" : " ").match(/^([+-]?)[$>]*([+-]?)(\d+(?:\.\d+)?)/);
  if (!found) return text.trim().toLowerCase();
  const unit = UNITS.find(([pattern]) => pattern.test(text.replace(/,/g, "")));
  return Number(found[3]) * (found[1] === "-" || found[2] === "-" ? -1 : 1) * (unit ? unit[1] : 1);
};
const sort = head => {
  const table = head.closest("table"), body = table.tBodies[0], column = head.cellIndex;
  const up = head.getAttribute("aria-sort") !== "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const keyed = [...body.rows].map((row, i) => [row.cells[column].textContent.trim(), row, i]);
  const compare = ([a, , i], [b, , j]) => {
    if (!a || !b) return (a ? 0 : 1) - (b ? 0 : 1) || i - j;
    const x = sortValue(a), y = sortValue(b);
    const order = typeof x === "number" && typeof y === "number" ? x - y : typeof x === typeof y ? (x < y ? -1 : x > y ? 1 : 0) : typeof x === "number" ? -1 : 1;
    return (up ? order : -order) || i - j;
  };
  body.append(...keyed.sort(compare).map(([, row]) => row));
};

// Figures: the nearest point and its values; the numbers as a file.
const shown = value => typeof value !== "number" ? String(value) :
  value === 0 ? "0" : Math.abs(value) >= 1e3 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(4)));
const scale = (log, ends) => {
  const f = log ? Math.log : v => v;
  return v => (f(v) - f(ends[0])) / (f(ends[1]) - f(ends[0]));
};
const cellOf = value => value === null || value === undefined ? "" : /[",\n]/.test(value) ? `"${String(value).replace(/"/g, '""')}"` : String(value);
const csvOf = panels => {
  const bounds = panels.some(p => p.series.some(s => s.low.length)), several = panels.length > 1;
  const rows = [[...(several ? ["panel"] : []), "series", panels[0].x || "x", panels[0].y || "y", ...(bounds ? ["low", "high"] : [])]];
  for (const p of panels) for (const s of p.series) s.x.forEach((x, i) =>
    rows.push([...(several ? [p.title || p.y] : []), s.name, x, s.y[i], ...(bounds ? [s.low[i], s.high[i]] : [])]));
  return rows.map(row => row.map(cellOf).join(",")).join("\n") + "\n";
};
const tip = document.createElement("div");
tip.id = "tip";
tip.hidden = true;
tip.setAttribute("role", "status");
for (const figure of document.querySelectorAll("figure")) {
  const source = figure.querySelector("script"), chart = figure.querySelector("svg");
  if (!source) continue;
  const [, , width, height] = chart.getAttribute("viewBox").split(" ").map(Number);
  let panels, mark;
  const read = () => {
    if (panels) return panels;
    panels = JSON.parse(source.textContent);
    for (const p of panels) {
      const [left, top, w, h] = p.box, sx = scale(p.x_log, p.x_ends), sy = scale(p.y_log, p.y_ends);
      p.at = (x, y) => [width * (left + w * sx(x)), height * (top + h * (1 - sy(y)))];
      for (const s of p.series) {
        s.group = document.getElementById(`${figure.dataset.key}-${s.gid}`);
        s.group?.classList.add("series");
        s.points = s.boxes.length
          ? s.boxes.map(([x, y, w2, h2]) => [...p.at(x, y), ...p.at(x + w2, y + h2)])
          : (s.places.length ? s.places : s.x.map((x, i) => [x, s.y[i]])).map(([x, y]) => x === null || y === null ? null : p.at(x, y));
      }
    }
    mark = document.createElementNS(chart.namespaceURI, "circle");
    mark.setAttribute("r", 4);
    mark.setAttribute("style", "fill:none;stroke:currentColor;stroke-width:1.5;display:none");
    chart.append(mark);
    return panels;
  };
  const nearest = (px, py) => {
    let best = null, least = Infinity;
    for (const p of read()) {
      const [left, top, w, h] = p.box;
      if (px < width * left - 8 || px > width * (left + w) + 8 || py < height * top - 8 || py > height * (top + h) + 8) continue;
      for (const s of p.series) s.points.forEach((point, i) => {
        if (!point || point.some(v => !Number.isFinite(v))) return;
        let away;
        if (s.boxes.length) {
          const [x0, y0, x1, y1] = point, dx = Math.max(Math.min(x0, x1) - px, 0, px - Math.max(x0, x1));
          const dy = Math.max(Math.min(y0, y1) - py, 0, py - Math.max(y0, y1));
          if (Math.abs(x1 - x0) < .01 || Math.abs(y1 - y0) < .01) return;
          away = dx * dx + dy * dy;
        } else away = (point[0] - px) ** 2 + (point[1] - py) ** 2;
        if (away < least) { least = away; best = [p, s, i, point]; }
      });
    }
    return best;
  };
  const leave = () => {
    tip.hidden = true;
    chart.classList.remove("picking");
    if (mark) mark.style.display = "none";
  };
  const move = event => {
    const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(chart.getScreenCTM().inverse());
    const found = nearest(place.x, place.y);
    if (!found) return leave();
    const [p, s, i, point] = found, bounds = s.low.length && s.low[i] !== null;
    const lines = [s.name];
    if (p.x || typeof s.x[i] === "string") lines.push(`${p.x ? p.x + ": " : ""}${shown(s.x[i])}`);
    lines.push(`${p.y ? p.y + ": " : ""}${shown(s.y[i])}`);
    if (bounds) lines.push(`95 %: ${shown(s.low[i])} to ${shown(s.high[i])}`);
    tip.replaceChildren(...lines.map((line, n) => {
      const row = document.createElement(n ? "div" : "strong");
      row.textContent = line;
      return row;
    }));
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 6))}px`;
    tip.style.top = `${Math.max(4, event.clientY + 18 + box.height > innerHeight ? event.clientY - box.height - 12 : event.clientY + 18)}px`;
    chart.classList.toggle("picking", Boolean(s.group));
    for (const q of panels) for (const t of q.series) t.group?.classList.toggle("picked", t.name === s.name);
    mark.style.display = s.boxes.length ? "none" : "";
    mark.setAttribute("cx", point[0]);
    mark.setAttribute("cy", point[1]);
  };
  chart.addEventListener("pointermove", move);
  chart.addEventListener("pointerdown", move);
  chart.addEventListener("pointerleave", leave);
  figure.querySelector("button.csv").addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csvOf(read())], { type: "text/csv" }));
    link.download = `${figure.dataset.name}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1e4);
  });
}
document.body.append(tip);
document.addEventListener("click", event => {
  const head = event.target.closest("table.sorts thead th");
  if (head) return sort(head);
  if (event.target.closest("#mode")) {
    root.dataset.mode = isDark() ? "light" : "dark";
    try { localStorage.setItem("prefixsim-mode", root.dataset.mode); } catch { /* a page without storage */ }
  }
  if (event.target.closest("#fold")) {
    const cards = [...document.querySelectorAll("details.card")], open = cards.some(card => !card.open);
    for (const card of cards) card.open = open;
  }
});
document.addEventListener("keydown", event => {
  if (event.key === "Enter" && event.target.matches?.("table.sorts thead th")) sort(event.target);
});
for (const head of document.querySelectorAll("table.sorts thead th")) head.tabIndex = 0;
// A link to something folded opens it.
const unfold = () => {
  const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target) {
    for (let part = target; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
    target.scrollIntoView();
  }
};
addEventListener("hashchange", unfold);
unfold();
