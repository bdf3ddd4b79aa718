// One colour per provider, the same on every page and in every chart.

const KNOWN = [];

export function learn(names) {
  for (const name of names) if (!KNOWN.includes(name)) KNOWN.push(name);
}

export function ofProvider(name) {
  learn([name]);
  return `var(--c${KNOWN.indexOf(name) % 10})`;
}

/** The value a CSS variable has now, for canvases. */
export function resolve(color) {
  const name = /^var\((--[\w-]+)\)$/.exec(color)?.[1] ?? color;
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
