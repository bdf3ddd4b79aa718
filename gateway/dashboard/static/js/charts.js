// Line and bar charts over time, on the vendored uPlot; colours from the page's variables.

import uPlot from "../vendor/uplot/uPlot.esm.js";
import { resolve } from "./colors.js";
import { h } from "./dom.js";
import { DASH } from "./format.js";

const alive = new Map();

/**
 * A chart that fits its place. `series`: [{name, color, values}], `times`: seconds. `stacked` adds them up as bars.
 * `say` formats values; `label` is what a screen reader hears.
 */
export function timeChart({ id, times, series, say, label, stacked = false, height = 190, floor = null }) {
  alive.get(id)?.destroy();
  const place = h("div", { class: "chart", role: "img", "aria-label": label });
  const chart = new Chart(place, { times, series, say, stacked, height, floor });
  alive.set(id, chart);
  return place;
}

function stamp(seconds, step) {
  const at = new Date(seconds * 1000);
  return step < 86400 ? at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false }) : at.toLocaleDateString([], { month: "short", day: "numeric", timeZone: "UTC" });
}

class Chart {
  constructor(place, options) {
    this.place = place;
    this.options = options;
    this.tip = h("div", { class: "tip", hidden: true });
    this.seen = new ResizeObserver(() => this.fit());
    this.seen.observe(place);
  }

  fit() {
    const width = Math.floor(this.place.clientWidth);
    if (!width) return;
    if (!this.plot) this.draw(width);
    else if (this.plot.width !== width) this.plot.setSize({ width, height: this.options.height });
  }

  draw(width) {
    const { times, series, say, stacked, height, floor } = this.options;
    const sums = times.map(() => 0);
    const columns = series.map((each) => each.values.map((value, at) => (stacked ? (sums[at] += value ?? 0) : value)));
    // The highest stack is drawn first, so that the lower ones cover it.
    const order = series.map((_, index) => index);
    if (stacked) order.reverse();
    const font = "11px system-ui, sans-serif";
    const axis = { stroke: resolve("--muted"), font, grid: { stroke: resolve("--line"), width: 1 }, ticks: { show: false } };
    const step = times.length > 1 ? times[1] - times[0] : 60;
    this.plot = new uPlot({
      width, height,
      padding: [8, 20, 0, 0],
      legend: { show: false },
      cursor: { y: false, points: { show: !stacked, size: 7 }, drag: { x: false, y: false } },
      scales: {
        x: { time: true, range: stacked ? (_, low, high) => [low - step / 2, high + step / 2] : undefined },
        y: { range: (_, low, high) => [floor ?? 0, floor === null ? Math.max(high ?? 0, 1e-9) * 1.12 : 1.001] },
      },
      axes: [
        { ...axis, grid: { show: false }, space: 70, size: 26, values: (_, ticks) => ticks.map((tick) => stamp(tick, step)) },
        { ...axis, size: 58, space: 36, values: (_, ticks) => ticks.map((tick) => say(tick)) },
      ],
      series: [{}, ...order.map((index) => {
        const color = resolve(series[index].color);
        return stacked
          ? { label: series[index].name, fill: color, stroke: color, width: 0, points: { show: false }, paths: uPlot.paths.bars({ size: [0.78, 40], radius: 0.12 }) }
          : { label: series[index].name, stroke: color, width: 2, spanGaps: true, points: { show: series[index].values.filter((value) => value !== null).length < 3, size: 6, fill: color } };
      })],
      hooks: { setCursor: [(plot) => this.hover(plot)] },
    }, [times, ...order.map((index) => columns[index])], this.place);
    this.place.append(this.tip);
  }

  hover(plot) {
    const { times, series, say } = this.options;
    const at = plot.cursor.idx;
    const shown = at === null || at === undefined ? [] : series.filter((each) => each.values[at]);
    this.tip.hidden = !shown.length;
    if (!shown.length) return;
    const when = new Date(times[at] * 1000).toLocaleString([], { hour: "2-digit", minute: "2-digit", hour12: false, month: "short", day: "numeric" });
    this.tip.replaceChildren(when, ...shown.map((each) => h("div", {}, `${each.name}: ${each.values[at] === null ? DASH : say(each.values[at])}`)));
    const left = plot.cursor.left + plot.over.offsetLeft;
    const flip = left > this.place.clientWidth / 2;
    this.tip.style.left = `${flip ? left - this.tip.offsetWidth - 12 : left + 12}px`;
    this.tip.style.top = "10px";
  }

  destroy() {
    this.seen.disconnect();
    this.plot?.destroy();
  }
}
