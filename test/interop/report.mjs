// Reports in a real browser, in both themes, on a phone and a desktop: axe's findings, requests, and what does not fit.
//   npm install --prefix TOOLS puppeteer-core axe-core
//   node test/interop/report.mjs TOOLS PAGE…        (PAGE: a file, or the address that roslin up prints)
// CHROMIUM names the browser, /usr/bin/chromium unless set. With OUT=DIRECTORY it leaves screenshots and a print there.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [tools, ...pages] = process.argv.slice(2);
if (tools === undefined || pages.length === 0) throw new Error("usage: node test/interop/report.mjs TOOLS PAGE…");
const require = createRequire(pathToFileURL(join(resolve(tools), "package.json")));
const { default: puppeteer } = await import(pathToFileURL(require.resolve("puppeteer-core")).href);
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const out = process.env["OUT"];
const executablePath = process.env["CHROMIUM"] ?? "/usr/bin/chromium";

let problems = 0;
const complain = (...words) => {
  problems++;
  console.log("PROBLEM", ...words);
};
const browser = await puppeteer.launch({ executablePath, args: ["--no-sandbox"] });
for (const [index, place] of pages.entries()) {
  const address = place.includes("://") ? place : pathToFileURL(resolve(place)).href;
  for (const theme of ["light", "dark"])
    for (const width of [390, 1280]) {
      const where = `${place} ${theme} ${width}`;
      const page = await browser.newPage();
      const requests = [];
      page.on("request", (request) => requests.push(request.url()));
      page.on("console", (message) => complain(where, "console:", message.text()));
      page.on("pageerror", (error) => complain(where, "script:", error.message));
      await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: theme }]);
      await page.setViewport({ width, height: 900 });
      await page.goto(address, { waitUntil: "load" });
      if (out !== undefined) await page.screenshot({ path: join(out, `${index}-${theme}-${width}.png`), fullPage: true });
      const wide = await page.evaluate("document.documentElement.scrollWidth");
      if (wide > width) complain(where, `is ${wide} pixels wide`);
      const others = requests.filter((url) => url !== address && !url.endsWith("/favicon.ico"));
      if (others.length > 0) complain(where, "asks for", others.join(" "));
      await tryPlot(page, where);
      await page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true");
      const { violations, passes } = await page.evaluate(`${axe};axe.run()`);
      for (const { id, impact, nodes } of violations) complain(where, id, impact, nodes[0].html.slice(0, 200));
      console.log(`${where}: ${passes.length} rules of axe pass, ${violations.length} do not`);
      if (out !== undefined && width === 1280 && theme === "light") await page.pdf({ path: join(out, `${index}.pdf`), format: "A4" });
      await page.close();
    }
}
await browser.close();
console.log(problems === 0 ? "no problem" : `${problems} problems`);
process.exitCode = problems === 0 ? 0 : 1;

/** Reads a plot off, zooms into it and back out. */
async function tryPlot(page, where) {
  const plot = await page.$(".plot[data-series]");
  if (plot === null) return;
  await plot.scrollIntoView();
  const box = () => page.$eval(".plot[data-series] .curves", (curves) => curves.getAttribute("viewBox"));
  const whole = await box();
  const { x, y, width } = await plot.boundingBox();
  await page.mouse.move(x + width * 0.3, y + 40);
  const said = await page.$eval(".readout", (readout) => readout.textContent);
  if (!said.startsWith("step ")) complain(where, "a plot says nothing at the pointer");
  await page.mouse.down();
  await page.mouse.move(x + width * 0.6, y + 40, { steps: 4 });
  await page.mouse.up();
  if ((await box()) === whole && (await plot.evaluate((node) => node.dataset["x"] !== "1 1"))) complain(where, "a plot does not zoom");
  await plot.focus();
  await page.keyboard.press("Escape");
  if ((await box()) !== whole) complain(where, "a plot does not zoom out");
  await page.mouse.move(0, 0);
  await page.evaluate("scrollTo(0, 0)");
}
