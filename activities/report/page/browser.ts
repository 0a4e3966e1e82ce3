/** The page's own script. Without it the plots stand there as they are; with it they can be read off and zoomed into. */

/** What the script uses of an element: the compiler knows no browser here. */
interface Element {
  readonly dataset: Readonly<Record<string, string>>;
  readonly style: Record<string, string>;
  textContent: string;
  hidden: boolean;
  className: string;
  open: boolean;
  tabIndex: number;
  querySelector(selector: string): Element;
  querySelectorAll(selector: string): Iterable<Element>;
  setAttribute(name: string, value: string): void;
  append(...children: Element[]): void;
  readonly parentElement: Element;
  replaceChildren(...children: Element[]): void;
  setPointerCapture(id: number): void;
  addEventListener(type: string, hear: (event: Happening) => void): void;
  getBoundingClientRect(): { readonly left: number; readonly width: number };
}

/** What it uses of an event. */
interface Happening {
  readonly clientX: number;
  readonly pointerId: number;
  readonly key: string;
  preventDefault(): void;
}

/** What it uses of the document. */
interface Page {
  readonly defaultView: Pick<Element, "addEventListener">;
  querySelectorAll(selector: string): Iterable<Element>;
  createElement(name: string): Element;
  createElementNS(space: string, name: string): Element;
}

/** Lets a reader read off and zoom into the plots of a page, all together. It must use nothing from outside, because its text is put into the page. */
function browse(page: Page): void {
  const SVG = "http://www.w3.org/2000/svg";
  const SIDE = 1000;
  interface Curve {
    readonly name: string;
    readonly x: readonly number[];
    readonly y: readonly (number | null)[];
  }
  const make = (name: string, className: string): Element => {
    const made = page.createElement(name);
    made.className = className;
    return made;
  };
  const drawn = (name: string, attributes: Readonly<Record<string, string | number>>, text = ""): Element => {
    const made = page.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
    made.textContent = text;
    return made;
  };
  const numbers = (text: string): [number, number] => text.split(" ").map(Number) as [number, number];
  const plots = [...page.querySelectorAll(".plot[data-series]")].map((node) => {
    const { series, marks, x, y, unit } = node.dataset as { series: string; marks: string; x: string; y: string; unit: string };
    const [cursor, selection, readout] = [make("div", "cursor"), make("div", "selection"), make("output", "readout")];
    cursor.hidden = selection.hidden = true;
    node.append(cursor, selection);
    node.parentElement.querySelector("figcaption").append(readout);
    return {
      node,
      area: node.querySelector(".area"),
      curves: JSON.parse(series) as Curve[],
      marks: JSON.parse(marks) as [step: number, text: string][],
      x: numbers(x),
      y: numbers(y),
      unit,
      ...{ cursor, selection, readout },
    };
  });
  const [first] = plots;
  if (first === undefined) return;
  const whole = first.x;
  let shown = whole;
  let at: number | null = null;
  const whenZoomed = [...page.querySelectorAll(".whole")];

  const ticksBetween = (low: number, high: number): number[] => {
    const power = 10 ** Math.floor(Math.log10((high - low) / 4));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => (high - low) / size <= 6)!;
    const start = Math.ceil(low / step);
    return Array.from({ length: Math.floor(high / step) - start + 1 }, (_, index) => Number(((start + index) * step).toPrecision(12)));
  };
  const textOf = (value: number): string =>
    value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(2) : value.toLocaleString("en-US", { maximumSignificantDigits: 5 });
  const nearest = (xs: readonly number[], step: number): number => {
    let [low, high] = [0, xs.length - 1];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (xs[middle]! <= step) low = middle;
      else high = middle;
    }
    return Math.abs(xs[high]! - step) < Math.abs(xs[low]! - step) ? high : low;
  };

  const draw = (plot: (typeof plots)[number]): void => {
    const [from, to] = shown;
    let [low, high] = plot.y;
    if (shown !== whole) {
      const inside = plot.curves.flatMap(({ x, y }) =>
        y.filter((value, index) => value !== null && x[index]! >= from && x[index]! <= to),
      ) as number[];
      const [least, most] = [Math.min(...inside), Math.max(...inside)];
      const room = (most - least) * 0.06 || Math.abs(most) * 0.1 || 1;
      if (inside.length > 0) [low, high] = [least - room, most + room];
    }
    const scaleX = (value: number): number => ((value - whole[0]) / (whole[1] - whole[0])) * SIDE;
    const scaleY = (value: number): number => ((plot.y[1] - value) / (plot.y[1] - plot.y[0])) * SIDE;
    const box = [scaleX(from), scaleY(high), scaleX(to) - scaleX(from), scaleY(low) - scaleY(high)];
    plot.node.querySelector(".curves").setAttribute("viewBox", box.join(" "));
    const across = (value: number): string => `${((value - from) / (to - from)) * 100}%`;
    const up = (value: number): string => `${((high - value) / (high - low)) * 100}%`;
    const lines = ticksBetween(low, high).flatMap((tick) => [
      drawn("line", { class: "grid", x1: 0, x2: "100%", y1: up(tick), y2: up(tick) }),
      drawn("text", { class: "tick y", x: -8, y: up(tick), dy: 4 }, textOf(tick)),
    ]);
    const steps = ticksBetween(from, to)
      .filter(Number.isInteger)
      .map((tick) => drawn("text", { class: "tick x", x: across(tick), y: "100%", dy: 18 }, textOf(tick)));
    plot.node.querySelector(".axes").replaceChildren(...lines, ...steps);
    for (const sign of plot.node.querySelectorAll(".sign")) {
      const step = Math.max(Number(sign.dataset["at"]), whole[0]);
      sign.setAttribute("x", across(step));
      sign.setAttribute("visibility", step < from || step > to ? "hidden" : "visible");
    }
  };
  const point = (step: number | null): void => {
    at = step;
    for (const plot of plots) {
      plot.cursor.hidden = step === null;
      plot.readout.textContent = "";
      if (step === null) continue;
      const [from, to] = shown;
      const xs = plot.curves[0]!.x;
      const own = xs[nearest(xs, step)]!;
      const share = (own - from) / (to - from);
      plot.cursor.hidden = share < 0 || share > 1;
      plot.cursor.style["left"] = `${share * 100}%`;
      const said = plot.curves.map(({ name, x, y }) => {
        const value = y[nearest(x, own)];
        return `${name} ${value == null ? "–" : textOf(value)}`;
      });
      const near = plot.marks.filter(([done]) => Math.abs(done - own) <= (to - from) / 100).map(([, text]) => text);
      plot.readout.textContent = [`step ${own.toLocaleString("en-US")}`, ...said, ...near].join(" · ");
    }
  };
  const zoom = (from: number, to: number): void => {
    const [low, high] = [Math.max(whole[0], Math.min(from, to)), Math.min(whole[1], Math.max(from, to))];
    shown = high - low >= whole[1] - whole[0] ? whole : [low, Math.max(high, low + Math.min(2, whole[1] - whole[0]))];
    for (const button of whenZoomed) button.hidden = shown === whole;
    for (const plot of plots) draw(plot);
    point(at);
  };

  for (const { node, area, selection, curves } of plots) {
    const stepAt = ({ clientX }: Happening): number => {
      const { left, width } = area.getBoundingClientRect();
      return shown[0] + Math.min(1, Math.max(0, (clientX - left) / width)) * (shown[1] - shown[0]);
    };
    let start: number | null = null;
    const select = (end: number): void => {
      const [left, right] = [Math.min(start!, end), Math.max(start!, end)].map((step) => ((step - shown[0]) / (shown[1] - shown[0])) * 100);
      selection.hidden = false;
      selection.style["left"] = `${left}%`;
      selection.style["width"] = `${right! - left!}%`;
    };
    node.addEventListener("pointerdown", (event) => {
      start = stepAt(event);
      node.setPointerCapture(event.pointerId);
    });
    node.addEventListener("pointermove", (event) => {
      point(stepAt(event));
      if (start !== null) select(stepAt(event));
    });
    node.addEventListener("pointerup", (event) => {
      const end = stepAt(event);
      selection.hidden = true;
      if (start !== null && Math.abs(end - start) > (shown[1] - shown[0]) / 50) zoom(start, end);
      start = null;
    });
    node.addEventListener("pointercancel", () => {
      selection.hidden = true;
      start = null;
    });
    node.addEventListener("pointerleave", () => {
      if (start === null) point(null);
    });
    node.addEventListener("dblclick", () => zoom(whole[0], whole[1]));
    node.tabIndex = 0;
    node.setAttribute("role", "group");
    node.setAttribute("aria-label", "Plot: arrow keys read it off, plus zooms in, Escape shows the whole run");
    node.addEventListener("blur", () => point(null));
    node.addEventListener("keydown", (event) => {
      const xs = curves[0]!.x;
      const now = at === null ? nearest(xs, shown[0]) : nearest(xs, at);
      const width = shown[1] - shown[0];
      const middle = xs[now]!;
      if (event.key === "ArrowRight") point(xs[Math.min(xs.length - 1, at === null ? now : now + 1)]!);
      else if (event.key === "ArrowLeft") point(xs[Math.max(0, now - 1)]!);
      else if (event.key === "+") zoom(middle - width / 4, middle + width / 4);
      else if (event.key === "-") zoom(middle - width, middle + width);
      else if (event.key === "Escape") zoom(whole[0], whole[1]);
      else return;
      event.preventDefault();
    });
  }
  for (const button of whenZoomed) button.addEventListener("click", () => zoom(whole[0], whole[1]));
  page.defaultView.addEventListener("beforeprint", () => {
    zoom(whole[0], whole[1]);
    for (const fold of page.querySelectorAll("details")) fold.open = true;
  });
}

/** The script's text, as it stands in the page. */
export const SCRIPT: string = `(${browse.toString()})(document);`;
