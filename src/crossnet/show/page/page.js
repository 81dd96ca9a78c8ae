"use strict";
document.documentElement.classList.add("scripted");

// ---- the drawing: in a narrow window, to where it stops

const stop = document.querySelector(".path .mark.stops, .path .mark.unsure");
if (stop) {
  const frame = stop.closest(".scrolled");
  const place = stop.getBoundingClientRect().left - frame.getBoundingClientRect().left;
  frame.scrollLeft = place - frame.clientWidth / 2;
}

// ---- copying: where the clipboard is not allowed (a page served without TLS), by selecting the text

const told = document.querySelector(".copied-now");
let telling;

function tell(words) {
  told.textContent = words;
  clearTimeout(telling);
  telling = setTimeout(() => { told.textContent = ""; }, 4000);
}

async function copy(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(element);
    return document.execCommand("copy");
  }
}

for (const button of document.querySelectorAll("button.copy")) {
  button.addEventListener("click", async () => {
    const done = await copy(button.parentElement.querySelector("code"));
    button.focus();
    tell(done ? "Copied" : "Not copied: select the text and copy it");
  });
}

// ---- the timeline: its marks move along the time, its letters keep their size

const chart = document.querySelector(".chart");
const svg = document.querySelector("svg.time");

if (svg) {
  const { start, end, left, right } = svg.dataset;
  const whole = [Number(start), Number(end)];
  const near = Number(left);
  const far = Number(right);
  const LABEL = 78; // as in timeline.py: what the words beside a mark take, and a little room
  const shortest = Math.min(2e-5, whole[1] - whole[0]);
  const ticks = svg.querySelector(".ticks");
  const bottom = svg.viewBox.baseVal.height - 8;
  let [from, to] = whole;

  const at = (time) => near + ((time - from) / (to - from)) * (far - near);

  function line(x) {
    const made = document.createElementNS(svg.namespaceURI, "line");
    for (const [name, value] of Object.entries({ x1: x, x2: x, y1: 24, y2: bottom })) made.setAttribute(name, value);
    return made;
  }

  function label(x, words) {
    const made = document.createElementNS(svg.namespaceURI, "text");
    for (const [name, value] of Object.entries({ x, y: 16, "text-anchor": "middle" })) made.setAttribute(name, value);
    made.textContent = words;
    return made;
  }

  function shown(time, step) {
    if (step >= 0.5) return `${time.toFixed(1)} s`;
    return `${(time * 1000).toFixed(Math.max(0, -Math.floor(Math.log10(step * 1000) + 1e-9)))} ms`;
  }

  function stepOf(span) {
    const power = 10 ** Math.floor(Math.log10(span / 8));
    return power * [1, 2, 5, 10, 20].find((factor) => power * factor * 8 >= span);
  }

  function draw() {
    const step = stepOf(to - from);
    ticks.replaceChildren();
    for (let number = Math.ceil(from / step); number * step <= to; number += 1) {
      ticks.append(line(at(number * step)), label(at(number * step), shown(number * step, step)));
    }
    for (const row of svg.querySelectorAll(".row")) {
      let next = Infinity;
      for (const mark of [...row.querySelectorAll(".seen")].reverse()) {
        const x = at(Number(mark.dataset.at));
        mark.setAttribute("transform", `translate(${x.toFixed(2)} ${mark.getAttribute("transform").split(" ")[1]}`);
        mark.classList.toggle("outside", x < near - 1 || x > far + 1);
        mark.classList.toggle("crowded", next - x < LABEL);
        next = x;
      }
    }
  }

  function show(first, last) {
    const span = Math.min(Math.max(last - first, shortest), whole[1] - whole[0]);
    const middle = (first + last) / 2;
    from = Math.min(Math.max(middle - span / 2, whole[0]), whole[1] - span);
    to = from + span;
    draw();
    const step = stepOf(span) / 10;
    document.querySelector(".span").textContent = `Shown: ${shown(from, step)} to ${shown(to, step)}`;
  }

  function zoom(factor, around = (from + to) / 2) {
    show(around - (around - from) * factor, around + (to - around) * factor);
  }

  function move(share) {
    const by = (to - from) * share;
    show(from + by, to + by);
  }

  const actions = {
    in: () => zoom(0.5), out: () => zoom(2), earlier: () => move(-0.25), later: () => move(0.25), whole: () => show(...whole),
  };
  const keys = { "+": "in", "=": "in", "-": "out", "−": "out", 0: "whole", ArrowLeft: "earlier", ArrowRight: "later" };

  for (const button of document.querySelectorAll("[data-do]")) {
    button.addEventListener("click", actions[button.dataset.do]);
  }

  chart.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
    event.preventDefault();
    actions[keys[event.key]]();
  });

  const timeUnder = (event) => {
    const box = svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    return from + ((Math.min(Math.max(x, near), far) - near) / (far - near)) * (to - from);
  };

  chart.addEventListener("wheel", (event) => {
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      event.preventDefault();
      move((event.deltaX || event.deltaY) / 1000);
      return;
    }
    const isWhole = to - from >= whole[1] - whole[0];
    if (event.deltaY > 0 && isWhole) return; // nothing left to zoom out of: the page scrolls
    event.preventDefault();
    zoom(2 ** (event.deltaY / 240), timeUnder(event));
  }, { passive: false });

  let held = null;
  chart.addEventListener("pointerdown", (event) => {
    if (event.button === 0) {
      held = timeUnder(event);
      chart.setPointerCapture(event.pointerId);
    }
  });
  chart.addEventListener("pointermove", (event) => {
    if (held !== null) {
      const by = held - timeUnder(event);
      show(from + by, to + by);
    }
  });
  for (const name of ["pointerup", "pointercancel"]) chart.addEventListener(name, () => { held = null; });
}
